"""`sweep stop`: leave a request in the study's folder and wait until its session has ended.

The request is a file, not a signal: it works from another machine that shares the folder, and cannot reach the wrong process.
"""

from __future__ import annotations

import contextlib
import time

from sweep.cli.target import Target
from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.storage.files import write_text
from sweep.storage.folder import STOP_AT_NEXT_STEP, STOP_AT_ONCE, StudyFolder
from sweep.storage.lock import any_holder, holder_text, lock_holder, same_session
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
    if holder is None:
        where = holder_text(other) if (other := any_holder(folder)) else None
        what, do = f"no session runs {folder.root}", f"sweep status {folder.word}   shows its progress"
        raise SweepError("not-running", what, where=where, do=do)
    who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    # For this session only, which a version before this one does not have: it compares the whole request.
    request = (STOP_AT_ONCE if at_once else STOP_AT_NEXT_STEP) + str(holder.get("session", ""))
    _ask(folder, request, who)
    began = repeated = time.monotonic()
    print(f"asked {who} to stop", flush=True)
    while (now := lock_holder(folder)) is not None and same_session(holder, now):
        if time.monotonic() - began > _PATIENCE_S:
            raise SweepError(
                "runner-does-not-answer", f"{who} did not stop", do="end it with SIGTERM", exit_code=EXIT_SOME_FAILED
            )
        if time.monotonic() - repeated > _REPEAT_S:
            repeated = time.monotonic()
            _ask(folder, request, who)  # a session removes a request that was there before it
            running = target.snapshot().counts["running"]
            print(f"waiting for {running} running trial{'s' * (running != 1)} to reach the next step", flush=True)
        time.sleep(_POLL_S)
    if now is None:
        with contextlib.suppress(OSError):
            folder.stop_request.unlink(missing_ok=True)
    else:
        print(f"{who} has ended; {holder_text(now)} runs the study now, which was not asked to stop")
    counts = target.snapshot().counts
    print(f"{target.study.name}: {states_text(counts)}")
    if counts["waiting"]:
        print(f"resume the study:    sweep resume {folder.word}")


def _ask(folder: StudyFolder, request: str, who: str) -> None:
    try:
        write_text(folder.stop_request, request)
    except OSError as error:
        raise SweepError(
            "output-not-writable",
            f"cannot write to {folder.root}: {error.strerror}",
            do=f"end {who} with SIGTERM instead",
        ) from None
