"""W&B sweep files on the command line: planned, run, stopped, resumed and pruned, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.interrupting import interrupt, reached
from tests.support.reading import records
from tests.support.studies import write_study

SCRIPT = """
import ast, json, os, sys
given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:] if "=" in word)
optimizer = ast.literal_eval(given["optimizer"])
assert ast.literal_eval(given["amp"]) in (True, False)
for step in range(1, int(given["epochs"]) + 1):
    print(json.dumps({"step": step, "loss": optimizer["lr"] / step, "words": len(sys.argv)}), flush=True)
"""
SWEEP = """
program: train.py
method: random
project: nobody
metric: {name: loss, goal: minimize}
parameters:
  epochs: {value: 9}
  amp: {values: [true, false]}
  optimizer:
    parameters:
      lr: {distribution: q_log_uniform_values, min: 0.01, max: 10, q: 0.01}
      name: {value: sgd}
"""


@pytest.fixture
def sweep_file(here: Path) -> Path:
    (here / "train.py").write_text(SCRIPT)
    return write_study(here, SWEEP, "sweep.yaml")


def trials(cli: Cli, *words: str) -> list[dict[str, Any]]:
    return json.loads(cli("trials", "sweep.yaml", "--format", "json", *words).out)  # type: ignore[no-any-return]


def test_a_plan_shows_the_file_as_it_is_understood(cli: Cli, sweep_file: Path) -> None:
    """With what is ignored, and as a study file, which is one."""
    out = cli("plan", "sweep.yaml").out
    assert "sweep: random, trials until it is stopped (Ctrl-C, or sweep stop)\n" in out
    assert "note       project: ignored, because nothing is sent to W&B's server\n" in out
    text = out.partition("as a study file of sweep's own:\n")[2].partition("\n\nrandom proposes")[0]
    assert '    nested: ["optimizer"]\n' in text
    assert "      optimizer.lr: {min: 0.01, max: 10.0, log: true, round: 0.01}\n" in text
    write_study(sweep_file.parent, text, "own.yaml")
    own = cli("plan", "own.yaml")
    assert own.code == 0
    assert "note" not in own.out


@pytest.mark.slow
def test_a_sweep_runs_until_it_is_stopped(cli: Cli, here: Path, sweep_file: Path) -> None:
    """Nested parameters reach the script as W&B passes them; what is told is told once; the study is resumed to its end."""
    ended = interrupt("run", "sweep.yaml", "workers.per_device=1", here=here, when=reached(here / "runs" / "sweep", 9, trials=2))
    assert ended.out.count("project: ignored, because nothing is sent to W&B's server") == 1
    more = len(records(here / "runs" / "sweep")) + 1
    assert cli("run", "sweep.yaml", f"budget.trials={more}", "workers.per_device=1").code == 0
    found = trials(cli)
    assert [trial["state"] for trial in found] == ["complete"] * more
    assert all(trial["value"] == pytest.approx(trial["params"]["optimizer.lr"] / 9) for trial in found)
    assert list(found[0]["params"]) == ["epochs", "amp", "optimizer.lr", "optimizer.name"]
    assert "optimizer.lr=" in found[0]["dir"]


@pytest.mark.slow
def test_a_script_of_wandbs_gets_its_nested_config(cli: Cli, sweep_file: Path) -> None:
    """From the real package, offline, over the script's own defaults; a file without a metric is compared by what it logs."""
    pytest.importorskip("wandb", reason="needs wandb")
    (sweep_file.parent / "train.py").write_text(
        "import wandb\n"
        "run = wandb.init(config={'optimizer': {'lr': 9, 'name': 'none'}, 'epochs': 1})\n"
        "run.log({'rate': run.config.optimizer['lr'], 'named': run.config['optimizer']['name'] == 'sgd'})\n"
    )
    sweep_file.write_text(SWEEP.replace("metric: {name: loss, goal: minimize}\n", "run_cap: 2\n"))
    assert cli("run", "sweep.yaml", "workers.per_device=1").code == 0
    for trial in trials(cli):
        assert trial["metrics"]["rate"] == trial["params"]["optimizer.lr"]
        assert trial["value"] == trial["metrics"]["_runtime"] > 0


@pytest.mark.slow
def test_a_sweep_is_pruned_by_its_own_hyperband(cli: Cli, sweep_file: Path) -> None:
    """After its third and ninth report; who is among the best third goes on."""
    sweep_file.write_text(SWEEP + "early_terminate: {type: hyperband, min_iter: 3}\nrun_cap: 8\n")
    assert cli("run", "sweep.yaml", "workers.per_device=1", "seed=1").code == 0
    seen: dict[int, list[float]] = {3: [], 9: []}
    for trial in trials(cli):
        lr, state, end = trial["params"]["optimizer.lr"], "complete", 9
        for place, values in seen.items():
            if state == "complete":
                values.append(lr / place)
                if lr / place > sorted(values)[len(values) // 3]:
                    state, end = "pruned", place
        assert (trial["state"], trial["metrics"]["loss"]) == (state, pytest.approx(lr / end))
    assert 0 < len(seen[9]) < len(seen[3])
