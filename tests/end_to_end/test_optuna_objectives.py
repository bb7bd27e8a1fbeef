"""Objectives written for Optuna in real sessions: killed, stopped, in several workers, and in TensorBoard."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support import tensorboards, tuned
from tests.support.command_line import Running
from tests.support.interrupting import interrupt, kill_part, started
from tests.support.reading import records
from tests.support.studies import study_text, write_study

TWO = {"devices": "cpu", "per_device": 2}


@pytest.fixture
def study(here: Path) -> Callable[..., Path]:
    """Write a study of one of the objectives, and return its file."""
    shutil.copy(tuned.__file__, here / "tuned.py")

    def write(function: str, trials: int = 6, **keys: Any) -> Path:
        given = {"method": "tpe", "budget": {"trials": trials}, "log": {"images": False, "figures": False}} | keys
        return write_study(here, study_text({}, objective=f"tuned:{function}", **given))

    return write


def params(folder: Path) -> list[dict[str, Any]]:
    return [record.params for record in records(folder)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kills_at_random_moments_change_no_proposal(study: Callable[..., Path], here: Path, cli: Cli, seed: int) -> None:
    """The runner, its worker, or both; what is left is the study that nobody killed."""
    generator, file = random.Random(seed), study("slow", trials=30, seed=seed, retries=20)
    folder = here / "runs" / "study"
    for _ in range(6):
        with Running("run", str(file), here=here) as running:
            before = len(records(folder))
            running.wait_until(lambda: not running.running() or len(records(folder)) > before + generator.randint(0, 3))  # noqa: B023
            running.wait_until(lambda: generator.random() < 0.2)
            kill_part(running, generator.choice(["runner", "worker", "group"]), generator)
    assert cli("run", str(file)).code == 0
    found = params(folder)
    assert cli("run", str(file), "name=undisturbed").code == 0
    assert found == params(here / "runs" / "undisturbed")
    assert len(found) == 30


def test_a_worker_that_dies_between_two_questions_gets_the_same_again(study: Callable[..., Path], here: Path, cli: Cli) -> None:
    """Its trial is started again with the values that it had, and counts as an attempt."""
    assert cli("run", str(study("dies_once", trials=2))).code == 0
    for record in records(here / "runs" / "study"):
        values: dict[str, Any] = record.params
        assert record.attempts == 2
        assert record.value == pytest.approx(values["x"] + values["y"])


@pytest.mark.slow
def test_repeats_that_run_at_a_time_draw_once(study: Callable[..., Path], here: Path, cli: Cli) -> None:
    """In two workers the first to ask draws, for each parameter."""
    assert cli("run", str(study("slow", trials=6, repeats=4, workers=TWO, method="random"))).code == 0
    runs: dict[int, list[dict[str, Any]]] = {}
    for record in records(here / "runs" / "study"):
        runs.setdefault(record.number, []).append(record.params)
    assert [len(found) for found in runs.values()] == [4] * 6
    assert all(found == [found[0]] * 4 for found in runs.values())
    assert len({str(found[0]) for found in runs.values()}) == 6


@pytest.mark.slow
@pytest.mark.parametrize("pruner", [{"type": "asha"}, {"type": "hyperband", "max_resource": 4}, {"type": "median"}])
def test_several_workers_prune_and_finish(study: Callable[..., Path], here: Path, cli: Cli, pruner: dict[str, Any]) -> None:
    """Every trial ends, and every one has the parameters that its function asked for."""
    assert (
        cli(
            "run", str(study("objective", trials=24, workers=TWO, pruner=pruner, metric={"name": "loss", "goal": "minimize"}))
        ).code
        == 0
    )
    found = records(here / "runs" / "study")
    assert len(found) == 24
    assert {str(record.state) for record in found} <= {
        "complete",
        "pruned",
    }  # how many of each depends on the order of their ends
    for record in found:
        assert {f"units{place}" for place in range(int(str(record.params["layers"])))} <= record.params.keys()


@pytest.mark.slow
def test_a_session_that_is_stopped_is_resumed(study: Callable[..., Path], here: Path, cli: Cli) -> None:
    """The trial that was running starts over with the values that it had."""
    file, folder = study("slow", trials=12), here / "runs" / "study"
    interrupt("run", str(file), here=here, when=started(folder, 3))
    before = {record.number: record.params for record in records(folder)}
    assert cli("resume", str(file)).code == 0
    after = {record.number: record.params for record in records(folder)}
    assert len(after) == 12
    assert all(found.items() <= after[number].items() for number, found in before.items())


@pytest.mark.slow
def test_a_trial_that_takes_too_long_is_ended(study: Callable[..., Path], here: Path, cli: Cli) -> None:
    """With its parameters in the record."""
    done = cli("run", str(study("never_ends", trials=1, timeout={"after": "1s", "then": "complete"})))
    assert done.code == 0, done.out + done.err
    [record] = records(here / "runs" / "study")
    assert str(record.state) == "complete"
    assert record.value == record.params["x"]


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["true", "false"])
def test_the_hparams_tab_has_a_row_for_each_trial(study: Callable[..., Path], here: Path, cli: Cli, loader: str) -> None:
    """With the parameters that it had, under both loaders; one that was asked for after the first report too."""
    assert cli("run", str(study("objective", trials=8, seed=4))).code == 0
    assert cli("run", str(study("asks_late", trials=2)), "name=late").code == 0
    folder = here / "runs" / "study"
    with tensorboards.served(folder, loader) as board:
        rows = board.wait_for_rows(8, metrics=2)
        types = {name: info["type"] for name, info in board.hparams().items()}
        metrics = board.metrics()
    expected = {
        "kind": "DATA_TYPE_STRING",
        "layers": "DATA_TYPE_FLOAT64",
        "rate": "DATA_TYPE_FLOAT64",
        "drop": "DATA_TYPE_FLOAT64",
    }
    assert expected.items() <= types.items()
    assert {"score", "best/score"} <= set(metrics)
    assert _shown(row["hparams"] for row in rows) == _shown(params(folder))
    with tensorboards.served(here / "runs" / "late", loader) as board:
        rows = board.wait_for_rows(2, metrics=2)
    assert _shown(row["hparams"] for row in rows) == _shown(params(here / "runs" / "late"))


def _shown(found: Iterable[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    """Return hyperparameters as the tab has them, in an order of their own: a column with words has texts."""
    return sorted(sorted((name, str(value) if name == "kind" else float(value)) for name, value in row.items()) for row in found)
