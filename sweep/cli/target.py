"""What STUDY on the command line means: a study file, or the folder of a study that has run."""

from __future__ import annotations

import difflib
import functools
import json
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.search.methods import option_problems
from sweep.storage.folder import StudyFolder, folder_of, recorded
from sweep.storage.integrity import is_copy
from sweep.storage.messages import not_regular
from sweep.storage.parents import find_parents
from sweep.storage.regular import NotRegular
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.file.reading import no_problems, read_study
from sweep.study.formatting import trials_text
from sweep.study.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Target:
    """A study, its folder, and the words that named it.

    Attributes:
        path: the study file or folder, as it was typed.
        overridden: overrides were typed beside it.
    """

    study: StudySpec
    folder: StudyFolder
    path: Path
    overridden: bool = False

    @property
    def word(self) -> str:
        """Return the path as a word for a shell."""
        return shlex.quote(str(self.path))

    @property
    def file_word(self) -> str:
        """Return the study file as a word for a shell; `STUDY` where a folder was named, whose name cannot be changed."""
        return self.word if self.path.is_file() else "STUDY"

    def snapshot(self) -> Snapshot:
        """Return what the folder stores at this moment."""
        return Snapshot.take(self.study, self.folder)


def to_run(argument: str, overrides: Sequence[str], *, fresh: bool = False) -> Target:
    """Read the study to run: from its file, or from the folder's own copy of it; `fresh` if it starts over.

    Raises:
        StudyFileError, SweepError: see `read_study`; also when there is no such file or folder.
    """
    path = _existing(argument)
    if path.is_dir():
        return _from_folder(path, overrides, to_run=True)
    find = functools.partial(find_parents, fresh=fresh)
    study = read_study(path, overrides, option_problems=option_problems, find_parents=find)
    return Target(study=study, folder=_checked(folder_of(study)), path=path, overridden=bool(overrides))


def to_show(argument: str, overrides: Sequence[str]) -> Target:
    """Read a study to show its results: as it was run, which its folder stores.

    Raises:
        StudyFileError, SweepError: as `to_run`.
    """
    path = _existing(argument)
    if path.is_dir():
        return _from_folder(path, overrides)
    study = read_study(path, overrides, find_objective=False, find_parents=find_parents)
    folder = _checked(folder_of(study))
    if folder.study_file.exists():
        try:
            return _from_folder(folder.root, (), path=path)
        except SweepError as error:
            if error.id != "stored-study-damaged":  # then the user's own file is used
                raise
    return Target(study=study, folder=folder, path=path, overridden=bool(overrides))


def from_overrides(start: str | None, top: int | None) -> list[str]:
    """Return the overrides that `--from` and `--top` stand for.

    Raises:
        StudyFileError, SweepError: as `to_run`.
    """
    found = [] if top is None else [f"from.top={top}"]
    if start is not None:
        folder = str(to_show(start, ()).folder.root) if Path(start).is_file() else start
        found.insert(0, f"from.study={json.dumps(folder)}")
    return found


def several_to_show(words: Sequence[str]) -> list[Target]:
    """Read the studies that words name; words of the form KEY=VALUE that are no path are overrides for all of them.

    Raises:
        StudyFileError, SweepError: as `to_run`; also when no study is named.
    """
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    names = [word for word in words if word not in overrides]
    if not names:
        raise SweepError("no-study", "no study is named", do="name a study file, or the folder of a study that has run")
    return [to_show(name, overrides) for name in names]


def no_such_trial(target: Target, number: int, known: Collection[int]) -> SweepError:
    """Return the error of a trial that a study does not have, with those that it has."""
    there = f"it has {trials_text(known)}" if known else "nothing has run"
    what = f"{target.study.name} has no trial {number} that was started; {there}"
    return SweepError("no-such-trial", what, do=f"sweep trials {target.word}   lists them")


def _from_folder(root: Path, overrides: Sequence[str], *, to_run: bool = False, path: Path | None = None) -> Target:
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in ("name", "output") or key.partition(".")[0] == "from":
            raise SweepError(
                "folder-keeps-its-place",
                f"{key} cannot be changed for a study that is named by its folder",
                do="name the study file instead:  sweep run studies/fashion.yaml name=another",
            )
    folder = _checked(StudyFolder(root=root.resolve()))
    if is_copy(folder):
        do = f"in Python:  sweep.load({str(root)!r})\nor name the study's folder"
        raise SweepError("no-study", f"{root} is a copy of one trial, not a study", do=do)
    if not folder.study_file.exists() or not (folder.environment.exists() or folder.database.exists()):
        raise SweepError(
            "no-study",
            f"{root} is not the folder of a study that has run",
            do="name a study file, or the folder of a study that has run, such as runs/fashion",
        )
    import_dir = recorded(folder).get("import_dir")
    study = stored_study(
        folder,
        overrides,
        import_dir=Path(import_dir) if isinstance(import_dir, str) and "\0" not in import_dir else None,
        find_objective=to_run,
        option_problems=option_problems if to_run else no_problems,
    )
    return Target(study=study, folder=folder, path=path or root, overridden=bool(overrides))


def _checked(folder: StudyFolder) -> StudyFolder:
    """Return a study's folder if it can be read and none of its files is a link or such.

    Raises:
        SweepError: it cannot, or one is.
    """
    try:
        folder.check_files()
    except NotRegular as error:
        raise not_regular(error) from None
    except OSError as error:
        what, do = f"cannot read {folder.root}: {error.strerror}", f"see  ls -la {folder.word}"
        raise SweepError("folder-not-readable", what, do=do, exit_code=EXIT_SOME_FAILED) from None
    return folder


def _existing(argument: str) -> Path:
    try:
        Path.cwd()
    except OSError:
        raise SweepError(
            "no-working-directory",
            "the folder in which this was typed does not exist any more",
            why="it was deleted, or moved and made again, while this shell was in it",
            do="cd to the folder again, or to another one",
        ) from None
    path = Path(argument)
    try:
        path.stat()
    except (OSError, ValueError):  # missing, too long, or not a path
        here = sorted(str(path) for pattern in ("*.yaml", "studies/*.yaml", "runs/*") for path in Path().glob(pattern))
        near = difflib.get_close_matches(argument, here, n=3, cutoff=0.4) or here[:5]
        raise SweepError(
            "study-not-found",
            f"there is no study file or folder {argument}",
            do=("here are: " + ", ".join(near)) if near else "go to the folder that holds your studies",
        ) from None
    return path
