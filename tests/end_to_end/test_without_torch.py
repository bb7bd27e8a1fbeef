"""Studies without torch: their workers do not load it, and everything else is as for any study."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.project.test_documentation import DOCS, files
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags, outcome, records, scalars
from tests.support.studies import study_text, write_study

MOST_MB = 150
# `walk` draws random numbers, keeps plain data, and reports.
WALK = """
import os, random, sys

MAPS = open("/proc/self/smaps_rollup").read()
LOADED = "torch" in sys.modules

def walk(trial, step, state, metrics):
    state["place"] += (random.random() - trial.params["x"]) / step
    state["seen"] = state["seen"] + b"\\xff" if "seen" in state else b""
    trial.report(step, {"score": float("nan") if trial.params["x"] == 3 else state["place"], **metrics}, state)
"""
PLAIN = f"""{WALK}
def train(trial):
    (trial.dir / "mb").write_text(str(int(MAPS.partition("Rss:")[2].split()[0]) / 1024))
    state = trial.state or {{"place": 0.0}}
    for step in trial.steps(6):
        trial.panels.batch(step, {{"batch/loss": 1.0}})
        walk(trial, step, state, {{"train/loss": step, "validation/loss": step}})
    return {{"score": state["place"], "loaded": float(LOADED or "torch" in sys.modules)}}
"""
LATE = f"""{WALK}
import importlib
import numpy as np

def train(trial):
    torch = importlib.import_module(NAME)
    first = torch.rand(2)
    torch.set_default_dtype(torch.float64)  # of this trial alone
    state = trial.state or {{"place": 0.0, "weights": first.clone()}}
    for step in trial.steps(4):
        state["weights"] += torch.rand(2).float() * np.random.random()
        now = {{"threads": torch.get_num_threads(), "strict": torch.are_deterministic_algorithms_enabled() + 0.0}}
        walk(trial, step, state, {{"weights": state["weights"].sum(), "first": first.sum(), **now}})
    trial.writer.add_histogram("weights", state["weights"])
    (trial.dir / "process").write_text(f"{{os.getpid()}} {{LOADED}}")
"""
SCRIPT = """
import json, os, sys

maps = open(f"/proc/{os.getppid()}/maps").read()
print(json.dumps({"step": 1, "score": float(sys.argv[1]), "loaded": float("libtorch" in maps)}))
if sys.argv[1] == "torch":
    import torch
"""


@pytest.fixture
def folder(here: Path) -> Path:
    """The folder of the study when it runs."""
    return here / "runs" / "study"


@pytest.mark.slow
def test_a_study_without_torch(here: Path, folder: Path, cli: Cli) -> None:
    """Small workers; complete, failed and pruned trials with their rows; a kill and a resume change no number."""
    (here / "mine.py").write_text(PLAIN)
    pruner = {"type": "percentile", "percentile": 50.0, "n_startup_trials": 2, "n_warmup_steps": 3}
    keys = {"pruner": pruner, "log": {"batches": 1}, "checkpoints": {"keep_best": 9}}
    study = write_study(here, study_text({"x": [0.1, 0.2, 3, 2.5]}, **keys))
    interrupt("run", str(study), here=here, when=reached(folder, 3), how="SIGKILL")
    assert cli("resume", str(study)).code == 1
    assert cli("run", str(study), "name=undisturbed").code == 1
    assert outcome(folder) == outcome(folder.with_name("undisturbed"))
    found = records(folder)
    assert [run.state for run in found] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAILED, TrialState.PRUNED]
    assert [run.metrics["loaded"] for run in found[:2]] == [0, 0]
    assert max(float((folder / run.folder / "mb").read_text()) for run in found) < MOST_MB
    for run in found:
        assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= hparams_tags(folder / run.folder).keys()
        assert scalars(folder / run.folder)["batch/loss"][0] == (1, 1.0)


@pytest.mark.slow
def test_a_torch_that_nobody_could_foresee(here: Path, folder: Path, cli: Cli) -> None:
    """Results, settings and what is put back between trials are those of a worker that has it from the start."""
    study = write_study(here, study_text({"x": [0.1, 0.2, 0.3]}, determinism="strict", checkpoints={"keep_best": 9}))
    for name, how in (("study", "'tor' + 'ch'"), ("foreseen", "'torch'")):
        (here / "mine.py").write_text(LATE.replace("NAME", how))
        if name == "study":
            interrupt("run", str(study), here=here, when=reached(folder, 3), how="SIGKILL")
        done = cli("run", str(study), f"name={name}")
        assert done.code == 0, done.out
        runs = folder.with_name(name)
        processes = [(runs / run.folder / "process").read_text().split() for run in records(runs)]
        assert {loaded for _, loaded in processes} == {str(name == "foreseen")}
        assert len({process for process, _ in processes[1:]}) == 1  # nothing was left that cannot be put back
    assert outcome(folder) == outcome(folder.with_name("foreseen"))


def test_the_worker_of_a_script(here: Path, folder: Path, cli: Cli) -> None:
    """It has no torch, though the script may import it."""
    (here / "script.py").write_text(SCRIPT)
    study = write_study(here, study_text({"x": [1]}, objective=None, command=["python", "script.py", "${x}"]))
    assert cli("run", str(study)).code == 0
    assert records(folder)[0].metrics == {"score": 1.0, "loaded": 0.0}


@pytest.mark.slow
def test_the_documented_xgboost_study(here: Path, cli: Cli) -> None:
    """Its worker is small and has no torch before XGBoost is imported, nor later; a kill and a resume change no number."""
    pytest.importorskip("xgboost", reason="XGBoost is not installed")
    for name, text in files(DOCS / "own-code.md").items():
        (here / name).write_text(text)
    program = here / "boosted.py"
    program.write_text(
        f"{WALK}\nopen('seen', 'w').write(MAPS + str(LOADED))\n{program.read_text()}assert 'torch' not in sys.modules\n"
    )
    one = "workers.per_device=1"  # else the pruner sees trials end in another order
    interrupt("run", "boosted.yaml", one, here=here, when=reached(here / "runs/boosted", 5), how="SIGKILL")
    assert cli("resume", "boosted.yaml", one).code == 0
    assert cli("run", "boosted.yaml", one, "name=undisturbed").code == 0
    assert outcome(here / "runs/boosted") == outcome(here / "runs/undisturbed")
    seen = (here / "seen").read_text()
    assert seen.endswith("False")
    assert int(seen.partition("Rss:")[2].split()[0]) / 1024 < MOST_MB


def test_a_function_runs_in_this_process_without_torch(here: Path, cli: Cli) -> None:
    """Inline too, nothing but the objective imports it."""
    (here / "mine.py").write_text(PLAIN)
    study = write_study(here, study_text({"x": [0.1]}))
    assert cli("run", str(study), "--inline").code == 0
    assert records(here / "runs" / "study")[0].metrics["loaded"] == 0
