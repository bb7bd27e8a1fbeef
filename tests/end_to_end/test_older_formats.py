"""A study that an older version left half done is resumed by this one, and ends as the older version would have ended it.

How `older_formats/` was made: `format_1_*` by commit cd6da4f, each `grid_COMMIT` by that commit, the last one before a format
changed; Optuna 5.0, in a folder /tmp/older_formats/NAME for each study. NAME.json is what `sweep trials NAME.yaml --format json`
printed after an undisturbed `sweep run NAME.yaml`, without times, folders and attempts. NAME.tar.gz is the folder (study file,
objective, `runs`) after another `sweep run`, whose process was killed by `kill -9` in the middle of a trial. Hyperparameters
are on steps, so that no processor's rounding decides what TPE proposes.
"""

from __future__ import annotations

import json
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.reading import records, scalars

FORMATS = Path(__file__).with_name("older_formats")
LEFT_OUT = {"attempts", "code", "dir", "duration_s", "ended", "spans", "started"}


def unpacked(name: str, here: Path) -> Path:
    """Unpack a study, as if this machine had run it in this folder; return the study's folder."""
    with tarfile.open(FORMATS / f"{name}.tar.gz") as archive:
        archive.extractall(here, filter="data")
    [folder] = (here / "runs").iterdir()
    for file, old, new in (
        (folder / "environment.json", f"/tmp/older_formats/{folder.name}", str(here)),  # noqa: S108  # where it was made
        (folder / "lock", '"vm"', json.dumps(socket.gethostname())),
    ):
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def kept(trial: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same of a trial as `sweep trials` prints it: the keys that the older version printed."""
    found = {key: value for key, value in trial.items() if key in like and key not in LEFT_OUT}
    if "runs" in found:
        found["runs"] = [kept(run, old) for run, old in zip(found["runs"], like["runs"], strict=True)]
    return found


GRIDS = ("523bc1b", "d3990be", "98f93bb", "7593284", "32f0732")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("format_1_pareto", (2, 4)),
        ("format_1_pruned", (4, 4)),
        *(pytest.param(f"grid_{commit}", (2, 2), marks=pytest.mark.slow) for commit in GRIDS),
    ],
)
@pytest.mark.slow
def test_a_study_of_an_older_version_is_resumed(name: str, counts: tuple[int, int], cli: Cli, here: Path) -> None:
    """Its trials and what the sampler and the pruner learned from them are read; numbers, states and metrics are the same."""
    folder = unpacked(name, here)
    status = cli("status", str(folder), "--json").json["counts"]
    assert (status["complete"] + status["pruned"], status["waiting"]) == counts
    done = cli("resume", str(folder))
    assert done.code == 0, done.err
    assert done.out.count("resumed after step") == 1
    found = cli("trials", str(folder), "--format", "json").json
    expected = json.loads((FORMATS / f"{name}.json").read_text(encoding="utf-8"))
    assert [kept(trial, old) for trial, old in zip(found, expected, strict=True)] == expected
    for run in records(folder):
        curves = scalars(folder / run.folder)
        assert {tuple(step for step, _ in curves[tag]) for tag in run.metrics} == {tuple(range(1, (run.step or 0) + 1))}
    report = cli("report", str(folder))
    assert report.code == 0, report.err
    assert (folder / "report.html").stat().st_size > 100_000
