"""`sweep wait`: return when no session runs a study, with the exit code of the last one; for shell scripts."""

from __future__ import annotations

import time

from rich.live import Live
from rich.text import Text

from sweep.cli.tables import console
from sweep.cli.target import Target
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TIMED_OUT, SweepError
from sweep.storage.listing import stored
from sweep.storage.lock import holder_text, lock_holder
from sweep.study.file.values import duration
from sweep.study.formatting import duration_text, states_text
from sweep.study.progress import TrialCounts

_POLL_S = 0.2
_LOOK_S = 2.0  # between two looks at the counts, on a terminal


def seconds_in(text: str) -> float:
    """Return the seconds of a time that is written as in a study file.

    Raises:
        SweepError: it is no such time.
    """
    try:
        return duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise SweepError("no-duration", f"--timeout {text}: it {error}", do="sweep wait STUDY --timeout 2h") from None


def wait_for_end(target: Target, timeout_s: float | None) -> int:
    """Wait until no session runs a study, print how the last one ended, and return its exit code.

    Args:
        target: the study.
        timeout_s: wait no longer; None for ever.

    Raises:
        SweepError: nothing has ever run it.
    """
    folder, began = target.folder, time.monotonic()
    screen, looked, shown = console(), -_LOOK_S, ""
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while (holder := lock_holder(folder)) is not None:
            waited = time.monotonic() - began
            if timeout_s is not None and waited >= timeout_s:
                live.stop()
                print(f"{target.study.name}: still run by {holder_text(holder)}, after {duration_text(waited)}")
                return EXIT_TIMED_OUT
            if screen.is_terminal and waited - looked >= _LOOK_S:
                looked, shown = waited, states_text(target.snapshot().counts)
                live.update(Text(f"{target.study.name}: {shown}; waiting for {duration_text(waited)}"), refresh=True)
            time.sleep(_POLL_S if timeout_s is None else min(_POLL_S, max(0.0, timeout_s - waited)))
    if not folder.database.exists() and not folder.study_file.exists():  # that is before the first trial
        raise SweepError("no-study", f"there is no study in {folder.root} yet", do=f"sweep run {target.word}")
    found = stored(folder)
    counts = TrialCounts(found.trials).counts(found.study.total)
    if found.ended is not None:
        code, how = found.ended["exit_code"], found.ended["by"]
    elif counts["waiting"]:
        code, how = EXIT_SOME_FAILED, "the last session was killed, or ended with an error"
    else:
        code, how = EXIT_SOME_FAILED if counts["failed"] else EXIT_OK, "nothing is left to run"
    print(f"{found.study.name}: {states_text(counts) or 'no trials'}; {how}")
    return int(code)
