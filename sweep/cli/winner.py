"""`sweep best --format yaml`, `--format args` and `--copy`: the best trial, for other programs and people."""

from __future__ import annotations

import fnmatch
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sweep.errors import SweepError
from sweep.storage.files import write_json, write_text
from sweep.storage.folder import CHECKPOINT, HISTORY, LOG, TRIAL, near
from sweep.storage.regular import copy_own, files_below
from sweep.storage.snapshot import Snapshot
from sweep.study.command import filled
from sweep.study.file.writing import write_constants
from sweep.study.formatting import objectives_text
from sweep.study.record import TrialRecord
from sweep.study.repeats import run_of
from sweep.study.trial import with_lists
from sweep.tensorboard.event_files import PATTERN
from sweep.worker.loading import chosen, has_its_state

# Of a run folder, what is this program's.
_OURS = (PATTERN, "checkpoint*", TRIAL, LOG, "plugins", ".*")

_README = """\
{title}

{contents}

In Python, where sweep is installed, and wherever this folder is:

    import sweep
    best = sweep.load("{name}")
    best.params, best.metrics{model}
"""
_MODEL = """
    model.load_state_dict(best.state["model"])    # if the objective calls it so: the state is what it gave trial.report"""
_CONTENTS = {
    CHECKPOINT: "the last state, a torch file: torch.load(path, weights_only=True)",
    "parameters.yaml": "the parameters, as in a study file",
    "parameters.json": "the same",
    "metrics.json": "the last value of each metric",
    TRIAL: "all that is stored of the trial",
    "study.yaml": "the study that it belongs to",
    "environment.json": "versions, commit and devices",
    "files": "what the objective itself wrote into its run folder",
}


def words_of_best(snapshot: Snapshot, form: str) -> str:
    """Return the best trial's parameters: for `yaml` as those of a study file, for `args` as words of a command line.

    Raises:
        SweepError: no trial is complete.
    """
    study, params = snapshot.study, snapshot.study.given(chosen(snapshot).params)
    return write_constants(params) if form == "yaml" else shlex.join(filled(["${args}"], params, {}, groups=study.nested)) + "\n"


def copy_best(snapshot: Snapshot, place: Path) -> None:
    """Copy the best trial into a new folder: checkpoint, parameters, metrics, environment, study file, its own files.

    Raises:
        SweepError: no trial is complete; or the folder is not empty, or cannot be written.
    """
    record, place = chosen(snapshot), Path(os.path.realpath(place))
    try:
        there = place.exists()
        if there and (not place.is_dir() or any(place.iterdir())):
            what = f"{near(place)} is in the way: " + ("it is not empty" if place.is_dir() else "it is a file")
            raise SweepError("copy-in-the-way", what, do="name a new folder:  sweep best STUDY --copy DIR")
        # A folder that is there is filled, and not replaced: somebody may be in it.
        unfinished = (place if there else place.parent) / f".{place.name}.{os.getpid()}.unfinished"
        unfinished.mkdir(parents=True)
        try:
            _fill(snapshot, record, unfinished, place.name)
            if there:
                for path in sorted(unfinished.iterdir(), key=lambda path: path.name == TRIAL):
                    path.replace(place / path.name)
                unfinished.rmdir()
            else:
                unfinished.replace(place)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        what = f"trial {record.number} cannot be copied to {near(place)}: {error}"
        raise SweepError("copy-failed", what, do="make room, or name another folder") from None
    kept = has_its_state(snapshot, record, run_of(record) or record)
    print(f"trial {record.number} is in {near(place)}" + ("" if kept else ", without its checkpoint, which was not kept"))


def _fill(snapshot: Snapshot, record: TrialRecord, place: Path, name: str) -> None:
    study, folder, run = snapshot.study, snapshot.folder, run_of(record) or record
    source = folder.trial_dir(run.folder)
    for path in (source / CHECKPOINT, source / HISTORY, folder.study_file, folder.environment):
        if path.exists():
            copy_own(path, place / path.name)
    params = with_lists(study.given(record.params))
    write_text(place / "parameters.yaml", write_constants(study.given(record.params)))
    write_json(place / "parameters.json", params)
    write_json(place / "metrics.json", record.metrics)
    write_json(place / TRIAL, replace(record, folder=run.folder, repeat=run.repeat).to_json())
    for path in _own_files(source):
        target = place / "files" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_own(path, target)
    contents = [f"    {file:17} {what}" for file, what in _CONTENTS.items() if (place / file).exists()]
    title = f"Trial {record.number} of the study {study.name}: {objectives_text(record, study)}"
    model = _MODEL if (place / CHECKPOINT).exists() else ""
    text = _README.format(title=title, contents="\n".join(contents), name=name, model=model)
    write_text(place / "README.txt", text)
    (place / "files").mkdir(exist_ok=True)  # `LoadedTrial.dir`


def _own_files(folder: Path) -> Iterator[Path]:
    """Yield what an objective wrote into its run folder; no link is followed."""
    for path in files_below(folder, "*"):
        name = path.relative_to(folder).parts[0]
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _OURS) and path.is_file() and not path.is_symlink():
            yield path
