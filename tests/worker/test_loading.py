"""`sweep.load`: a trial's parameters, metrics and last state, as whoever uses its model wants them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sweep
from tests.support.studies import run_study, study_text, write_objectives, write_study

PLAIN = """
def train(trial):
    total = trial.state["total"] if trial.state else 0
    for step in trial.steps(3):
        total += trial.params["x"]
        trial.report(step, {"score": total, "other": step}, {"total": total, "layers": trial.params.get("layers")})
    (trial.dir / "own").mkdir(exist_ok=True)
    (trial.dir / "own" / "notes.txt").write_text(f"x was {trial.params['x']}")
"""
KEYS: dict[str, Any] = {"objective": "plain:train", "workers": {"devices": "cpu", "per_device": 2}}


def plain(here: Path, parameters: dict[str, Any], **keys: Any) -> Path:
    """Run a study whose objective needs no torch, in this process, and return its folder."""
    (here / "plain.py").write_text(PLAIN)
    return finished(here, parameters, **KEYS | keys)


def finished(here: Path, parameters: dict[str, Any], **keys: Any) -> Path:
    """Run a study in this process, and return its folder."""
    return sweep.run(write_study(here, study_text(parameters, **keys)), inline=True, quiet=True).dir


def test_the_best_trial_is_loaded(here: Path) -> None:
    """Or another one, by its number; lists are lists again."""
    folder = plain(here, {"x": [1, 3, 2], "layers": {"value": [8, [4]]}})
    best = sweep.load(folder)
    assert (best.number, best.value, best.metrics, best.step) == (1, 9, {"score": 9, "other": 3}, 3)
    assert best.params == {"x": 3, "layers": [8, [4]]}
    assert best.state == {"total": 9, "layers": [8, [4]]}
    assert (best.dir / "own" / "notes.txt").read_text() == "x was 3"
    assert sweep.load("runs/study", 2).state == {"total": 6, "layers": [8, [4]]}
    assert "state" not in repr(best)


def test_a_state_of_plain_data_needs_no_torch(here: Path) -> None:
    """Whoever loads it need not have it."""
    (here / "plain.py").write_text(PLAIN)
    run_study(study_text({"x": 1}, **KEYS), folder=here)  # in processes that have not loaded it either
    code = "import sys, sweep; print(sweep.load('runs/study').state['total'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout == "3 False\n"


def test_tensors_are_those_of_the_objective(here: Path) -> None:
    """On the CPU, ready for `load_state_dict`."""
    write_objectives(here)
    folder = finished(here, {"x": [1, 2], "steps": 2}, objective="mine:learn")
    state = sweep.load(folder).state
    assert state is not None
    kept = torch.load(folder / "0001_x=2" / "checkpoint.pt", weights_only=True)["state"]
    assert torch.equal(state["weights"], kept["weights"])
    assert state["weights"].device.type == "cpu"


def test_a_trial_without_a_state_has_its_parameters(here: Path) -> None:
    """Not every objective has something to keep."""
    write_objectives(here)
    best = sweep.load(finished(here, {"x": [1, 2]}))
    assert (best.number, best.state, best.params) == (1, None, {"x": 2})


@pytest.mark.slow
def test_a_script_has_the_state_that_it_gave(here: Path) -> None:
    """Without what the program needs around it."""
    (here / "train.py").write_text(
        "from sweep import trial\n"
        "for step in trial.steps(2):\n"
        "    trial.report(step, {'score': trial.params['x'] * step}, {'weights': [1.5, step]})\n"
    )
    study = run_study(study_text({"x": [1, 2]}, objective=None, command="python train.py"), folder=here)
    assert sweep.load(study.folder).state == {"weights": [1.5, 2]}


def test_a_repeat_is_chosen(here: Path) -> None:
    """The metrics are the trial's, the state is that of one run."""
    write_objectives(here)
    folder = finished(here, {"x": [1, 2], "steps": 2}, objective="mine:learn", repeats=2)
    first, second = sweep.load(folder), sweep.load(folder, repeat=1)
    assert first.metrics == second.metrics
    assert first.dir.name == "0001_x=2_repeat=0"
    assert second.dir.name == "0001_x=2_repeat=1"
    assert first.state is not None
    assert second.state is not None
    assert not torch.equal(first.state["weights"], second.state["weights"])
    with pytest.raises(sweep.SweepError, match="trial 1 of runs/study has no repeat 2"):
        sweep.load("runs/study", repeat=2)


def test_several_metrics_have_a_best_in_the_first(here: Path) -> None:
    """Of the Pareto front."""
    metrics = [{"name": "score", "goal": "maximize"}, {"name": "other", "goal": "minimize"}]
    assert sweep.load(plain(here, {"x": [1, 3, 2]}, metric=None, metrics=metrics)).number == 1


def test_what_cannot_be_loaded_is_said(here: Path) -> None:
    """With what can be done about it."""

    def error(*words: Any) -> sweep.SweepError:
        with pytest.raises(sweep.SweepError) as raised:
            sweep.load(*words)
        return raised.value

    folder = plain(here, {"x": [1, 3, 2]}, checkpoints={"keep_best": 1})
    assert error("runs/nowhere").id == "no-study"
    assert error(folder / "0000_x=1", 0).id in ("no-study", "stored-study-damaged", "study-not-readable")
    assert error(folder, 7).id == "no-such-trial"
    lost = error(folder, 2)
    assert lost.id == "checkpoint-not-kept"
    assert "checkpoints: {keep_best: N}" in str(lost)
    kept = plain(here, {"x": [1, 3, 2]}, name="kept")
    (kept / "0002_x=2" / "checkpoint.pt").unlink()
    assert error(kept, 2).id == "checkpoint-not-kept"
    assert sweep.load(kept).state == {"total": 9, "layers": None}
    path = folder / "0001_x=3" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-1])
    assert error(folder).id == "checkpoint-damaged"
    write_objectives(here)
    assert error(finished(here, {"x": 1, "how": "raise"}, name="failing")).id == "no-best"
