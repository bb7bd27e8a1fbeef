"""A tutorial's script as it is: `SummaryWriter(comment=...)` and `add_hparams` in a working directory of each trial's own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.reading import scalars
from tests.support.studies import run_study, study_text
from tests.support.tensorboards import served
from tests.worker.script.conftest import EVENTS, Run, log

TUTORIAL = Path(__file__).with_name("tutorial.py")


@pytest.mark.slow  # its scripts import torch
def test_a_tutorials_script_runs_unchanged(here: Path) -> None:
    """All its tags are in the trial's one run, with no time or host in them, and each trial is one row of the HPARAMS tab."""
    (here / "tutorial.py").write_text(TUTORIAL.read_text())
    text = study_text(
        {"lr": [0.01, 0.001], "batch_size": [64], "shuffle": [True, False]},
        objective=None,
        command="python tutorial.py ${flags}",
        cwd="${dir}/work",
        metric={"name": "Accuracy", "goal": "maximize"},
        workers={"devices": "cpu", "per_device": 2},
    )
    study = run_study(text, folder=here)
    assert [trial["state"] for trial in study.trials] == ["complete"] * 4
    assert [path.name for path in here.iterdir() if path.name not in ("runs", "study.yaml")] == ["tutorial.py"]
    for name, trial in zip(study.runs, study.trials, strict=True):
        found = EventAccumulator(str(study.folder / name))
        found.Reload()
        tags = found.Tags()
        own = ["Accuracy", "Loss", "Number Correct", "hparam/accuracy"]
        assert sorted(tag for tag in tags["scalars"] if not tag.startswith(("best/", "time/"))) == own
        assert [event.step for event in found.Scalars("Accuracy")] == [0, 1, 2]
        assert found.Scalars("hparam/accuracy")[-1].value == pytest.approx(trial["value"])
        assert {event.step for event in found.Scalars("Loss")} == {0, 1, 2}
        assert tags["images"] == ["images"]
        assert sorted(tags["histograms"]) == ["conv1.bias", "conv1.weight", "conv1.weight.grad"]
        assert tags["graph"]
        assert len([*(study.folder / name).rglob("*tfevents*")]) == 1
    with served(study.folder) as board:
        rows = board.wait_for_rows(4, metrics=2)
        assert [row["hparams"]["lr"] for row in rows].count(0.01) == 2
        assert all(len(row["sessions"]) == 1 for row in rows)
        assert {"lr", "batch_size", "shuffle"} <= set(board.hparams())
        assert sorted(board.ask("runs") or []) == sorted(study.runs)


def test_names_of_folders_lose_time_and_host(trial: Run, tmp_path: Path) -> None:
    """Of two writers with comments, of add_scalars and of add_hparams; last metrics belong to the last step of their curve."""
    script = (
        EVENTS
        + """
add(1, "score", 1); add(2, "score", 2); writer.close()
writer = EventFileWriter(sys.argv[1] + "/loss_train"); add(1, "loss", 3); writer.close()
writer = EventFileWriter(sys.argv[1] + "/1764532039.123456"); add(0, "score", 5); add(0, "hparam/score", 6); writer.close()
writer = EventFileWriter(sys.argv[1].replace("-19_", "-20_").replace(" lr=0.1", "_val")); add(1, "loss", 4); writer.close()
"""
    )
    assert trial(script, f"${{dir}}/work/runs/Nov30_19-47-19_{socket.gethostname()} lr=0.1").metrics["score"] == 5, log(tmp_path)
    found = scalars(tmp_path / "run")
    assert {tag: found[tag] for tag in found if tag != "best/score"} == {
        "score": [(1, 1), (2, 5)],
        "loss_train/loss": [(1, 3)],
        "hparam/score": [(0, 6)],
        "_val/loss": [(1, 4)],
    }


def test_event_files_in_the_folder_of_wandb_stay_there(trial: Run, tmp_path: Path) -> None:
    """They are wandb's copies of what a script writes, which would count twice, and belong to its own run."""
    script = EVENTS + "add(1, 'score', 5); writer.close(); print('{\"score\": 1}')"
    assert trial(script, "${dir}/wandb/run/files").metrics == {"score": 1}
    assert len([*(tmp_path / "run" / "wandb").rglob("*tfevents*")]) == 1
