"""Several metrics and constraints: the Pareto front and who may be in it, from the study file to the HPARAMS tab."""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest
from tensorboard.plugins.hparams import metadata

import sweep
from sweep.errors import StudyFileError, SweepError
from sweep.search.methods import make_sampler
from sweep.search.planner import Planner
from sweep.storage.database import read_records
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_terms import distributions
from sweep.study.file.json_schema import json_schema
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import write_study
from sweep.study.methods import SAMPLERS
from sweep.study.ranking import rank, undominated
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from sweep.tensorboard.hparams import append_front
from sweep.tensorboard.pareto_front import FrontColumn
from tests.conftest import Cli
from tests.support.reading import hparams_tags, scalars
from tests.support.searching import Trained, asked, searched, searched_by_optuna, session
from tests.support.studies import run_study, study_keys, trial_record
from tests.support.studies import write_study as write_file
from tests.support.tensorboards import served
from tests.support.waiting import no_process_left

KEEPS_WORKERS = True  # the study that most tests read is run once; the fixture checks it

# ---------------------------------------------------------------- the front


def _by_definition(points: Sequence[tuple[float, ...]]) -> list[int]:
    return [
        place
        for place, one in enumerate(points)
        if not any(other != one and all(a >= b for a, b in zip(other, one, strict=True)) for other in points)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_front_is_what_no_point_dominates(count: int) -> None:
    """Equal points are in it together."""
    draw = random.Random(count)
    for _ in range(200):
        points = [tuple(float(draw.randint(0, 5)) for _ in range(count)) for _ in range(draw.randint(0, 20))]
        assert undominated(points) == _by_definition(points)


BASE = study_keys(
    {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 1e-3, "max": 1.0, "log": True}, "n": {"min": 1, "max": 1000}},
    objective="sweep.objectives.toy:train",
    metric=None,
    metrics=[{"name": "a", "goal": "maximize"}, {"name": "b", "goal": "minimize"}],
    method="tpe",
    budget={"trials": 40},
    seed=7,
)
ONE = {"metrics": None, "metric": {"name": "a", "goal": "maximize"}}


def given(**changed: Any) -> dict[str, Any]:
    """Return the keys of a study; one that is None is left out."""
    return {key: value for key, value in (BASE | changed).items() if value is not None}


def spec(**changed: Any) -> StudySpec:
    return given_study(given(**changed), import_dir=Path())


def record(number: int, state: TrialState = TrialState.COMPLETE, **metrics: float) -> TrialRecord:
    return trial_record(number, state, metrics=metrics)


def test_the_front_comes_first_and_broken_constraints_last() -> None:
    """Each group is in the order of the first metric; trials that break constraints are in the order of the excess."""
    study = spec(constraints={"c": {"min": 1, "max": 10}})
    trials = [
        record(0, a=1, b=1, c=5),
        record(1, a=3, b=3, c=5),
        record(2, a=2, b=4, c=5),
        record(3, a=9, b=0, c=12),
        record(4, a=8, b=0, c=0.5),
        record(5, a=7, b=0),
        record(6, TrialState.FAILED, a=9, b=0, c=5),
    ]
    assert [item.number for item in rank(trials, study).order] == [1, 0, 2, 4, 3, 5]


# ---------------------------------------------------------------- the study file


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metrics": None}, "metric: missing; it is `{name, goal: maximize or minimize}`"),
        ({"metric": {"name": "a", "goal": "maximize"}}, "metrics: cannot be combined with metric; keep one of the two"),
        ({"metrics": []}, "metrics: is empty"),
        ({"metrics": [{"name": "a", "goal": "up"}]}, "metrics[0].goal: 'up' is not known"),
        ({"metrics": [{"name": "a", "gaol": "maximize"}]}, "metrics[0].gaol: unknown key; did you mean 'goal'?"),
        ({"metrics": [*BASE["metrics"], BASE["metrics"][0]]}, "metrics[2].name: 'a' is listed twice"),
        ({"constraints": {"c": {}}}, "constraints.c: has no bound; write c: {max: 50000}"),
        ({"constraints": {"c": {"min": 2, "max": 1}}}, "constraints.c: min (2) must not be above max (1)"),
        ({"constraints": {"c": {"most": 1}}}, "constraints.c.most: unknown key"),
        ({"constraints": {"c": {"max": "many"}}}, "constraints.c.max: must be a finite number, got 'many'"),
        ({"method": "cmaes"}, "method: cmaes can search for one metric only: Optuna's CmaEsSampler refuses several"),
        ({"pruner": {"type": "median"}}, "pruner: there are several metrics, and Optuna's pruners compare trials by one value"),
    ],
)
def test_what_cannot_be_meant_is_refused(changed: dict[str, Any], message: str) -> None:
    """The message has the reason and what to write; the schema for editors refuses no more than the program."""
    with pytest.raises(StudyFileError, match=re.escape(message)):
        spec(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"metrics": BASE["metrics"][:1]},
        {"metrics": [*BASE["metrics"], {"name": "c", "goal": "minimize", "target": 0.5}], "method": "qmc"},
        {
            "constraints": {
                "model/parameters": {"max": 50000},
                "a": {"min": 0.5, "max": 1.5},
                "null": {"max": 1},
                "a: b": {"max": 1},
            }
        },
        ONE | {"method": "cmaes", "pruner": {"type": "median"}, "constraints": {"c": {"max": 1}}},
    ],
)
def test_metrics_and_constraints_survive_being_written_and_read(changed: dict[str, Any], tmp_path: Path) -> None:
    """The schema for editors accepts them, too."""
    study = spec(**changed)
    again = read_study(write_file(tmp_path, write_study(study)))
    assert (again.metrics, again.constraints) == (study.metrics, study.constraints)
    jsonschema.Draft202012Validator(json_schema()).validate(given(**changed))


@pytest.mark.parametrize("changed", [{"metrics": None}, {"metric": ONE["metric"]}, {"constraints": {"c": {}}}, {"metrics": []}])
def test_editors_underline_the_same_mistakes(changed: dict[str, Any]) -> None:
    """Both keys or neither of them, a constraint without a bound."""
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(given(**changed))


# ---------------------------------------------------------------- the search

OPTIONS: dict[str, dict[str, Any]] = {
    "random": {},
    "tpe": {"n_startup_trials": 5},
    "gp": {"n_startup_trials": 5},
    "qmc": {"qmc_type": "halton", "scramble": True},
    "nsgaii": {"population_size": 6},
    "cmaes": {"popsize": 5},
}
COUNTS = dict.fromkeys(SAMPLERS, 20) | {"gp": 9}  # each of its proposals takes seconds
BOUNDS = {"c": {"min": 0.0, "max": 6.0}}
SEARCHES = [
    pytest.param(name, several, marks=pytest.mark.slow) if name == "gp" else (name, several)
    for name in SAMPLERS
    for several in (True, False)
    if SAMPLERS[name].several_metrics or not several
]


def reported(params: dict[str, Any], _number: int) -> list[dict[str, float]]:
    x, y = params["x"], math.log10(params["y"])
    return [{"a": -((x - 1) ** 2) - y**2, "b": (x + 2) ** 2 + abs(params["n"] - 417) / 1000, "c": x + 2 - y}]


def excesses(metrics: dict[str, float]) -> dict[str, float]:
    return {"c min": -metrics["c"], "c max": metrics["c"] - 6.0}


def study_of(method: str, several: bool) -> StudySpec:
    changed = {} if several else ONE
    return spec(method=method, sampler=OPTIONS[method], constraints=BOUNDS, **changed)


@pytest.mark.parametrize(("method", "several"), SEARCHES)
@pytest.mark.filterwarnings("ignore")
def test_a_method_proposes_what_optunas_sampler_proposes(method: str, several: bool) -> None:
    """Optuna's own loop has the same directions and constraints."""
    study, count = study_of(method, several), COUNTS[method]
    found = searched(study, reported, count)
    assert found == searched_by_optuna(study, reported, count, excesses=excesses)
    broken = sum(any(excess > 0 for excess in excesses(*reported(params, 0)).values()) for params, _ in found)
    assert 0 < broken < count


@pytest.mark.parametrize(("method", "several"), SEARCHES)
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_search_goes_on_with_the_same_proposals(here: Path, method: str, several: bool) -> None:
    """The study's folder is read again after every seventh trial."""
    study, count, folder = study_of(method, several), COUNTS[method], StudyFolder(root=here)
    found: list[Trained] = []
    while len(found) < count:
        found += session(study, reported, min(7, count - len(found)), folder)
    assert found == searched(study, reported, count)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.filterwarnings("ignore")
def test_what_each_method_can_do_is_what_optuna_says(method: str) -> None:
    """It accepts several metrics or not, and it uses constraints or not."""
    plain = optuna.create_study(directions=["maximize", "minimize"], sampler=make_sampler(method, 0, {}))
    if SAMPLERS[method].several_metrics:
        plain.ask(distributions(spec().parameters))
    else:
        with pytest.raises(ValueError, match="multi-objective"):
            plain.ask(distributions(spec().parameters))
    options = inspect.signature(getattr(optuna.samplers, SAMPLERS[method].optuna)).parameters
    assert SAMPLERS[method].constraints == ("constraints_func" in options)


def told(planner: Planner, *trials: dict[str, float]) -> str | None:
    for metrics in trials:
        assert planner.ended_by is None
        planner.tell(asked(planner)[0], TrialState.COMPLETE, metrics["a"], metrics)
    return planner.ended_by


def test_patience_waits_for_a_new_trial_on_the_front() -> None:
    """A trial that is better only in the second metric counts; an equal trial or one that breaks a constraint does not."""
    study = spec(method="random", budget={"patience": 2}, constraints={"c": {"max": 1}})
    trials: list[dict[str, float]]
    trials = [{"a": 1, "b": 5, "c": 0}, {"a": 0, "b": 9, "c": 0}, {"a": 0, "b": 4, "c": 0}, {"a": 9, "b": 0, "c": 2}]
    assert told(Planner(study), *trials) is None
    assert told(Planner(study), *trials, {"a": 0, "b": 4, "c": 0}) == "2 trials brought no new best"


def test_one_trial_must_reach_every_target() -> None:
    """It must keep the constraints, too."""
    metrics = [{"name": "a", "goal": "maximize", "target": 0.5}, {"name": "b", "goal": "minimize", "target": 2}]
    study = spec(method="random", metrics=metrics, constraints={"c": {"max": 1}})
    trials: list[dict[str, float]] = [{"a": 1, "b": 3, "c": 0}, {"a": 0, "b": 1, "c": 0}, {"a": 1, "b": 1, "c": 2}]
    assert told(Planner(study), *trials) is None
    assert told(Planner(study), *trials, {"a": 0.5, "b": 2, "c": 1}) == "a trial reached the targets a 0.5, b 2"
    only = spec(method="random", metric=metrics[0], metrics=None, constraints={"c": {"max": 1}})
    assert told(Planner(only), {"a": 1, "c": 2}, {"a": 0.5, "c": 1}) == "the target 0.5 is reached"


# ---------------------------------------------------------------- a whole study

STUDY = """
name: study
objective: mine:train
metrics: [{name: good, goal: maximize}, {name: cost, goal: minimize}]
constraints: {model/parameters: {max: 500}}
method: grid
parameters:
  width: {values: [1, 2, 4, 8]}
  lr:    {values: [0.1, 0.2]}
checkpoints: {keep_best: 2}
workers: {per_device: 1}
"""
OBJECTIVE = """
import os, signal

def train(trial):
    width, lr = trial.params["width"], trial.params["lr"]
    assert trial.state is None or trial.state["step"]
    for step in trial.steps(3):
        good, cost = width * step / 3 - lr, width * 10 * lr * step if step != 2 else 1
        trial.report(step, {"cost": cost, "model/parameters": 100 * width, "good": good, "loss": -good}, {"step": step})
        mark = trial.dir / "once"
        if trial.params.get("die") and step == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
# Trials 0 to 7: good is width - lr, cost is 30 * width * lr, 8 is too wide.
FRONT, BROKEN = [4, 2, 0], [6, 7]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study file whose study has run."""
    folder = tmp_path_factory.mktemp("front")
    (folder / "mine.py").write_text(OBJECTIVE)
    with no_process_left():
        run_study(STUDY, folder=folder)
    return folder


def test_best_is_the_front(study: Path, cli: Cli) -> None:
    """It is in the order of the first metric, with an explanation; --top lists no trial that breaks a constraint."""
    path = str(study / "runs" / "study")
    shown = cli("best", path).out
    assert [int(line.split()[0]) for line in shown.splitlines()[1:4]] == FRONT
    assert "Pareto front (maximize good and minimize cost): 3 of 8 complete trials" in shown
    assert [row["number"] for row in cli("best", path, "--format", "json").json] == FRONT
    assert [row["number"] for row in cli("best", path, "--format", "json", "--top", "9").json] == [*FRONT, 5, 3, 1]
    status = cli("status", path, "--json").json
    assert status["best"]["number"] == FRONT[0]
    assert [row["number"] for row in status["front"]] == FRONT
    assert "Pareto front of good, cost: 3 of 8 complete" in cli("status", path).out


def test_trials_are_marked(study: Path, cli: Cli) -> None:
    """The table, CSV and JSON mark them and have their values in the order of the metrics."""
    path = str(study / "runs" / "study")
    listed = cli("trials", path, "--format", "json").json
    assert [row["number"] for row in listed if row["front"]] == sorted(FRONT)
    assert [row["number"] for row in listed if not row["feasible"]] == BROKEN
    assert all(row["values"] == [row["metrics"]["good"], row["metrics"]["cost"]] for row in listed)
    assert all(row["value"] == row["values"][0] for row in listed)
    table = [line.split() for line in cli("trials", path).out.splitlines()]
    assert table[0][:9] == ["trial", "state", "front", "feasible", "width", "lr", "good", "cost", "curve"]
    assert [row[:4] for row in table[1:3]] == [["0", "complete", "*", "yes"], ["1", "complete", "yes", "1"]]
    assert table[8][:3] == ["7", "complete", "no"]
    cells = [*csv.DictReader(io.StringIO(cli("trials", path, "--format", "csv").out))]
    assert [(row["front"], row["feasible"]) for row in cells[5:7]] == [("False", "True"), ("False", "False")]


def test_optuna_sees_the_same_front(study: Path) -> None:
    """Optuna has every value and constraint, and its best trials are the same."""
    kept = optuna.load_study(study_name="study", storage=f"sqlite:///{study}/runs/study/study.db")
    assert [direction.name for direction in kept.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.number for trial in kept.best_trials] == sorted(FRONT)
    assert kept.trials[5].values == pytest.approx([3.8, 24])
    assert kept.trials[5].constraints == {"model/parameters max": -100}


def test_the_fronts_checkpoints_stay(study: Path) -> None:
    """As many as requested are kept, the best in the first metric."""
    found = sorted(path.parent.name[:4] for path in (study / "runs" / "study").glob("*/checkpoint.pt"))
    assert found == ["0002", "0004"]


def test_the_report_draws_the_front(study: Path, cli: Cli, tmp_path: Path) -> None:
    """The page and the picture show metric against metric with a table, and mark trials that break constraints."""
    page = (study / "runs" / "study" / "report.html").read_text()
    data = json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[0])
    charts = {chart["name"]: chart["series"] for chart in data["charts"]}
    assert sorted(number for _, _, number in charts["front"][-1]["data"]) == sorted(FRONT)
    assert [trial["n"] for trial in data["trials"] if trial["feasible"] is False] == BROKEN
    assert data["trials"][5]["values"] == pytest.approx([3.8, 24])
    assert data["metrics"] == [{"name": "good", "maximize": True}, {"name": "cost", "maximize": False}]
    for words in ("The Pareto front", "3 of 8 complete trials", "The best trial in good", "model/parameters at most 500"):
        assert words in page
    assert charts["history"][-1]["data"][-1][1] == pytest.approx(3.9)  # the broken ones are better
    done = cli("report", str(study / "runs" / "study"), "--out", str(tmp_path / "r.html"), "--figures", str(tmp_path))
    assert done.code == 0, done.err
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_trials_columns_begin_with_the_metrics(study: Path) -> None:
    """Then follow the constrained metrics, whether the constraints are kept, and each metric at its best."""
    trials = read_records(StudyFolder(root=study / "runs" / "study"))
    folder = study / "runs" / "study" / trials[7].folder
    described = metadata.parse_experiment_plugin_data(hparams_tags(folder)[metadata.EXPERIMENT_TAG])
    tags = [info.name.tag for info in described.metric_infos]
    assert tags == ["good", "cost", "model/parameters", "front", "feasible", "best/good", "best/cost", "loss"]
    points = scalars(folder)
    assert points["feasible"] == [(1, 0), (2, 0), (3, 0)]
    assert [value for _, value in points["best/cost"]] == pytest.approx([16, 1, 1])
    assert [value for _, value in points["best/good"]] == pytest.approx([value for _, value in points["good"]])
    assert scalars(study / "runs" / "study" / trials[0].folder)["feasible"] == [(1, 1), (2, 1), (3, 1)]


def test_the_tab_sorts_and_filters_by_each_metric(study: Path, cli: Cli) -> None:
    """The columns are in order; an interval of `feasible` excludes trials that break constraints."""
    with served(study / "runs" / "study") as board:
        board.wait_for_rows(8, metrics=8)
        assert board.metrics()[:5] == ["good", "cost", "model/parameters", "front", "feasible"]

        def shown(only: str) -> list[Any]:
            cost = {"metric": {"group": "", "tag": "cost"}, "order": "ORDER_ASC"}
            interval = {"minValue": "1", "maxValue": "1"}
            return board.rows(["STATUS_SUCCESS"], cols=[cost, {"metric": {"group": "", "tag": only}, "filterInterval": interval}])

        values = [{item["name"]["tag"]: item["value"] for item in row["metricValues"]} for row in shown("feasible")]
        assert [row["cost"] for row in values] == pytest.approx([3, 6, 6, 12, 12, 24])
        assert {row["feasible"] for row in values} == {1}
        best = cli("best", str(study / "runs" / "study"), "--format", "json").json
        assert {row["sessions"][0]["name"] for row in shown("front")} == {Path(trial["dir"]).name for trial in best}


def test_the_best_of_each_metric_survives_an_interruption(cli: Cli, here: Path, study: Path) -> None:
    """The worker dies after the report that was the second metric's best."""
    (here / "mine.py").write_text(OBJECTIVE)
    text = STUDY.replace("[1, 2, 4, 8]", "[8]").replace("[0.1, 0.2]", "[0.2]") + "retries: 1\n"
    done = cli("run", str(write_file(here, text.replace("checkpoints:", "  die: {value: true}\ncheckpoints:"))))
    assert done.code == 0, done.err
    assert "resumed after step" in done.out
    calm = scalars(next((study / "runs" / "study").glob("0007*")))
    died = scalars(next((here / "runs" / "study").glob("0000*")))
    assert {tag for tag in calm if calm[tag] != died[tag]} == {"front"}  # which is the study's doing


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "goal: minimize",
            "goal: maximize",
            "metrics: was good (maximize), cost (minimize), is now good (maximize), cost (maximize)",
        ),
        ("max: 500", "max: 600", "constraints: was model/parameters at most 500, is now model/parameters at most 600; earlier"),
        (", {name: cost, goal: minimize}", "", "metrics: was good (maximize), cost (minimize), is now good (maximize)"),
    ],
)
def test_other_metrics_or_constraints_are_another_study(study: Path, cli: Cli, old: str, new: str, line: str) -> None:
    """Old and new trials are not comparable."""
    path = write_file(study, STUDY.replace(old, new), "changed.yaml")
    done = cli("run", str(path), f"output={study / 'runs'}")
    assert done.code == 4
    assert line in done.err


def test_it_is_said_where_constraints_do_not_steer_the_search(study: Path, cli: Cli) -> None:
    """`sweep plan` and `sweep check` say it."""
    path = write_file(study, STUDY.replace("name: study", "name: other") + "budget: {trials: 3}\n", "other.yaml")
    note = "(random ignores constraints: they only decide which trials are the best)"
    found = {method: note in cli("plan", str(path), f"method={method}").out for method in ("grid", "tpe", "random")}
    assert found == {"grid": False, "tpe": False, "random": True}
    assert note in cli("check", str(path), "method=random").out


def _train(trial: sweep.Trial) -> dict[str, float]:
    x = trial.params["x"]
    return {"a": x, "b": x * x, "c": x}


def run(**changed: Any) -> sweep.StudyResult:
    keys = {"method": "grid", "parameters": {"x": {"values": [-1, 0, 1, 2]}}, "budget": {}} | changed
    return sweep.run(given(**keys), _train, inline=True, quiet=True)


def test_python_gets_the_front(here: Path) -> None:
    """`best` is the first trial of the front."""
    result = run(constraints={"c": {"max": 1}})
    assert [trial.number for trial in result.front] == [2, 1]
    assert result.best == result.front[0]
    assert "one of 2 in the Pareto front" in repr(result)


def test_when_no_trial_keeps_the_constraints_there_is_no_best(cli: Cli, here: Path) -> None:
    """The output says so, the report is written, and no trial is called best."""
    result = run(constraints={"c": {"max": -9}})
    assert (result.best, result.front) == (None, ())
    assert "No trial keeps the constraints yet" in (result.dir / "report.html").read_text()
    assert "none of the 4 complete trials of study satisfies the constraints: c at most -9" in cli("best", str(result.dir)).out
    status = cli("status", str(result.dir), "--json").json
    assert (status["best"], status["front"]) == (None, [])


def test_a_metric_or_constraint_that_is_never_reported_stops_the_sweep(here: Path) -> None:
    """The message names all missing metrics and the reported ones."""
    with pytest.raises(SweepError) as caught:
        run(metrics=[*BASE["metrics"], {"name": "d", "goal": "minimize"}], constraints={"e": {"max": 1}})
    said = str(caught.value)
    assert "trial 0 ended without the metrics 'd' and 'e'" in said
    assert "it reported: a, b, c" in said
    assert "name some of those in metrics and constraints" in said


def test_one_metric_keeps_its_words(cli: Cli, here: Path) -> None:
    """A study with one metric and no constraints has no column, key or curve for several metrics or constraints."""
    result = run(**ONE)
    first, *_ = cli("trials", str(result.dir), "--format", "json").json
    status = cli("status", str(result.dir), "--json").json
    assert not {"values", "front", "feasible"} & {*first, *status}
    assert set(scalars(result.dir / first["dir"])) == {"a", "best/a", "b", "c"}


def test_a_trial_that_is_beaten_leaves_the_front_in_tensorboard_too(here: Path) -> None:
    """Its last mark is 0; an incomplete record of a killed runner is removed first."""
    (here / "mine.py").write_text(OBJECTIVE)
    spec = read_study(write_file(here, STUDY.replace("constraints: {model/parameters: {max: 500}}\n", "")))
    folder = StudyFolder(root=here / "runs")

    def ended(number: int, good: float, cost: float) -> TrialRecord:
        run = folder.root / f"000{number}"
        run.mkdir(parents=True)
        (run / "events.out.tfevents.1").write_bytes(b"")
        append_front(run, inside=False, step=0)
        return trial_record(number, metrics={"good": good, "cost": cost})

    def marks() -> dict[str, float]:
        return {run.name: scalars(run)["front"][-1][1] for run in sorted(folder.root.iterdir())}

    first, second, third = ended(0, 1.0, 5.0), ended(1, 2.0, 6.0), ended(2, 3.0, 5.0)
    found = FrontColumn(spec, folder, ())
    found.ended(first)
    found.ended(second)
    assert marks() == {"0000": 1, "0001": 1, "0002": 0}
    found.ended(third)
    assert marks() == {"0000": 0, "0001": 0, "0002": 1}
    with (folder.root / "0002" / "events.out.tfevents.1").open("ab") as file:
        file.write(b"half a rec")
    FrontColumn(spec, folder, (first, second, third))
    assert marks() == {"0000": 0, "0001": 0, "0002": 1}
