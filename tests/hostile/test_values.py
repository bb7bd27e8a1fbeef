"""Values at the border between the user's code and this program: steps, metrics, names, errors, whatever their classes.

Two sweeps with one worker have a trial for each case, so that a case that harmed a later one would be seen there. A value is
taken with its exact number, or its trial alone fails with a message that says what is wrong; the sweep always ends, and every
number that it stored is that of its own trial.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_sweep
from tests.support.reading import records, scalars
from tests.support.studies import study_text, write_study

pytestmark = pytest.mark.slow
CASES = Path(__file__).with_name("values.py")

HALVES = [
    "float",
    "float32",
    "float64",
    "float16",
    "longdouble",
    "array0",
    "array1",
    "tensor",
    "tensor1",
    "tensor_with_grad",
    "parameter",
    "bfloat16",
    "float_subclass",
    "decimal",
    "fraction",
    "own_float",
    "unmasked_array",
]
TAKEN: dict[str, float] = dict.fromkeys(HALVES, 0.5)
TAKEN |= {"int": 3, "int64": 3, "uint8": 3, "tensor_of_ints": 3, "int_enum": 3, "large_int": 1e300, "uint64": float(2**64)}
NO_NUMBER = [
    "bool",
    "numpy_bool",
    "tensor_bool",
    "text",
    "numpy_text",
    "nothing",
    "complex",
    "list",
    "tensor2",
    "array2",
    "masked",
    "masked_array",
    "meta",
    "bad_float",
    "object",
]
# Nothing is returned where nothing is reported, which ends a sweep.
NO_NUMBER_CASES = [f"report {kind}" for kind in NO_NUMBER] + [f"return {kind}" for kind in NO_NUMBER if kind != "nothing"]
DIVERGED = ("nan", "infinite", "numpy_nan", "decimal_nan", "huge_int", "huge_decimal")

STEPS_TAKEN = {"int64": 7, "tensor": 7, "int_enum": 3, "largest": 2**63 - 1, "negative": -7}
STEPS_REFUSED = dict.fromkeys(("float", "text", "bool", "nothing", "nan"), "TypeError: the step of trial.report must be a whole")
STEPS_REFUSED |= dict.fromkeys(
    ("too_large", "of_700_digits"), "ValueError: the step of trial.report must be a whole number of at"
)

NAMES_TAKEN: dict[str, dict[str, float]] = {
    "numpy": {"score": 1, "other": 2},
    "enum": {"score": 2},
    "subclass": {"score": 1, "other": 2},
    "unicode": {"score": 1, "Größe 損失": 2},
    "spaces": {"score": 1, "a b/c": 2},
}
NAMES_REFUSED = dict.fromkeys(("int", "none", "bytes"), "TypeError: the name of a metric must be a text, got ")
NAMES_REFUSED |= dict.fromkeys(("newline", "escape", "nul", "surrogate"), "ValueError: the name of a metric has characters")
NAMES_REFUSED |= {
    "empty": "ValueError: the name of a metric must not be empty",
    "long": "ValueError: the name of a metric must have",
}

RESUMED = {
    "steps": {},
    "add_scalar": {"m": 3},
    "add_scalar tensor": {"m": 3},
    "tag": {"m": 3},
    "enum tag": {"m": 3},
    "add_scalars": {"m/a": 3},
    "batch": {"m": 3},
    "add_hparams": {"m": 3},
    "layout": {},
    "bad step": {},
    "float step": {},
    "bad tag": {},
    "own score": {},
    "own metrics": {},
    "own params": {},
    "event file": {},
}

COMPLETE: dict[str, float] = {"metrics_of_a_class": 2, "writes_the_metric": 4, "refused_then_right": 1, "from_a_thread": 50}
COMPLETE |= {"from_many_threads": 200, "thread_that_outlives": 1, "keeps_its_handle": 1, "forks_and_reports": 17}
FAILED = {
    "not_a_dict": "TypeError: trial.report needs a dict of metrics",
    "optunas_order": "TypeError: the step of trial.report must be a whole number, got float: 0.5",
    "negative_total": "ValueError: trial.steps needs 0 or more steps, got -1",
    "huge_total": "ValueError: the total of trial.steps must be a whole number of at most 64 bits",
    "total_is_a_float": "TypeError: the total of trial.steps must be a whole number, got float: 3.0",
    "error_without_text": "Silent",
    "error_with_an_odd_text": "odd words",
    "error_that_hides": "hidden words",
    "error_of_10_mb": "RuntimeError: xxx",
    "error_with_surrogates": "caf",
    "error_with_notes": "a note",
    "error_from_itself": "RuntimeError: circle",
    "error_group": "ValueError: deep",
    "error_with_objects": "KeyError",
    "error_of_failed_trial": "my words",
    "recursion": "RecursionError",
    "exits_with_an_object": "SystemExit",
    "uses_an_old_handle": "trial.report was called after trial ",
}
Results = dict[str, dict[str, Any]]


def run_cases(here: Path, cases: list[str]) -> Results:
    """Run a trial for each case in one worker, in this order."""
    shutil.copy(CASES, here / "values.py")
    keys: dict[str, Any] = {"retries": 1, "stop_after_failures": 1000, "log": {"batches": 1}, "repeats": 1}
    study = write_study(here, study_text({"case": cases}, objective="values:train", **keys))
    # One of the errors has text that no encoding can print.
    done = run_sweep("run", str(study), here=here, timeout=600, env={"PYTHONIOENCODING": "utf-8:backslashreplace"})
    assert "Traceback" not in done.err
    shown = json.loads(run_sweep("trials", str(here / "runs" / "study"), "--format", "json", here=here).out)
    found = {}
    for record, row in zip(records(here / "runs" / "study"), shown, strict=True):
        found[str(row["params"]["case"])] = {**row, "points": scalars(here / "runs" / "study" / record.folder)}
    assert len(found) == len(cases)
    again = run_sweep("run", str(study), here=here)  # what was stored can be read: nothing is left to do
    assert again.code == done.code == (1 if any(row["state"] == "failed" for row in shown) else 0), done.out[-2000:] + again.err
    return found


def check_failed(found: dict[str, Any], words: str, cause: str = "exception") -> None:
    """Check that a trial failed alone, with these words, and that no number of it was stored."""
    assert (found["state"], found["cause"], found["attempts"]) == ("failed", cause, 1), found["error"]
    assert words in found["error"]
    assert len(found["error"]) < 30_000
    assert found["value"] is None


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Run the cases of numbers, steps and names."""
    cases = [*NO_NUMBER_CASES, *(f"{way} {kind}" for kind in (*TAKEN, *DIVERGED) for way in ("report", "return"))]
    cases += [f"step {kind}" for kind in (*STEPS_TAKEN, *STEPS_REFUSED)] + [
        f"name {kind}" for kind in (*NAMES_TAKEN, *NAMES_REFUSED)
    ]
    return run_cases(tmp_path_factory.mktemp("metrics"), cases)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Run the other cases."""
    order = sorted([*COMPLETE, *FAILED], key=lambda case: case == "uses_an_old_handle")
    order.remove("keeps_its_handle")  # one worker process has both
    order.insert(order.index("uses_an_old_handle"), "keeps_its_handle")
    return run_cases(tmp_path_factory.mktemp("others"), [*(f"resume {kind}" for kind in RESUMED), *order])


@pytest.mark.parametrize("way", ["report", "return"])
@pytest.mark.parametrize("kind", TAKEN)
def test_a_number_is_taken_whatever_its_class(kind: str, way: str, metrics: Results) -> None:
    """Its exact value is stored, as an int or a float."""
    found = metrics[f"{way} {kind}"]
    assert found["error"] is None
    assert (found["state"], found["value"], found["metrics"]) == ("complete", TAKEN[kind], {"score": TAKEN[kind]})
    assert type(found["value"]) is type(TAKEN[kind])


@pytest.mark.parametrize("case", NO_NUMBER_CASES)
def test_what_is_no_number_fails_its_trial(case: str, metrics: Results) -> None:
    """With its type."""
    check_failed(metrics[case], "TypeError: metric 'score' must be a number, got ")


@pytest.mark.parametrize("way", ["report", "return"])
@pytest.mark.parametrize("kind", DIVERGED)
def test_what_is_not_finite_fails_its_trial(kind: str, way: str, metrics: Results) -> None:
    """With that cause, also what no float can hold."""
    check_failed(metrics[f"{way} {kind}"], "the training diverged", "not-finite")


@pytest.mark.parametrize("kind", STEPS_TAKEN)
def test_a_step_is_taken_whatever_its_class(kind: str, metrics: Results) -> None:
    """The point is at that step."""
    found = metrics[f"step {kind}"]
    assert (found["state"], found["step"]) == ("complete", STEPS_TAKEN[kind]), found["error"]
    assert found["points"]["score"] == [(STEPS_TAKEN[kind], 1)]


@pytest.mark.parametrize("kind", STEPS_REFUSED)
def test_a_step_that_is_none_fails_its_trial(kind: str, metrics: Results) -> None:
    """Nothing of the report is written."""
    found = metrics[f"step {kind}"]
    check_failed(found, STEPS_REFUSED[kind])
    assert "score" not in found["points"]


@pytest.mark.parametrize("kind", NAMES_TAKEN)
def test_a_name_is_taken_whatever_its_class(kind: str, metrics: Results) -> None:
    """Of a subclass the text counts."""
    found = metrics[f"name {kind}"]
    assert (found["state"], found["metrics"]) == ("complete", NAMES_TAKEN[kind]), found["error"]


@pytest.mark.parametrize("kind", NAMES_REFUSED)
def test_a_name_that_is_none_fails_its_trial(kind: str, metrics: Results) -> None:
    """Nothing of the report is written, not even the metric with a good name."""
    found = metrics[f"name {kind}"]
    check_failed(found, NAMES_REFUSED[kind])
    assert "score" not in found["points"]


@pytest.mark.parametrize("kind", RESUMED)
def test_no_value_makes_a_checkpoint_unreadable(kind: str, others: Results) -> None:
    """The worker is killed after the second step, and the trial goes on from there."""
    found = others[f"resume {kind}"]
    assert (found["state"], found["attempts"], found["metrics"]["score"]) == ("complete", 2, 3), found["error"]
    assert found["points"]["score"] == [(1, 1), (2, 2), (3, 3)]
    assert {tag: len(points) for tag, points in found["points"].items() if tag.startswith("m")} == RESUMED[kind]


@pytest.mark.parametrize("case", COMPLETE)
def test_a_trial_has_its_own_numbers(case: str, others: Results) -> None:
    """Whatever it does with classes, threads, processes and old handles."""
    found = others[case]
    assert (found["state"], found["value"], found["attempts"]) == ("complete", COMPLETE[case], 1), found["error"]


@pytest.mark.parametrize("case", FAILED)
def test_an_error_fails_its_trial_alone(case: str, others: Results) -> None:
    """With its words, whatever its class does."""
    check_failed(others[case], FAILED[case])


@pytest.mark.parametrize("case", ["return nothing", "writes_text"])
def test_a_sweep_without_its_metric_says_how_to_report_it(case: str, tmp_path: Path) -> None:
    """In three ways, and not to name one of nothing."""
    shutil.copy(CASES, tmp_path / "values.py")
    study = write_study(tmp_path, study_text({"case": [case]}, objective="values:train"))
    done = run_sweep("run", str(study), here=tmp_path)
    assert (done.code, "Traceback" in done.err) == (2, False)
    for way in (
        'trial.report(step, {"score": value})',
        "return a number or a dict",
        'trial.writer.add_scalar("score", value, step)',
    ):
        assert way in " ".join(done.err.split())
    assert "one of those" not in done.err


def test_nothing_came_from_another_trial(metrics: Results, others: Results) -> None:
    """A thread that outlived its trial and an old handle tried to report 1002."""
    values = [
        value for found in (*metrics.values(), *others.values()) for points in found["points"].values() for _, value in points
    ]
    assert values
    assert 1002.0 not in values


INLINE = """
import sweep
from sweep.study.lifetime import TrialEnded

kept = []


def train(trial):
    kept.append(trial)
    for old in kept[:-1]:
        try:
            old.report(9, {"score": 1002.0})
        except TrialEnded:
            trial.report(1, {"score": trial.number})
            return
    trial.report(1, {"score": trial.number})


study = {"name": "inline", "metric": {"name": "score", "goal": "maximize"}, "method": "grid"}
study |= {"parameters": {"x": {"values": [1, 2, 3]}}}
result = sweep.run(study, train, inline=True, quiet=True)
print([trial.value for trial in result.trials])
for use in (
    lambda trial: trial.report(9, {"score": 1002.0}, {"a": 1}),
    lambda trial: trial.save({"a": 1}),
    lambda trial: trial.steps(3),
    lambda trial: trial.writer.add_scalar("score", 1002.0, 9),
    lambda trial: trial.panels.batch(1, {"score": 1002.0}),
):
    for trial in kept:
        try:
            use(trial)
            print("nothing raised")
        except TrialEnded:
            pass
print([trial.value for trial in sweep.run(study, train, inline=True, quiet=True).trials])
"""


def test_a_handle_is_of_no_use_after_an_inline_sweep(tmp_path: Path) -> None:
    """All trials ran in this process, whose variables hold their handles."""
    (tmp_path / "inline.py").write_text(INLINE)
    done = run_sweep(here=tmp_path, command=[sys.executable, "inline.py"])
    printed = [line for line in done.out.splitlines() if not line.startswith("---")]  # the headers of the trials
    assert (done.code, printed) == (0, ["[0, 1, 2]"] * 2), done.err
    for record in records(tmp_path / "runs" / "inline"):
        assert scalars(tmp_path / "runs" / "inline" / record.folder)["score"] == [(1, record.number)]
