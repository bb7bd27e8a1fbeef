"""What is said about a study's results: the same everywhere, about what it names, and what would settle it."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.report.answer import Answer, answer
from sweep.report.measured import main_metrics, measured
from sweep.report.methods import WHY
from sweep.report.plain_data import answer_json
from sweep.report.sentences import Statement, certainty, importance, statements
from sweep.report.sentences import measured as measured_text
from sweep.report.settings import settings
from sweep.study.formatting import number_text
from sweep.study.record import TrialRecord
from sweep.study.space import Choice, assignment
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.studies import make_study, study_spec, trial_record


def of_grid(size: float, seeds: int = 1) -> Answer:
    """Return the answer about a grid whose first parameter moves the result by 1, with chance of this size."""
    chance = random.Random(1)
    axes: dict[str, Any] = {"lr": [0.1, 0.01], "batch": [32, 64, 128], "idle": ["x", "y"]}
    study = study_spec({**({"seed": list(range(seeds))} if seeds > 1 else {}), **axes})
    points: list[dict[str, Any]] = [study.grid.point(number) for number in range(study.grid.size)]
    records = [
        trial_record(number, value=(point["lr"] == 0.1) + size * chance.gauss(0, 1), params=point)
        for number, point in enumerate(points)
    ]
    return answer(records, study)


def said(found: Iterable[Statement]) -> str:
    return " ".join(one.text for one in found)


@pytest.mark.slow
def test_page_terminal_json_and_python_say_the_same(cli: Cli, here: Path) -> None:
    """One place makes the statements; commands name the study file that was typed."""
    study = make_study(here, {"x": [1, 2, 4], "how": "ok", "steps": 3}, repeats=2)
    ran = cli("run", str(study)).out
    told = cli("report", str(study), "--format", "json").json
    main = [one["text"] for one in told["statements"] if one["main"]]
    assert len(main) >= 2
    cli("report", str(study))
    page = re.sub(r"\s+", " ", (here / "runs" / "study" / "report.html").read_text())
    status, best = cli("status", str(study)).out, cli("best", str(study)).out
    assert cli("status", str(study), "--json").json["statements"] == main
    for text in main:
        assert text in page.replace("&gt;", ">").replace("&lt;", "<")
        for shown in (ran, status, best):
            assert text in shown
    assert told["settings"][0]["params"] == {"x": 4}
    assert {one["topic"] for one in told["statements"]} <= set(WHY)


def test_a_result_in_python_has_the_statements(here: Path) -> None:
    """The same as on the terminal."""
    keys = {"name": "quick", "metric": {"name": "score", "goal": "maximize"}, "method": "grid"}
    result = sweep.run(
        keys | {"parameters": {"x": {"values": [1, 2, 3, 4, 5, 6]}}},
        lambda trial: float(trial.params["x"]),
        inline=True,
        quiet=True,
    )
    assert any("trained once" in text for text in result.statements)


@pytest.mark.slow
def test_the_command_that_settles_is_one_that_runs(cli: Cli, here: Path) -> None:
    """It names another study with these settings only, other seeds, and repeats; also where a parameter is the seed."""
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"x": [1.5, 1.6]}, {"repeats": 2}),
        ({"seed": [0, 1], "x": [1.5, 1.6]}, {}),
    ]
    for axes, keys in cases:
        study = make_study(here, {**axes, "how": "ok", "steps": 1}, name="first", objective="mine:train", **keys)
        assert cli("run", str(study), "--fresh").code == 0
        spec = study_spec({**axes, "how": "ok", "steps": 1}, name="first", **keys)
        values = {1.5: [1.0, 1.2, 1.1], 1.6: [1.1, 1.0, 1.3]}
        pairs = [(seed, x) for seed in range(3) for x in values]
        records = [
            trial_record(number, value=values[x][seed], params={"seed": seed, "x": x}) for number, (seed, x) in enumerate(pairs)
        ]
        found = answer(records, spec).settling
        assert found is not None
        assert found.seeds > 2
        words = shlex.split(found.command.replace("STUDY", str(study)))
        assert words[:2] == ["sweep", "run"]
        done = cli(*words[1:])
        assert done.code == 0, done.err
        told = cli("report", "runs/first-settled", "--format", "json").json
        assert {one["params"]["x"] for one in told["settings"]} == {one.params["x"] for one in found.settings}


def test_nothing_stands_out_is_not_said_beside_something_that_does() -> None:
    """Whatever the size of chance."""
    for size in (0.05, 0.3, 0.6, 1.0, 3.0):
        for seeds in (1, 3):
            found = of_grid(size, seeds)
            nothing = "stands out from chance" in said(importance(found))
            clear = any(item.clear for item in found.comparisons) or found.influence.interplays
            assert not (nothing and clear)


def test_one_training_of_each_is_not_called_certain() -> None:
    """The value is that of a network; the luck of being selected is taken off, and what would show more is given."""
    found = of_grid(0.5)
    text = said(certainty(found))
    assert "Each setting was trained once" in text
    assert "optimistic" in text
    assert "sure" not in text
    best = found.best
    assert best is not None
    assert best.chance is None
    assert best.expected is not None
    assert best.expected < best.mean
    assert "repeats=" in " ".join(one.command for one in certainty(found))


def test_seeds_that_hardly_differ_settle_it() -> None:
    """Then there is nothing to run, and the sentence says how sure it is."""
    chance = random.Random(1)
    study = study_spec({"seed": [0, 1, 2], "a": [0, 1, 2]})
    points: list[dict[str, Any]] = [study.grid.point(number) for number in range(9)]
    records = [trial_record(n, value=p["a"] + 0.01 * chance.gauss(0, 1), params=p) for n, p in enumerate(points)]
    found = answer(records, study)
    assert found.settling is None
    assert ">99 % sure" in said(certainty(found))
    assert "2 of the other 2 settings are clearly behind it." in said(certainty(found))


def test_a_setting_with_failures_is_marked() -> None:
    """It may be the best of what ended, but it is not called ahead without saying so."""
    study = study_spec({"seed": [0, 1, 2, 3], "a": [0, 1]})
    records = []
    for number in range(8):
        point: dict[str, Any] = study.grid.point(number)
        lost = point["a"] == 1 and point["seed"] == 3
        value = None if lost else 10.0 * point["a"] + 0.1 * point["seed"]
        records.append(trial_record(number, TrialState.FAILED if lost else TrialState.COMPLETE, value, params=point))
    found = answer(records, study)
    text = said(statements(found))
    assert "(1 more failed)" in text
    assert "among the trainings that ended (1 of its own failed)" in text
    assert "1 failed trials count as the worst" in text


def records_with_metrics(seeds: int) -> tuple[StudySpec, list[TrialRecord]]:
    chance = random.Random(1)
    study = study_spec({"seed": list(range(seeds)), "a": [0, 1, 2]}, metric={"name": "validation/accuracy", "goal": "maximize"})
    records = []
    for number in range(3 * seeds):
        point: dict[str, Any] = study.grid.point(number)
        share = 0.8 + 0.05 * point["a"] + 0.01 * chance.random()
        metrics = {"train/correct": float(round(48_000 * share)), "train/loss": 1 - share, "validation/loss": 1.1 - share}
        metrics |= {"test/accuracy": round(share, 3), "test/samples": 1000.0, "validation/accuracy": share}
        records.append(trial_record(number, value=share, params=point, metrics=metrics))
    return study, records


def test_a_metrics_interval_says_what_it_is_about() -> None:
    """This trained network after one training, this setting after several; and none for the value that selected."""
    for seeds, about in ((1, "network"), (3, "setting")):
        study, records = records_with_metrics(seeds)
        found = measured(records, study, settings(records, study)[0])
        assert [item.name for item in found][:2] == ["validation/accuracy", "test/accuracy"]
        assert [item.name for item in found if item.bookkeeping] == ["test/samples", "train/correct"]
        own, test = found[:2]
        assert test.about == about
        assert (
            "this trained network" in measured_text(test) if seeds == 1 else "this setting, with any seed" in measured_text(test)
        )
        assert (own.low is None) == (seeds == 1)
        assert "optimistic" in measured_text(own) if seeds == 1 else own.about == "setting"


def test_people_read_counts_without_decimals_and_few_columns() -> None:
    """The last table has the objective's own metrics and the test's, not the counts."""
    assert number_text(48653.0) == "48653"
    assert number_text(1.0) == "1.0000"
    study, records = records_with_metrics(1)
    assert set(main_metrics(records, study)) == {"validation/accuracy", "validation/loss", "test/accuracy"}


def test_scipy_is_loaded_only_where_statements_are_made() -> None:
    """Not at the start of a session, of a command or of a worker."""
    modules = "sweep, sweep.api, sweep.cli.main, sweep.cli.run, sweep.cli.status, sweep.worker.loop"
    code = f"import sys, {modules}; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("seed", range(24))
def test_no_results_are_too_odd_for_statements(seed: int) -> None:
    """Any mix of states, missing values, constant metrics and huge or tiny numbers, in grids and searches."""
    chance = random.Random(seed)
    space: dict[str, Any] = {f"p{at}": chance.sample([1, 2.5, "a", None, 7, -3, "b"], chance.randint(1, 4)) for at in range(3)}
    keys: dict[str, Any] = {"metric": {"name": "score", "goal": chance.choice(["maximize", "minimize"])}}
    if seed % 3 == 0:
        space["seed"] = [0, 1, 2]
    elif seed % 3 == 1:
        space["r"] = {"min": 0.0, "max": 1.0}
        keys |= {"method": chance.choice(["random", "tpe"]), "budget": {"trials": 30}}
    study = study_spec(space, **keys)
    size, around = chance.choice([0, 1e-300, 1, 1e300]), chance.choice([0, 1, 1e10])
    records = []
    for number in range(30 if study.method != "grid" else study.grid.size):
        point = study.grid.point(number) if study.method == "grid" else drawn_point(study, chance)
        state = chance.choices(list(TrialState), [1, 1, 8, 1, 1])[0]
        value = None if state is TrialState.FAILED else around + size * chance.choice([chance.gauss(0, 1), 0, 1])
        metrics = {} if value is None else {"score": value, "n": 7.0, "test/accuracy": chance.random(), "test/samples": 9.0}
        if chance.random() < 0.8:
            records.append(trial_record(number, state, value, params=point, metrics=metrics))
    text = json.dumps(answer_json(answer(records, study)), allow_nan=False)
    assert "statements" in text


def drawn_point(study: StudySpec, chance: random.Random) -> dict[str, Any]:
    return assignment(
        study.parameters, lambda _, domain: chance.choice(domain.values) if isinstance(domain, Choice) else chance.random()
    )
