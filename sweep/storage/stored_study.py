"""Read the copy of the study file that is in the study's own folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, StudyFileError, SweepError
from sweep.storage.database import has_trials
from sweep.storage.folder import StudyFolder, recorded
from sweep.study.compatibility import resumed_spec
from sweep.study.file.checks import OptionProblems
from sweep.study.file.reading import no_problems, read_study
from sweep.study.objective import is_by_value
from sweep.study.spec import StudySpec


def stored_study(
    folder: StudyFolder,
    overrides: Sequence[str] = (),
    *,
    import_dir: Path | None = None,
    find_objective: bool = False,
    option_problems: OptionProblems = no_problems,
) -> StudySpec:
    """Read a folder's own copy of its study.

    Args:
        folder, overrides, import_dir, find_objective, option_problems: as `read_study`.

    Raises:
        StudyFileError: an override is wrong.
        SweepError: the copy is damaged, or of a newer version; or its objective is a function of a Python program.
    """
    try:
        return read_study(
            folder.study_file,
            overrides,
            import_dir=import_dir,
            find_objective=find_objective,
            option_problems=option_problems,
        )
    except StudyFileError as error:
        own = [problem for problem in error.problems if problem.where.startswith(str(folder.study_file))]
        if [problem.key for problem in error.problems] == ["objective"] and own:
            _check_in_a_module(folder)
        if not own or any(problem.key == "objective" for problem in own):
            raise
        raise SweepError(
            "stored-study-damaged",
            f"{folder.study_file}, which says how the trials were run, is damaged",
            where=str(own[0]),
            do=f"restore it, or:\n{ANOTHER_OR_FRESH}",
            exit_code=EXIT_LOCKED,
        ) from None


def _check_in_a_module(folder: StudyFolder) -> None:
    reference = stored_study(folder).trained
    if is_by_value(reference):
        name = reference.partition(":")[2]
        raise SweepError(
            "objective-in-python",
            f"the study in {folder.root} was run from Python: its objective is the function {name} of a program or notebook",
            where=" ".join(map(str, command)) if isinstance(command := recorded(folder).get("command"), list) else None,
            why="the function is not stored, so only that program can continue the study",
            do=f"run that program again: it resumes the study\n"
            f"or put the function into a module:  sweep resume {shlex.quote(str(folder.root))} objective=MODULE:{name}",
        )


def continued_study(study: StudySpec, folder: StudyFolder) -> StudySpec:
    """Return the study as it would continue in its folder: `study` itself if it has no trials there.

    Raises:
        SweepError: the study file was changed so that old and new trials cannot be compared.
    """
    if not folder.study_file.exists():
        return study
    stored = stored_study(folder)
    return resumed_spec(stored, study, str(folder.root)) if has_trials(folder) else study
