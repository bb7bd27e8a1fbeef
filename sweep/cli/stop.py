"""`sweep stop`: leave a request in the study's folder and wait until its session has ended.

The request is a file, not a signal: it works from another machine that shares the folder, and cannot reach the wrong process.
"""

from __future__ import annotations

import shlex
import time

from sweep.cli.target import Target
from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.storage.files import write_text
from sweep.storage.folder import STOP_AT_NEXT_STEP, STOP_AT_ONCE
from sweep.storage.lock import lock_holder
from sweep.study.formatting import states_text

_POLL_S = 0.1
_REPEAT_S = 2.0
# The runner looks for the request several times a second, and gives its trials 25 s.
_PATIENCE_S = 60.0


def stop_study(target: Target, *, at_once: bool) -> None:
    """Ask the session that runs the study to stop, and wait until it has ended.

    Raises:
        SweepError: no session runs it, its folder cannot be written, or the session does not end.
    """
    folder = target.folder
    holder = lock_holder(folder)
    place = shlex.quote(str(folder.root))
    if holder is None:
        raise SweepError("not-running", f"nothing runs {folder.root}", do=f"sweep status {place}   shows its progress")
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    request = STOP_AT_ONCE if at_once else STOP_AT_NEXT_STEP
    try:
        write_text(folder.stop_request, request)
    except OSError as error:
        raise SweepError(
            "output-not-writable",
            f"cannot write to {folder.root}: {error.strerror}",
            do=f"end {who} with SIGTERM instead",
        ) from None
    began = repeated = time.monotonic()
    print(f"asked {who} to stop", flush=True)
    while lock_holder(folder) is not None:
        if time.monotonic() - began > _PATIENCE_S:
            raise SweepError(
                "runner-does-not-answer", f"{who} did not stop", do="end it with SIGTERM", exit_code=EXIT_SOME_FAILED
            )
        if time.monotonic() - repeated > _REPEAT_S:
            repeated = time.monotonic()
            write_text(folder.stop_request, request)  # a session removes a request that was there before it
            running = target.snapshot().counts["running"]
            print(f"waiting for {running} running trial{'s' * (running != 1)} to reach the next step", flush=True)
        time.sleep(_POLL_S)
    folder.stop_request.unlink(missing_ok=True)
    counts = target.snapshot().counts
    print(f"{target.study.name}: {states_text(counts)}")
    if counts["waiting"]:
        print(f"resume the study:    sweep resume {place}")
