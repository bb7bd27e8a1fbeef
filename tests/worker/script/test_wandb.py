"""Scripts that log with the real wandb package, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.study.trial import Decision, TrialState
from sweep.worker.script.wandb_file import HISTORY, GrowingRun, fields, items
from sweep.worker.script.wandb_run import variables
from tests.support.reading import scalars
from tests.worker.script.conftest import PARAMS, Line, Run, log

pytest.importorskip("wandb", reason="needs wandb: pip install '.[wandb]'")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def runs(folder: Path) -> list[Path]:
    return sorted((folder / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_what_wandb_logs_is_reported(trial: Run, tmp_path: Path, line: Line) -> None:
    """The trial's parameters are the config; rows with the metric are reports, others points; the run stays for `wandb sync`.

    A call with commit=False belongs to the next row; nested numbers have dots; texts, booleans and media are no metrics; the
    script never calls `finish`.
    """
    result = trial(
        """
        import wandb
        run = wandb.init(project="p", config={"lr": 9, "depth": 3})
        assert dict(wandb.config) == {"lr": 0.01, "depth": 3, "size": 32, "shuffle": True, "name": "a b", "nothing": None}
        for epoch in (1, 2):
            wandb.log({"loss": 0.5 / epoch})
            wandb.log({"part": epoch}, commit=False)
            wandb.log({"score": epoch, "deep": {"a": {"b": 3}}, "text": "x", "ok": True, "bad": float("nan")})
        wandb.log({"picture": wandb.Histogram([1, 2])})
        run.summary["final"] = 7
        run.summary["score"] = 100
        """
    )
    assert result.state is TrialState.COMPLETE, log(tmp_path)
    assert result.metrics == {"part": 2, "score": 2, "deep.a.b": 3, "final": 7}
    assert [report.step for report in line.reports] == [1, 3]
    found = scalars(tmp_path / "run")
    assert found["loss"] == [(0, 0.5), (2, 0.25)]
    assert found["score"] == [(1, 1), (3, 2)]
    told = "sweep: images, histograms and other media, such as picture, stay in wandb's own run"
    assert log(tmp_path).count(told) == 1
    assert len(runs(tmp_path)) == 1
    assert not (tmp_path / "wandb").exists()


def test_the_step_metric_counts_the_reports(trial: Run, tmp_path: Path, line: Line) -> None:
    """Where `define_metric` names one; a summary that wandb makes, such as the best value, is a metric by its dotted name."""
    result = trial(
        """
        import sys, wandb
        wandb.init()
        wandb.define_metric("epoch")
        wandb.define_metric("score", step_metric="epoch", summary="max")
        wandb.define_metric("other/*", step_metric="epoch")
        for epoch, score in ((10, 1), (20, 5), (30, 2)):
            wandb.log({"batch": 1})
            wandb.log({"score": score, "epoch": epoch})
            wandb.log({"other/x": 1, "epoch": epoch})
        sys.exit(0)
        """
    )
    assert [report.step for report in line.reports] == [10, 20, 30], log(tmp_path)
    assert result.metrics == {"score": 2, "epoch": 30, "score.max": 5}
    assert [step for step, _ in scalars(tmp_path / "run")["batch"]] == [0, 3, 6]
    assert [step for step, _ in scalars(tmp_path / "run")["other/x"]] == [10, 20, 30]


def test_a_summary_alone(trial: Run) -> None:
    """Is the last report's metrics, the study's own among them."""
    result = trial("import wandb\nrun = wandb.init()\nrun.summary.update({'score': 4, 'other': 1.5})")
    assert (result.state, result.metrics) == (TrialState.COMPLETE, {"score": 4, "other": 1.5})


@pytest.mark.parametrize("how", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_nothing_is_lost_when_the_interpreter_is_killed(trial: Run, how: str, line: Line) -> None:
    """Each row was written as soon as it was complete."""
    result = trial(
        f"""
        import os, wandb
        wandb.init()
        for step in range(5):
            wandb.log({{"score": step}})
        {how}
        """
    )
    assert result.state is (TrialState.COMPLETE if "exit" in how else TrialState.FAILED)
    assert [report.step for report in line.reports] == [0, 1, 2, 3, 4]


def test_a_step_metric_that_is_not_always_whole_counts_rows(trial: Run, line: Line) -> None:
    """No row is lost because two ways of counting are mixed."""
    trial(
        """
        import wandb
        wandb.init()
        wandb.define_metric("score", step_metric="epoch")
        for half in range(1, 7):
            wandb.log({"score": half, "epoch": half / 2})
        """
    )
    assert [report.metrics["score"] for report in line.reports] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow  # each script waits for wandb twice
def test_a_pruned_script_ends_at_once_and_starts_over_later(trial: Run, tmp_path: Path) -> None:
    """Reports are live; an attempt that starts over has a run of its own, and the earlier one is kept and not read again."""
    script = """
        import time, wandb
        wandb.init()
        for step in range(1, 200):
            wandb.log({"score": step}); time.sleep(0.05)
            if FAST and step == 3: break
        """
    line = Line([Decision.CONTINUE, Decision.PRUNE])
    result = trial(script.replace("FAST", "False"), line=line)
    assert (result.state, result.metrics) == (TrialState.PRUNED, {"score": 2}), log(tmp_path)
    line = Line()
    result = trial(script.replace("FAST", "True"), line=line, attempt=2)
    assert (result.state, result.metrics) == (TrialState.COMPLETE, {"score": 3})
    assert [report.step for report in line.reports] == [0, 1, 2]
    assert len(runs(tmp_path)) == 2


def test_parameters_are_read_as_they_are(tmp_path: Path) -> None:
    """By wandb itself: small numbers, nested names, lists, and texts that YAML has other words for."""
    params = PARAMS | {
        "tiny": 1e-05,
        "opt": {"momentum": 0.9, "deep": {"er": (1, ("a", None))}},
        "é": "no: \U0001f600 #1\n",
        "big": 1e300,
    }
    given = variables(tmp_path, tmp_path / "wandb.yaml", params)
    code = (
        "import wandb, json; wandb.init(config={'opt': {'lr': 1, 'momentum': 0}});"
        "print(json.dumps(dict(wandb.config))); wandb.finish()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | given, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(done.stdout) == PARAMS | {
        "opt": {"lr": 1, "momentum": 0.9, "deep": {"er": [1, ["a", None]]}},
        "tiny": 1e-05,
        "é": "no: \U0001f600 #1\n",
        "big": 1e300,
    }


def test_a_growing_file_is_read_record_by_record(tmp_path: Path) -> None:
    """Across blocks of 32 KiB, with a torn end awaited wherever it is, and a damaged chunk passed over."""
    code = "import wandb; run = wandb.init()\nfor i in range(40): run.log({'score': i, 'text': str(i) * 3000})\nrun.finish()"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"WANDB_DIR": str(tmp_path)}, check=True, cwd=tmp_path)
    [path] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    whole = path.read_bytes()
    assert len(whole) > 3 << 15
    records = [*GrowingRun(path).records()]
    assert history(records) == list(range(40))
    growing, growing_run = tmp_path / "growing", GrowingRun(tmp_path / "growing")
    found: list[bytes] = []
    assert not [*growing_run.records()]
    for size in [*range(0, 9000, 501), *range(9000, len(whole), 4099), len(whole)]:
        growing.write_bytes(whole[:size])
        found += growing_run.records()
    assert found == records
    growing.write_bytes(whole[:40_000] + bytes([whole[40_000] ^ 1]) + whole[40_001:])
    numbers = history([*GrowingRun(growing).records()])
    assert 0 < len(numbers) < 40
    assert numbers[-1] == 39


def history(records: list[bytes]) -> list[int]:
    rows = [items(content)[0] for record in records for kind, content in fields(record) if kind == HISTORY]
    return [row["score",] for row in rows]
