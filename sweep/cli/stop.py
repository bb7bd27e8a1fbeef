"""`sweep stop`: leave a request in the study's folder and wait until its runner has gone.

A file, not a signal: it works from another machine that shares the folder and its locks, and cannot hit another process.
"""

from __future__ import annotations

import shlex
import time

from sweep.cli.target import Target
from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.storage.files import write_text
from sweep.storage.folder import STOP_AT_NEXT_STEP, STOP_AT_ONCE
from sweep.storage.lock import lock_holder
from sweep.storage.snapshot import Snapshot

_POLL_S = 0.1
_SAY_S = 2.0
# The runner looks several times a second, and gives its trials 25 s.
_PATIENCE_S = 60.0


def stop_study(target: Target, *, at_once: bool) -> None:
    """Ask whoever runs the study to stop, and wait until it has.

    Raises:
        SweepError: nobody runs it, its folder cannot be written, or the runner does not answer.
    """
    folder = target.folder
    holder = lock_holder(folder)
    words = shlex.quote(str(folder.root))
    if holder is None:
        raise SweepError("not-running", f"nobody runs {folder.root}", do=f"sweep status {words}   shows how far it is")
    request = STOP_AT_ONCE if at_once else STOP_AT_NEXT_STEP
    try:
        write_text(folder.stop_request, request)
    except OSError as error:
        raise SweepError(
            "output-not-writable",
            f"cannot write to {folder.root}: {error.strerror}",
            do=f"end process {holder.get('pid')} on {holder.get('host')} with SIGTERM instead",
        ) from None
    who = f"process {holder.get('pid')} on {holder.get('host')}"
    began = said = time.monotonic()
    print(f"asked {who} to stop", flush=True)
    while lock_holder(folder) is not None:
        if time.monotonic() - began > _PATIENCE_S:
            raise SweepError(
                "runner-does-not-answer", f"{who} did not stop", do="end it with SIGTERM", exit_code=EXIT_SOME_FAILED
            )
        if time.monotonic() - said > _SAY_S:
            said = time.monotonic()
            write_text(folder.stop_request, request)  # a runner that has just started takes the first one for an old one
            running = Snapshot.take(target.study, folder).counts["running"]
            print(f"waiting for {running} running trial{'s' * (running != 1)} to reach the next step", flush=True)
        time.sleep(_POLL_S)
    folder.stop_request.unlink(missing_ok=True)
    counted = Snapshot.take(target.study, folder).counts
    print(f"{target.study.name}: {', '.join(f'{count} {state}' for state, count in counted.items() if count)}")
    if counted["waiting"]:
        print(f"go on with it:       sweep resume {words}")
