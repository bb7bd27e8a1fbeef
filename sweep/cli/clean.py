"""`sweep clean`: say what studies do not need on the disk, ask, and remove it; every number stays."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from sweep.cli.listing import folder_to_search
from sweep.cli.target import to_show
from sweep.errors import EXIT_SOME_FAILED, SweepError, one_line
from sweep.storage.database import damage_reported
from sweep.storage.disk import Spare, remove, spare_files, spare_folders, usage
from sweep.storage.folder import StudyFolder, near
from sweep.storage.integrity import is_study, original_of
from sweep.storage.listing import stored, studies_below
from sweep.storage.lock import any_holder, holder_text, locked
from sweep.study.formatting import size_text


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What may go of a study."""

    folder: StudyFolder
    size: int
    spare: list[Spare]


def clean_studies(words: Sequence[str], *, keep_best: int | None, yes: bool) -> int:
    """Remove what studies do not need, after a question; return the exit code.

    Args:
        words: studies, and folders with studies below them; none: as `folder_to_search`.
        keep_best: of so many best trials of each study the checkpoints stay; default: as `spare_files`.
        yes: ask nothing.

    Raises:
        SweepError: a word is neither, or nobody can be asked.
    """
    plans = []
    for folder in _folders(words):
        try:
            if (holder := any_holder(folder)) is not None:
                print(f"{one_line(near(folder.root))} is left alone: {holder_text(holder)} has its lock")
                continue
            plan = _plan(folder, keep_best)
        except SweepError as error:
            print(f"{one_line(near(folder.root))} is left alone: {one_line(error.what)}")
            continue
        if plan.spare:
            plans.append(plan)
            _print(plan)
    total = sum(spare.size for plan in plans for spare in plan.spare)
    if not plans:
        print("nothing can be removed")
        return 0
    print(f"{size_text(total)} can be removed; the studies that stay keep all numbers, logs and event files")
    if not yes:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise SweepError("not-confirmed", "nothing was removed: there is no terminal to ask on", do="sweep clean ... --yes")
        if not click.confirm("remove it?"):
            print("nothing was removed")
            return 0
    failed = [text for plan in plans for text in _remove(plan, keep_best)]
    for text in failed:
        print(f"not removed: {one_line(text)}", file=sys.stderr)
    if not failed:
        print(f"removed {size_text(total)}")
    return EXIT_SOME_FAILED if failed else 0


def _folders(words: Sequence[str | None]) -> Iterator[StudyFolder]:
    """Iterate over the studies that words name; those that were moved aside belong to their studies."""
    for word in words or (None,):
        if word is not None and (Path(word).is_file() or is_study(Path(word))):
            yield to_show(word, ()).folder
            continue
        for folder in sorted(studies_below(folder_to_search(word)), key=lambda one: one.root):
            original = original_of(folder.root)
            if original is None or not is_study(original):
                yield folder


def _plan(folder: StudyFolder, keep_best: int | None) -> _Plan:
    """Return what may go of a study that nothing runs, which the caller has looked at.

    Raises:
        SweepError: it cannot be read.
    """
    found, used = stored(folder), usage(folder.root)
    with damage_reported(folder):
        spare = spare_files(found.study, folder, found.trials, used, keep_best=keep_best)
        return _Plan(folder=folder, size=used.total, spare=[*spare, *spare_folders(folder)])


def _remove(plan: _Plan, keep_best: int | None) -> list[str]:
    """Remove what was agreed on; return what could not be removed, and why."""
    agreed = {path for spare in plan.spare for path in spare.paths}
    try:
        with locked(plan.folder, doing="clean"):  # no session begins meanwhile; one may have run since
            now = _plan(plan.folder, keep_best).spare
            return remove([path for spare in now for path in spare.paths if path in agreed])
    except SweepError as error:
        return [f"{near(plan.folder.root)}: {error.what}"]


def _print(plan: _Plan) -> None:
    print(f"{one_line(near(plan.folder.root))}  {size_text(plan.size)}")
    for spare in plan.spare:
        print(f"  {size_text(spare.size):>8}  {one_line(spare.what)}")
