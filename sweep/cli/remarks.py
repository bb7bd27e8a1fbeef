"""`sweep drop` and `sweep note`: take trials out of every result, and say something of a trial or of the study."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sweep.cli.target import Target
from sweep.errors import EXIT_SOME_FAILED, SweepError, one_line
from sweep.storage.database import read_records, read_states
from sweep.storage.folder import StudyFolder
from sweep.storage.lock import lock_holder, locked
from sweep.storage.messages import not_regular
from sweep.storage.regular import NotRegular
from sweep.storage.remarks import Remarks, change_remarks
from sweep.study.formatting import trials_text
from sweep.study.record import TrialRecord
from sweep.study.repeats import runs_of, trials_of
from sweep.tensorboard.pareto_front import FrontColumn
from sweep.tensorboard.remarked import AT_ONCE, follow, renew_hidden, renew_remarks, unshown

_NUMBERS = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")


def drop_trials(target: Target, words: Sequence[str], *, undo: bool) -> None:
    """Drop the trials with these numbers, or take them back.

    Raises:
        SweepError: a word is no number of a trial that has ended, or a file cannot be read or written.
    """
    folder = target.folder
    trials = _ended(target, words)
    numbers = {trial.number for trial in trials}
    with _errors_explained(folder):
        before, after = change_remarks(
            folder,
            lambda now: replace(now, dropped=now.dropped - numbers if undo else now.dropped | numbers),
            lambda now: follow(folder, runs_of(trials), now),
        )
        running = lock_holder(folder) is not None
        if target.study.multi_objective and not running:
            _renew_front(target, before, after)
    changed = before.dropped ^ after.dropped
    if same := numbers - changed:
        print(f"{trials_text(same)} {'was' if len(same) == 1 else 'were'} {'not dropped' if undo else 'dropped before'}")
    if not changed:
        return
    if undo:
        print(f"took back {trials_text(changed)}: counted and shown as before")
    else:
        print(f"dropped {trials_text(changed)}: in no ranking, statistic, chart or search, and not in TensorBoard")
        print(f"take back:           sweep drop {target.word} {' '.join(map(str, sorted(changed)))} --undo")
    if running:
        print("the running session follows when its next trial ends")
    elif folder.report.exists():
        print(f"renew the report:    sweep report {target.word}")


def note_of(target: Target, words: Sequence[str]) -> None:
    """Store what is said of a trial, or of the study if the first word names no trial; an empty text removes what was said.

    Raises:
        SweepError: the trial is none that has ended, the text is missing, or a file cannot be read or written.
    """
    folder = target.folder
    first, *rest = words
    of_trials = _NUMBERS.fullmatch(first) is not None
    if of_trials and not rest:
        do = f'sweep note {target.word} {first} "TEXT"   notes it; "" removes the note'
        raise SweepError("note-without-text", f"the note of trial {first} has no text", do=do)
    text = " ".join(rest if of_trials else words).strip()
    if not of_trials:
        _check_exists(target)
        change_remarks(folder, lambda now: replace(now, study=text))
        print(f"noted of {target.study.name}: {one_line(text)}" if text else f"removed the note of {target.study.name}")
        return
    numbers = {trial.number for trial in _ended(target, [first])}

    def changed(now: Remarks) -> Remarks:
        kept = {number: said for number, said in now.notes.items() if number not in numbers}
        return replace(now, notes=kept | dict.fromkeys(numbers, text) if text else kept)

    with _errors_explained(folder):
        change_remarks(folder, changed)
        print(f"noted of {trials_text(numbers)}: {one_line(text)}" if text else f"removed the note of {trials_text(numbers)}")
        if len(left := unshown(folder)) > AT_ONCE:
            print(f"the HPARAMS tab has it after the next  sweep dashboard {target.word}   ({len(left)} rows need the column)")
        elif left:
            _renew_notes(target, AT_ONCE)


def renew_shown(target: Target) -> None:
    """Bring TensorBoard in accordance with what is dropped, and, unless a session runs, the HPARAMS tab with the notes.

    Raises:
        SweepError: a file cannot be read or written.
    """
    with _errors_explained(target.folder):
        renew_hidden(target.folder)
    if left := unshown(target.folder):
        print(f"bringing the notes of {len(left)} trial{'s' * (len(left) != 1)} to the HPARAMS tab", flush=True)
        with _errors_explained(target.folder):
            _renew_notes(target, None)


def _renew_notes(target: Target, at_most: int | None) -> None:
    """Bring the HPARAMS tab in accordance with the notes, or say why not: that needs the study's lock."""
    try:
        with locked(target.folder, print, doing="note"):
            renew_remarks(target.study, target.folder, at_most=at_most)
    except SweepError as error:
        if error.id == "study-locked":
            print("the HPARAMS tab has it when the running session has ended")
        elif error.id == "output-not-writable":
            print(f"the HPARAMS tab has it after the next  sweep dashboard {target.word}   ({error.what})")
        else:
            raise


def _ended(target: Target, words: Sequence[str]) -> list[TrialRecord]:
    """Return the trials that words such as `3` and `3-7` name.

    Raises:
        SweepError: one is no number of a trial that has started, or the trial has not ended.
    """
    _check_exists(target)
    folder = target.folder
    known = read_states(folder)
    numbers: set[int] = set()
    for word in words:
        found = _NUMBERS.fullmatch(word)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        named = {number for number in known if low <= number <= high}
        if not named:
            raise SweepError(
                "no-such-trial",
                f"{folder.root} has no trial {word}" if found else f"{word!r} is no number of a trial",
                why=f"its trials are: {trials_text(known)}" if known else "no trial has started yet",
                do=f"sweep trials {target.word}   lists them; 3-7 are several",
            )
        numbers |= named
    trials = trials_of(read_records(folder, numbers), target.study)
    if left := [trial.number for trial in trials if not trial.state.finished]:
        runs = lock_holder(folder) is not None
        do = f"wait for its end, or stop the sweep:  sweep stop {target.word}" if runs else f"sweep resume {target.word}"
        what = f"{trials_text(left)} {'has' if len(left) == 1 else 'have'} not ended"
        raise SweepError("trial-not-ended", what, why="only what has ended can be dropped or noted", do=do)
    return trials


def _renew_front(target: Target, before: Remarks, after: Remarks) -> None:
    records = read_records(target.folder)
    column = FrontColumn(target.study, target.folder, trials_of(before.of(records), target.study), mark=False)
    column.remarked(trials_of(after.of(records), target.study))


def _check_exists(target: Target) -> None:
    if not target.folder.database.exists():
        what = f"no trial of {target.study.name} has started: there is no database in {target.folder.root}"
        raise SweepError("no-study", what, do=f"sweep run {target.word}")


@contextlib.contextmanager
def _errors_explained(folder: StudyFolder) -> Iterator[None]:
    try:
        yield
    except NotRegular as error:
        raise not_regular(error) from None
    except OSError as error:
        raise SweepError(
            "event-files-not-changed",
            f"what is said is stored, but TensorBoard's files could not be changed: {error}",
            do=f"see  ls -la {folder.word}  , then type it again",
            exit_code=EXIT_SOME_FAILED,
        ) from None
