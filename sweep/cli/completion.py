"""The words to which a shell completes STUDY, study files and the folders of studies that have run, and the numbers of trials.

Whole paths are offered, not one folder after the other, because click cannot mix words and folders in one answer. Only the first
lines of a study file are read, so that an answer comes at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from click.shell_completion import CompletionItem

from sweep.storage.folder import StudyFolder

# Bytes read of a file: every study file names its parameters early.
_HEAD = 20_000
_PARAMETERS = re.compile(rb"^parameters\s*:", re.MULTILINE)


def studies(incomplete: str) -> list[CompletionItem]:
    """Return the study files and studies' folders that begin with `incomplete`; if there are none, let the shell complete it."""
    try:
        found = sorted(name for name in set(_nearby(incomplete)) if name.startswith(incomplete))
    except OSError:  # no permission to read a folder
        found = []
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]


def trials(study: str, incomplete: str) -> list[CompletionItem]:
    """Return the numbers of a study's trials that begin with `incomplete`, each with its state; none where there is no study."""
    from sweep.cli.target import to_show
    from sweep.errors import SweepError
    from sweep.storage.database import read_states

    root = Path(study)
    try:
        states = read_states(StudyFolder(root=root.resolve()) if root.is_dir() else to_show(study, ()).folder)
    except (SweepError, OSError, ValueError):
        return []
    return [CompletionItem(str(number), help=state) for number, state in states.items() if str(number).startswith(incomplete)]


def _nearby(incomplete: str) -> Iterator[str]:
    folder = incomplete[: incomplete.rfind("/") + 1]
    start = Path(folder or ".")
    files = [path for pattern in ("*.y*ml", "[!.]*/*.y*ml") for path in start.glob(pattern)]
    copies = [path for pattern in ("[!.]*/study.yaml", "[!.]*/[!.]*/study.yaml") for path in start.glob(pattern)]
    found = [path for path in files if not _has_run(path.parent) and _is_study_file(path)]
    found += [path.parent for path in copies if _has_run(path.parent)]
    for path in found:
        yield folder + str(path.relative_to(start))


def _has_run(folder: Path) -> bool:
    """Return whether this is the folder of a study that has run; it holds a copy of the study file."""
    return StudyFolder(root=folder).environment.exists()


def _is_study_file(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _PARAMETERS.search(file.read(_HEAD)) is not None
    except OSError:
        return False
