"""A function written for Optuna as an objective: sessions in this process, and what they leave."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest

import sweep
from sweep.errors import StudyFileError
from sweep.storage.folder import StudyFolder
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from sweep.study.space import Choice, Range
from sweep.study.trial import TrialState
from tests.support import tuned
from tests.support.reading import scalars
from tests.support.studies import study_text, write_study

COMPLETE, PRUNED, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED


@pytest.fixture
def beside(here: Path) -> Path:
    """A folder with the objectives."""
    shutil.copy(tuned.__file__, here / "tuned.py")
    return here


def run(
    folder: Path, function: str, parameters: dict[str, Any] | None = None, *, trials: int = 6, **keys: Any
) -> sweep.StudyResult:
    given = {"method": "random", "budget": {"trials": trials}, "log": {"images": False, "figures": False}} | keys
    text = study_text(parameters or {}, **{"objective": f"tuned:{function}"} | given)
    return sweep.run(write_study(folder, text), inline=True, quiet=True)


def snapshot(result: sweep.StudyResult) -> Snapshot:
    folder = StudyFolder(root=result.dir)
    return Snapshot.take(stored_study(folder), folder)


def test_a_session_has_the_trials_of_study_optimize(beside: Path) -> None:
    """Parameters, states, values, and user attributes; the database is one of Optuna's."""
    result = run(beside, "objective", method="tpe", seed=5, pruner={"type": "median"}, trials=12)
    sampler, pruner = optuna.samplers.TPESampler(seed=5), optuna.pruners.MedianPruner()
    plain = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    plain.optimize(tuned.objective, n_trials=12)
    found = [(trial.params, str(trial.state), trial.value, trial.user_attrs) for trial in result.trials]
    assert found == [(one.params, one.state.name.lower(), one.value, one.user_attrs) for one in plain.trials]
    stored = result.optuna_study.trials
    assert [one.params for one in stored] == [one.params for one in plain.trials]
    assert [one.distributions for one in stored] == [one.distributions for one in plain.trials]
    assert [one.user_attrs.get("layers") for one in stored] == [one.user_attrs.get("layers") for one in plain.trials]
    assert [Path(trial.folder).name for trial in result.trials] == [f"{number:04d}" for number in range(12)]


def test_who_reads_the_study_sees_the_parameters_that_the_trials_had(beside: Path) -> None:
    """With domains, in the order of their first use; the study's size stays that of its budget."""
    study = snapshot(run(beside, "objective", seed=1, trials=10)).study
    assert study.suggests
    assert study.total == 10
    assert study.parameters["layers"] == Range(low=1, high=3)
    assert study.parameters["units0"] == Range(low=4, high=128, log=True)
    assert study.parameters["kind"] == Choice(values=("adam", "sgd", None, True, 3))
    assert study.parameters["rate"] == Range(low=1e-5, high=0.1, log=True)
    assert study.parameters["drop"] == Range(low=0.1, high=0.5, step=0.1)
    assert {"units1", "units2"} <= study.parameters.keys()
    assert next(iter(study.parameters)) == "layers"


def test_what_the_function_returns_is_the_trials_value(beside: Path) -> None:
    """After reports too; the curve has the reports, and the returned value at the last step."""
    result = run(beside, "slow", trials=2)
    for trial in result.trials:
        params: dict[str, Any] = trial.params
        assert trial.value == pytest.approx(sum(params.values()))
        assert [step for step, _ in scalars(result.dir / trial.folder)["score"]] == [0, 1, 2, 2]


def test_a_function_that_does_not_ask_the_pruner_goes_on(beside: Path) -> None:
    """As in Optuna, the decision is for who asks."""
    result = run(beside, "ignores", pruner={"type": "threshold", "lower": 2.0}, trials=2)
    assert [(trial.state, trial.step) for trial in result.trials] == [(COMPLETE, 3)] * 2


def test_optunas_trial_pruned_prunes_also_what_nobody_asked_to(beside: Path) -> None:
    """Without a report, and without a pruner."""
    result = run(beside, "pruned_by_itself", trials=8)
    states = {int(str(trial.params["x"])) > 5: trial.state for trial in result.trials}
    assert states == {True: PRUNED, False: COMPLETE}
    assert all(trial.value is None for trial in result.trials if trial.state is PRUNED)


def test_several_metrics_are_a_tuple(beside: Path) -> None:
    """In the order of the study file; another number of values fails the trial."""
    metrics = [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "minimize"}]
    result = run(beside, "several", metric=None, metrics=metrics)
    assert all(set(trial.metrics) >= {"a", "b"} for trial in result.trials)
    assert all(trial.metrics["a"] == trial.params["x"] for trial in result.trials)
    failed = run(beside, "several", metric=None, metrics=[*metrics, {"name": "c", "goal": "minimize"}], name="other", trials=1)
    assert failed.trials[0].error == "the function returned 2 values, and the study file has 3: a, b, c"


def test_choices_that_are_objects_are_stored_as_texts(beside: Path) -> None:
    """The function gets its own objects."""
    result = run(beside, "with_objects", trials=8)
    for trial in result.trials:
        size = {"(1, 2)": (1, 2), "(3, 4)": (3, 4)}[str(trial.params["size"])]
        assert trial.value == {"max": max, "min": min}[str(trial.params["how"])](*size) + 0.5


def test_the_older_names_work(beside: Path) -> None:
    """Those that Optuna still has."""
    domains = snapshot(run(beside, "old_names", trials=2)).study.parameters
    assert domains == {
        "a": Range(low=0.0, high=1.0),
        "b": Range(low=1e-3, high=1.0, log=True),
        "c": Range(low=0.0, high=1.0, step=0.25),
    }


def test_what_optuna_refuses_fails_the_trial_at_the_functions_own_line(beside: Path) -> None:
    """With Optuna's reason."""
    [trial] = run(beside, "refused", trials=1).trials
    assert trial.state is FAILED
    assert "tuned.py" in str(trial.error)
    assert str(trial.error).splitlines()[-1].startswith("ValueError: x: ")


def test_the_repeats_of_a_trial_have_the_same_parameters(beside: Path) -> None:
    """The first run that asks draws; the trial's value is the mean."""
    result = run(beside, "objective", repeats=3, trials=3, seed=2)
    plain = run(beside, "objective", trials=3, seed=2, name="once")
    assert [trial.params for trial in result.trials] == [trial.params for trial in plain.trials]
    for trial in result.trials:
        assert [one.params for one in trial.runs] == [trial.params] * 3
        assert [one.folder for one in trial.runs] == [f"{trial.number:04d}_repeat={repeat}" for repeat in range(3)]


@pytest.mark.filterwarnings("ignore:trial 2 was trained by other code")
def test_failed_trials_can_be_retried_with_the_values_that_they_had(beside: Path) -> None:
    """After the bug is repaired, under their own numbers."""
    text = study_text({}, objective="tuned:raises", method="random", budget={"trials": 6}, seed=3, stop_after_failures=9)
    study = write_study(beside, text)
    before = sweep.run(study, inline=True, quiet=True)
    failed = [trial for trial in before.trials if trial.state is FAILED]
    assert failed
    (beside / "tuned.py").write_text(Path(tuned.__file__).read_text().replace("if x > 50:", "if x > 100:"))
    after = sweep.run(study, inline=True, quiet=True, retry_failed=True, keep=True)
    assert [trial.params for trial in after.trials] == [trial.params for trial in before.trials]
    assert all(trial.state is COMPLETE for trial in after.trials)
    assert [one.params for one in after.optuna_study.trials[6:]] == [trial.params for trial in failed]


def test_a_study_is_resumed_with_more_trials(beside: Path) -> None:
    """Earlier trials keep their parameters, and the proposals go on as in one session."""
    run(beside, "objective", method="tpe", trials=5)
    longer = run(beside, "objective", method="tpe", trials=14)
    assert [trial.params for trial in longer.trials] == [
        trial.params for trial in run(beside, "objective", method="tpe", trials=14, name="whole").trials
    ]


PLANNED: dict[str, Any] = {
    "x": {"min": -1.0, "max": 2.0},
    "y": {"values": [0.01, 0.1]},
    "n": {"min": 400, "max": 420, "step": 10},
}


def test_with_parameters_the_values_are_the_plans(beside: Path) -> None:
    """A grid too; the trials' folders name them as usual."""
    planned = PLANNED | {"x": {"values": [0.0, 1.0]}}
    result = run(beside, "static", planned, method="grid", budget=None)
    assert len(result.trials) == 12
    assert result.trials[0].params == {"x": 0.0, "y": 0.01, "n": 400}
    assert result.trials[0].value == pytest.approx(1 + 0.01 + 0.017)
    assert result.trials[0].folder == "0000_x=0_y=0.01_n=400"


def test_choices_of_a_study_file_may_be_lists_or_whole_numbers(beside: Path) -> None:
    """A list in the file is that of the function, and 0 is its 0.0: the function gets its own objects."""
    source = "def objective(trial):\n    layers = trial.suggest_categorical('layers', ([8], [16, 4]))\n"
    source += "    drop = trial.suggest_categorical('drop', [0.0, 0.5])\n    assert (type(layers), type(drop)) == (list, float)\n"
    (beside / "listed.py").write_text(source + "    return sum(layers) + drop\n", encoding="utf-8")
    planned = {"layers": {"values": [[16, 4], [8]]}, "drop": {"values": [0, 0.5]}}
    result = run(beside, "objective", planned, objective="listed:objective", method="grid", budget=None)
    assert [trial.value for trial in result.trials] == [20.0, 20.5, 8.0, 8.5]
    assert result.trials[0].params == {"layers": (16, 4), "drop": 0}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"x": None, "z": {"value": 1}}, "the function asks for 'x', and parameters in the study file has no such name; known"),
        ({"x": {"min": -6.0, "max": 2.0}}, "'x' is {min: -5.0, max: 10.0} in the function and {min: -6.0, max: 2.0} in"),
        ({"n": {"min": 1.0, "max": 5.0}}, "'n' is {min: 1, max: 1000} in the function and {min: 1.0, max: 5.0} in"),
        ({"y": {"values": ["small", "large"]}}, "'y' is {min: 0.001, max: 1.0, log: True} in the function and {values: ['"),
        ({"a": {"values": [1, 2]}, "y": {"value": 0.1, "when": {"a": 1}}}, "the function asks for 'y', which does not apply to"),
    ],
)
def test_a_function_and_a_file_that_do_not_fit_are_told_apart(beside: Path, changed: dict[str, Any], error: str) -> None:
    """The trial fails with both domains, and without a traceback."""
    planned = {name: domain for name, domain in ({"a": None} | PLANNED | changed).items() if domain is not None}
    enqueue = [{"a": 2}] if "a" in planned else []
    [trial] = run(beside, "static", planned, trials=1, enqueue=enqueue).trials
    assert trial.state is FAILED
    assert str(trial.error).startswith(error)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"objective": "tuned:objective", "method": "grid"}, "parameters: missing, and a grid needs them"),
        ({"objective": "plain:train", "method": "random"}, "parameters: missing; write parameters: {lr: {min"),
        ({"objective": None, "command": "python train.py", "method": "random"}, "parameters: missing; write parameters: {lr"),
    ],
)
def test_a_study_that_needs_parameters_is_refused_without(beside: Path, keys: dict[str, Any], message: str) -> None:
    """A grid, a function that asks for none, and a command."""
    (beside / "plain.py").write_text("def train(trial):\n    return trial.params['lr']\n")
    (beside / "train.py").touch()
    with pytest.raises(StudyFileError, match="1 problem") as caught:
        sweep.run(write_study(beside, study_text({}, budget={"trials": 2}, **keys)), inline=True, quiet=True)
    assert message in str(caught.value)


def test_the_trial_has_what_optunas_has(beside: Path) -> None:
    """And what this program's has; anything else is an error that says so."""
    (beside / "mine.py").write_text(
        "def objective(trial):\n"
        "    trial.suggest_float('x', 0, 1, step=0.5); trial.suggest_int('n', 1, 9); trial.suggest_categorical('c', 'ab')\n"
        "    assert list(trial.params) == list(trial.distributions) == ['x', 'n', 'c']\n"
        "    assert trial.distributions['x'].step == 0.5\n"
        "    trial.set_user_attr('a', (1, 2)); assert trial.user_attrs == {'a': [1, 2]}\n"
        "    assert trial.number == 0 and trial.datetime_start and trial.dir.name == '0000' and trial.device == 'cpu'\n"
        "    trial.report(1, 0); trial.report(2, 0)\n"
        "    assert not trial.should_prune()\n"
        "    return trial.study\n"
    )
    text = study_text({}, objective="mine:objective", method="random", budget={"trials": 1})
    [trial] = sweep.run(write_study(beside, text), inline=True, quiet=True).trials
    assert str(trial.error).splitlines()[-1] == "AttributeError: a trial has no 'study' here, neither Optuna's nor sweep's"
    assert trial.value == 1
    assert trial.user_attrs == {"a": [1, 2]}


def test_a_function_of_a_program_that_needs_parameters_says_so(here: Path) -> None:
    """Nothing is known of it before it runs: its trial fails with what to write."""

    def train(trial: sweep.Trial) -> None:
        trial.report(1, {"score": trial.params["lr"]})

    keys = {"name": "study", "metric": {"name": "score", "goal": "maximize"}, "method": "random", "budget": {"trials": 1}}
    [trial] = sweep.run(keys, train, inline=True, quiet=True).trials
    assert str(trial.error).startswith("the function reads trial.params['lr'] and has not asked for it: write parameters")


def test_choices_may_be_whatever_can_be_iterated_over(beside: Path) -> None:
    """Such as the keys of a dict, and objects, whose addresses are no part of their texts: they are equal when resumed."""
    first = run(beside, "iterables", trials=2)
    assert {trial.state for trial in first.trials} == {COMPLETE}
    again = run(beside, "iterables", trials=6)
    assert {trial.state for trial in again.trials} == {COMPLETE}
    assert {trial.params["gate"] for trial in again.trials} == {"<tuned.Gate object>", "len"}


def test_a_function_that_returns_nothing_fails_its_trial_alone(beside: Path) -> None:
    """As in Optuna."""
    result = run(beside, "sometimes_none", trials=4)
    assert [trial.state for trial in result.trials] == [FAILED, COMPLETE, FAILED, COMPLETE]


def test_the_questions_may_be_in_a_class_method(beside: Path) -> None:
    """Also where the study file has the parameters."""
    result = run(beside, "by_class", {"width": [1, 2, 3]}, method="grid")
    assert [trial.value for trial in result.trials] == [1, 2, 3]
