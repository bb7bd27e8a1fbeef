"""optuna-dashboard opens a study's database as it is."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.browser import chromium, missing
from tests.support.studies import write_study
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("optuna_dashboard") is None,
    reason="optuna-dashboard is not installed: pip install -e '.[test]'",
)
STUDY = """
name: toy
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: tpe
parameters:
  x:     {min: 0.0, max: 1.0}
  kind:  {values: [a, b]}
  y:     {min: 0.0, max: 1.0, when: {kind: b}}
  steps: {value: 5}
pruner: {type: median, n_startup_trials: 2}
budget: {trials: 10}
"""


@contextlib.contextmanager
def dashboard(database: Path) -> Iterator[str]:
    """Run optuna-dashboard while the block runs; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [str(Path(sys.executable).with_name("optuna-dashboard")), f"sqlite:///{database}", "--port", str(port), "--quiet"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def answer(url: str) -> Any:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as found:
            return json.load(found)
    except OSError:  # not up yet
        return None


@pytest.mark.slow
def test_optuna_dashboard_shows_the_study(cli: Cli, here: Path) -> None:
    """Every trial with its state, parameters, curve and value; the file is only read."""
    done = cli("run", str(write_study(here, STUDY)))
    assert done.code == 0, done.err
    trials, database = cli("trials", "runs/toy", "--format", "json").json, here / "runs" / "toy" / "study.db"
    before = hashlib.sha256(database.read_bytes()).digest()
    with dashboard(database) as address:
        [summary] = wait_for(lambda: answer(f"{address}/api/studies"))["study_summaries"]
        assert (summary["study_name"], summary["directions"]) == ("toy", ["minimize"])
        study = answer(f"{address}/api/studies/{summary['study_id']}")
    assert [trial["number"] for trial in study["trials"]] == list(range(10))
    for shown, ours in zip(study["trials"], trials, strict=True):
        assert shown["state"].lower() == ours["state"]
        assert {p["name"]: p["param_external_value"] for p in shown["params"]} == {
            name: str(value) for name, value in ours["params"].items() if name != "steps"
        }
        assert len(shown["intermediate_values"]) == ours["step"]
        assert shown["values"] == [ours["value"]]
    assert {trial["state"] for trial in study["trials"]} == {"Complete", "Pruned"}
    assert hashlib.sha256(database.read_bytes()).digest() == before


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_optuna_dashboards_page_is_drawn(cli: Cli, here: Path) -> None:
    """History and importance, in a browser."""
    assert cli("run", str(write_study(here, STUDY))).code == 0
    with dashboard(here / "runs" / "toy" / "study.db") as address:
        [summary] = wait_for(lambda: answer(f"{address}/api/studies"))["study_summaries"]
        with chromium(webgl=False) as browser:
            page = browser.new_page()
            page.goto(f"{address}/dashboard/studies/{summary['study_id']}")
            page.get_by_text("Hyperparameter Importance").first.wait_for(timeout=60_000)
            page.wait_for_function("document.querySelectorAll('.scatterlayer .point').length >= 10", timeout=60_000)
