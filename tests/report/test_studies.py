"""Several studies side by side: what differs, whose best setting is better, and one page that says it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sweep.report.answer import answer
from sweep.report.axes import joint_axis
from sweep.report.studies import Known, common_settings, leads
from tests.report.test_facts import embedded, words
from tests.support.command_line import COMMAND, run_sweep
from tests.support.studies import run_record, study_spec, study_text, write_study

FIRST = """
name: first
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: grid
parameters:
  x:     {values: [0.1, 0.3]}
  y:     {values: [0.2, 0.7]}
  steps: {value: 2}
"""
SECOND = FIRST.replace("name: first", "name: second").replace("0.7]", "0.9]").replace("steps: {value: 2}", "steps: {value: 4}")


def known(values: dict[float, list[float]], **keys: Any) -> Known:
    """Return a study of one parameter `x`, and what its seeds gave at each value."""
    each = max(map(len, values.values()))
    seeds = {"seed": list(range(each))} if each > 1 else {}
    study = study_spec({**seeds, "x": list(values)}, **keys)
    records = [
        run_record(study, number, {**({"seed": seed} if each > 1 else {}), "x": x}, value)
        for number, (x, seed, value) in enumerate((x, seed, value) for x, own in values.items() for seed, value in enumerate(own))
    ]
    return answer(records, study), records


def test_a_clearly_better_best_setting_is_said_to_be() -> None:
    """In the metric's direction, with an interval above 0."""
    worse = known({1.0: [0.50, 0.51, 0.49], 2.0: [0.40, 0.41, 0.39]})
    better = known({1.0: [0.70, 0.71, 0.69], 3.0: [0.60, 0.61, 0.59]})
    [lead] = leads([worse, better])
    assert (lead.better, lead.worse, lead.clear) == (1, 0, True)
    assert lead.low is not None
    assert lead.low < lead.difference == pytest.approx(0.2, abs=0.02)
    small = {"metric": {"name": "score", "goal": "minimize"}}
    [lead] = leads([known({1.0: [0.5, 0.51, 0.49]}, **small), known({1.0: [0.7, 0.71, 0.69]}, **small)])
    assert (lead.better, lead.clear) == (0, True)


def test_a_small_difference_is_not_called_clear() -> None:
    """Nor is any where each setting was trained once and nothing tells how much is chance."""
    one, other = known({1.0: [0.50, 0.60, 0.40], 2.0: [0.3, 0.4, 0.2]}), known({1.0: [0.51, 0.62, 0.42], 2.0: [0.3, 0.4, 0.2]})
    [lead] = leads([one, other])
    assert not lead.clear
    [lead] = leads([known({1.0: [0.5], 2.0: [0.4]}), known({1.0: [0.9], 2.0: [0.8]})])
    assert (lead.better, lead.low, lead.clear) == (1, None, False)
    assert lead.difference == pytest.approx(0.4)


def test_the_one_ahead_of_three_is_compared_with_each() -> None:
    """With wider intervals, which hold together."""
    three = [known({1.0: [value, value + 0.01, value - 0.01]}) for value in (0.5, 0.7, 0.6)]
    two = leads(three[:2])
    found = leads(three)
    assert [(lead.better, lead.worse) for lead in found] == [(1, 2), (1, 0)]
    assert (found[1].high or 0) - (found[1].low or 0) > (two[0].high or 0) - (two[0].low or 0)


def test_settings_in_common_are_compared_in_pairs() -> None:
    """Of equal parameters and seeds; those that only one study has do not count."""
    one = known({1.0: [0.1, 0.2], 2.0: [0.3, 0.4], 9.0: [9.0, 9.0]})
    other = known({1.0: [0.2, 0.3], 2.0: [0.4, 0.5], 7.0: [0.0, 0.0]})
    [item] = common_settings([one, other], ["one", "other"])
    assert (item.better, item.worse, item.pairs, item.wins, item.unit) == ("other", "one", 4, 4, "seeds")
    assert item.difference == pytest.approx(0.1)
    assert common_settings([one, known({5.0: [0.2, 0.3]})], ["one", "other"]) == []


def test_an_axis_holds_the_values_of_all_studies() -> None:
    """Lists are joined in the direction of the first; a range and a list of numbers are one axis of numbers."""
    down, more = study_spec({"x": [0.1, 0.01]}), study_spec({"x": [0.05, 0.001]})
    some = study_spec({"x": {"min": 1e-4, "max": 1.0, "log": True}}, method="random", budget={"trials": 3})
    assert joint_axis("x", [(down, []), (more, [])]).values == (0.1, 0.05, 0.01, 0.001)
    axis = joint_axis("x", [(down, []), (some, [])])
    assert (axis.values, axis.log) == (None, True)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two studies that have run."""
    folder = tmp_path_factory.mktemp("two")
    for name, text in (("first.yaml", FIRST), ("second.yaml", SECOND)):
        assert run_sweep("run", str(write_study(folder, text, name)), here=folder).code == 0
    return folder


def test_two_studies_have_one_page(two: Path) -> None:
    """It says what differs and who is better, as `--format json` does, and the command that would tell more."""
    done = run_sweep("report", "runs/first", "second.yaml", here=two)
    assert done.code == 0, done.err
    assert "runs/report-first-second.html" in done.out
    page = (two / "runs" / "report-first-second.html").read_text()
    told = run_sweep("report", "runs/first", "second.yaml", "--format", "json", here=two).json
    assert told["differences"] == {
        "parameters.y": ["{values: [0.2, 0.7]}", "{values: [0.2, 0.9]}"],
        "parameters.steps": ["{value: 2}", "{value: 4}"],
    }
    assert told["comparable"] is True
    assert [one["label"] for one in told["studies"]] == ["first", "second"]
    said = words(page)
    for statement in told["statements"]:
        assert statement["text"] in said
    assert "The same code trained both" in said
    assert "In the 2 settings that both have, second is better than first by 0.25" in said
    for key, values in told["differences"].items():
        assert all(text in said for text in (key, *values))
    charts = {chart["name"]: chart for chart in embedded(page)["charts"]}
    assert list(charts) == ["curves", "effect_x_1", "effect_x_2", "effect_y_1", "effect_y_2"]
    assert [series["name"] for series in charts["curves"]["series"]] == ["first", "second"]
    for name in ("x", "y"):
        assert charts[f"effect_{name}_1"]["scales"] == charts[f"effect_{name}_2"]["scales"]
    named = {trial["n"]: trial["name"] for trial in embedded(page)["trials"]}
    assert sorted(named.values()) == sorted(f"{study}: trial {number}" for study in ("first", "second") for number in range(4))
    assert "connect-src" not in page
    [command] = [one["command"] for one in told["statements"] if one["command"]]
    assert command.startswith("sweep run first.yaml name=first-settled")
    assert command.endswith("&& sweep report runs/first-settled runs/second-settled")


@pytest.mark.slow
def test_the_command_that_would_tell_more_runs(two: Path) -> None:
    """It trains the best setting of each study, as it was overridden, with several seeds and compares them."""
    assert run_sweep("run", "first.yaml", "name=first-longer", "steps.value=3", here=two).code == 0
    told = run_sweep("report", "runs/first-longer", "runs/second", "--format", "json", here=two).json
    [command] = [one["command"] for one in told["statements"] if one["command"]]
    assert "'parameters.steps={value: 3}'" in command
    shell = f'set -e\nsweep() {{ {shlex.join(COMMAND)} "$@"; }}\n{command}'
    done = subprocess.run(["bash", "-c", shell], cwd=two, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "runs/report-first-longer-settled-second-settled.html" in done.stdout
    trials = run_sweep("trials", "runs/first-longer-settled", "--format", "json", here=two).json
    assert [trial["params"]["steps"] for trial in trials] == [3]


@pytest.mark.slow
def test_studies_of_different_metrics_are_not_compared(two: Path) -> None:
    """The page says why, and draws no curves over each other."""
    text = FIRST.replace("name: first", "name: other").replace("goal: minimize", "goal: maximize")
    assert run_sweep("run", str(write_study(two, text, "other.yaml")), here=two).code == 0
    assert run_sweep("report", "runs/first", "runs/other", "--format", "json", "--out", "told.json", here=two).code == 0
    found = json.loads((two / "told.json").read_text())
    assert found["comparable"] is False
    assert found["leads"] == found["common"] == []
    assert run_sweep("report", "runs/first", "runs/other", "--out", "page.html", here=two).code == 0
    page = (two / "page.html").read_text()
    assert "cannot be compared, because they optimize different things: first minimizes loss; other maximizes loss" in words(page)
    assert "curves" not in [chart["name"] for chart in embedded(page)["charts"]]


@pytest.mark.slow
def test_nothing_in_the_studies_can_spoil_their_page(here: Path) -> None:
    """Names and values are always text; a study without a result is said to have none."""
    hostile = "</script><img src=x onerror=alert(2)>"
    objective = 'def train(trial):\n    trial.report(1, {"loss": trial.params["x"]})\n'
    (here / "mine.py").write_text(objective + 'def fails(trial):\n    raise RuntimeError("no")\n')
    space = {"x": [1.0, 2.0], "how": [hostile, "b"]}
    keys: dict[str, Any] = {"metric": {"name": "loss", "goal": "minimize"}}
    for name, objective in (("one", "mine:train"), ("other", "mine:fails")):
        run_sweep(
            "run",
            str(write_study(here, study_text(space, objective=objective, **keys), f"{name}.yaml")),
            f"name={name}",
            here=here,
        )
    done = run_sweep("report", "runs/one", "runs/other", here=here)
    assert done.code == 0, done.err
    page = (here / "runs" / "report-one-other.html").read_text()
    assert hostile not in page
    assert "There is no result yet of other." in words(page)
    assert "They train different objectives: one mine:train; other mine:fails." in words(page)
    assert [chart["name"] for chart in embedded(page)["charts"]] == ["curves", "effect_x_1", "effect_how_1"]


@pytest.mark.slow
def test_dropped_trials_count_nowhere(two: Path) -> None:
    """Studies of one name are told apart by their folders; a note of a study is on the page."""
    shutil.copytree(two / "runs" / "first", two / "runs" / "fewer")
    best = run_sweep("best", "runs/fewer", "--format", "json", here=two).json[0]["number"]
    assert run_sweep("drop", "runs/fewer", str(best), here=two).code == 0
    assert run_sweep("note", "runs/fewer", "without the best", here=two).code == 0
    told = run_sweep("report", "runs/first", "runs/fewer", "--format", "json", here=two).json
    assert [one["label"] for one in told["studies"]] == ["runs/first", "runs/fewer"]
    assert [one["best"]["trials"] == [best] for one in told["studies"]] == [True, False]
    assert [item["pairs"] for item in told["common"]] == [3]
    assert "In the 3 settings that both have, runs/first and runs/fewer gave the same values." in str(told["statements"])
    done = run_sweep("report", "runs/first", "runs/fewer", "--out", "dropped.html", here=two)
    assert done.code == 0, done.err
    page = (two / "dropped.html").read_text()
    assert "runs/fewer: without the best" in words(page)
    assert f"runs/fewer: trial {best}" not in {trial["name"] for trial in embedded(page)["trials"]}


@pytest.mark.slow
def test_wrong_words_are_answered(two: Path) -> None:
    """A study twice, one that is not there or never ran, and an override alone."""
    twice = run_sweep("report", "runs/first", "first.yaml", here=two)
    assert (twice.code, "[same-study]" in twice.err) == (2, True)
    assert "[study-not-found]" in run_sweep("report", "runs/first", "runs/third", here=two).err
    assert "[no-study]" in run_sweep("report", "x.value=1", here=two).err
    write_study(two, FIRST.replace("name: first", "name: never"), "never.yaml")
    assert "[no-study]" in run_sweep("report", "runs/first", "never.yaml", here=two).err


@pytest.mark.slow
def test_figures_of_several_studies_are_written(two: Path) -> None:
    """The charts of the page, as pictures."""
    assert run_sweep("report", "runs/first", "runs/second", "--figures", "figures", here=two).code == 0
    names = ["curves.png", "effect_x_1.png", "effect_x_2.png", "effect_y_1.png", "effect_y_2.png"]
    assert sorted(path.name for path in (two / "figures").iterdir()) == names
