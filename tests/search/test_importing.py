"""Imported trials: which trials of other studies are imported, what samplers and pruners learn from them, and what is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.errors import SweepError
from sweep.search.imported import ImportedTrial, add_imported, count_imported, read_imported
from sweep.search.importing import Source, import_trials, source_of_optunas, source_of_ours
from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import read_study
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.searching import Trained, searched_by_optuna, session
from tests.support.studies import write_study

STUDY = """
name: NAME
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: tpe
sampler: {n_startup_trials: 4}
parameters:
  x: {min: -5.0, max: 10.0}
  n: {min: 1, max: 4}
  steps: {value: 3}
budget: {trials: 40}
seed: 7
"""
STEPS = 6


def spec(here: Path, name: str, more: str = "", **replaced: str) -> StudySpec:
    text = STUDY.replace("NAME", name) + more
    for old, new in replaced.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{old}:"))
        text = text.replace(line, new)
    return read_study(write_study(here, text, f"{name}.yaml"))


def folder_of(study: StudySpec) -> StudyFolder:
    return StudyFolder(root=Path(study.output).absolute() / study.name)


def curve(params: dict[str, Any], _number: int) -> list[dict[str, float]]:
    return [{"loss": (params["x"] - 1) ** 2 + params["n"] / 10 + 5 / step} for step in range(1, STEPS + 1)]


def trained(study: StudySpec, count: int) -> list[Trained]:
    """Run trials into a study's folder; return the parameters and the last step of each."""
    folder = folder_of(study)
    return session(study, curve, count, folder, imported=read_imported(folder, study))


def plain(study: StudySpec, source: StudySpec, count: int) -> list[Trained]:
    """Do the same with Optuna alone: add the source's trials as its own storage has them, then ask, report and tell."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder_of(source).database}")
    known = optuna.load_study(study_name=None, storage=storage).trials
    storage.engine.dispose()
    return searched_by_optuna(study, curve, count, known=known)


def imported(study: StudySpec, source: StudySpec) -> None:
    import_trials(study, folder_of(study), source_of_ours(study, source, folder_of(source), folder_of(study)))


CASES = {
    "tpe": "",
    "median": "pruner: {type: median, n_startup_trials: 2}\n",
    "hyperband": "pruner: {type: hyperband, max_resource: 6, reduction_factor: 2}\n",
    "asha": "pruner: {type: asha, reduction_factor: 2}\n",
    "doubles": "",  # a small space, in which the sampler repeats itself
}


def pair(here: Path, case: str) -> tuple[StudySpec, StudySpec]:
    small = {"x": f"  x: {{values: {[place / 2 for place in range(-8, 12)]}}}"} if case == "doubles" else {}
    source = spec(here, "source", "pruner: {type: median, n_startup_trials: 3}\n", seed="seed: 1", **small)
    assert {step < STEPS for _, step in trained(source, 12)} == {True, False}
    return source, spec(here, "study", CASES[case], **small)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_what_follows_an_import_is_what_optuna_does_with_the_same_trials(here: Path, case: str) -> None:
    """Proposals and verdicts, from the first trial on, as after `study.add_trial` of complete and pruned ones."""
    source, study = pair(here, case)
    count = 4 if case == "doubles" else 14  # after twenty doubles in a row ours draws by chance
    expected = plain(study, source, count)
    imported(study, source)
    assert trained(study, count) == expected
    alone = trained(replace(study, name="alone"), count)
    assert [params for params, _ in alone] != [params for params, _ in expected]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_study_keeps_its_imported_trials(here: Path, case: str) -> None:
    """Everything is read from the folder again after every third trial."""
    source, study = pair(here, case)
    imported(study, source)
    whole = replace(study, name="whole")
    imported(whole, source)
    expected = trained(whole, 12)
    if case != "hyperband":  # whose brackets go by the study's name
        assert [found for _ in range(4) for found in trained(study, 3)] == expected


@pytest.mark.filterwarnings("ignore")
def test_a_grid_with_a_pruner_learns_too(here: Path) -> None:
    """Its first trial is compared with the imported ones."""
    source, _ = pair(here, "tpe")
    more = "pruner: {type: median, n_startup_trials: 2}\n"
    study = spec(here, "grid", more, method="method: grid", sampler="", x="  x: {values: [9.0, 1.0]}", budget="")
    taken, _ = import_trials(study, folder_of(study), Source(name="s", trials=_loose(source)))
    assert taken
    (first, step), *_ = trained(study, 1)
    assert first == {"x": 9.0, "n": 1, "steps": 3}
    assert step < STEPS


def _loose(source: StudySpec) -> list[Any]:
    """The source's trials as if they had been at the two points of a grid."""
    into = StudyFolder(root=Path("elsewhere"))
    found = source_of_ours(source, source, folder_of(source), into).trials
    return [replace(trial, params={"x": 1.0, "n": 1}) for trial in found]


@pytest.mark.slow
def test_imported_trials_are_not_trials_of_the_study(cli: Cli, here: Path) -> None:
    """Not in counts, best or budget; the first line of a session and the status show how many there are."""
    source = spec(here, "source")
    trained(source, 6)
    study = spec(here, "study", budget="budget: {trials: 3}")
    done = cli("import", "study.yaml", "source.yaml")
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        f"taken     6 trials of {here}/runs/source (6 complete)",
        "study starts with 6 imported trials",
    ]
    assert "6 imported trials" in cli("status", "study.yaml").out
    done = cli("run", "study.yaml")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].endswith("study study: 6 imported trials")
    status = cli("status", "study.yaml", "--json").json
    assert status["counts"]["complete"] == status["total"] == 3
    assert status["prior"] == 6
    assert len(cli("trials", "study.yaml", "--format", "json").json) == 3
    assert len(cli("best", "study.yaml", "--format", "json").json) == 3
    done = cli("import", "study.yaml", "source.yaml")
    assert (done.code, "[import-too-late]" in done.err) == (2, True)
    assert count_imported(folder_of(study)) == 6


def test_a_source_is_replaced_and_another_one_added(here: Path) -> None:
    """Importing the same again changes nothing."""
    one, other, study = spec(here, "one"), spec(here, "other", seed="seed: 2"), spec(here, "study")
    trained(one, 3)
    trained(other, 4)
    for source, expected in ((one, 3), (one, 3), (other, 7), (one, 7)):
        imported(study, source)
        assert count_imported(folder_of(study)) == expected
    trained(one, 2)
    imported(study, one)
    assert count_imported(folder_of(study)) == 9


def storage(here: Path, name: str = "one", direction: Any = "minimize", file: str = "other.db") -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name=name, storage=f"sqlite:///{here / file}", direction=direction)


def closed(study: optuna.Study) -> None:
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]  # or it stays open until it is collected


SPACE = """
parameters:
  epochs:    {value: 5}
  lr:        {min: 1.0e-4, max: 1.0, log: true}
  dropout:   {min: 0.0, max: 0.5, step: 0.1}
  optimizer: {values: [adam, sgd]}
  momentum:  {min: 0.0, max: 1.0, when: {optimizer: sgd}}
  nesterov:  {values: [true, false], when: {epochs: 5}}
"""


def wide(here: Path) -> StudySpec:
    text = STUDY.replace("NAME", "wide").partition("parameters:")[0] + SPACE
    return read_study(write_study(here, text + "budget: {trials: 5}\n", "wide.yaml"))


def test_the_trials_of_an_optuna_study_that_fit_are_imported(cli: Cli, here: Path) -> None:
    """Unused parameters and constants are ignored; an int is taken for a float, 0.1 * 3 for 0.3."""
    theirs, trial = storage(here), optuna.trial.create_trial
    base = {"lr": 0.1, "dropout": 0.1 * 3, "optimizer": "adam", "nesterov": True, "width": 8}
    floats = optuna.distributions.FloatDistribution(0.0, 10.0)
    choice = optuna.distributions.CategoricalDistribution
    kinds: dict[str, Any] = {"optimizer": choice(["adam", "sgd", "lion"]), "nesterov": choice([True, False])}

    def add(state: str = "COMPLETE", value: float | None = 0.5, curve: dict[int, float] | None = None, **changed: Any) -> None:
        params = {name: value for name, value in (base | changed).items() if value is not None}
        spaces: dict[str, Any] = {name: kinds.get(name, floats) for name in params}
        spaces |= {"lr": choice([1, 0.1, 7])}
        made = trial(
            state=optuna.trial.TrialState[state],
            value=value,
            params=params,
            distributions=spaces,
            intermediate_values=curve or {},
        )
        theirs.add_trial(made)

    add()
    add(lr=1)
    add(optimizer="sgd", momentum=0.5)
    add("PRUNED", 0.7, {0: 0.9, 1: 0.7})
    add("PRUNED", None, {})
    add("FAIL", None)
    add("RUNNING", None)
    add(optimizer="sgd")
    add(optimizer="lion")
    add(lr=7)
    add(lr=7)
    add(dropout=0.25)
    add(value=float("inf"))
    closed(theirs)
    study = wide(here)
    done = cli("import", "wide.yaml", "sqlite:///other.db")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"taken     5 trials of {here}/other.db#one (3 complete, 2 pruned)"
    assert set(done.out.splitlines()[1:-1]) == {
        "left out  2 trials: lr is not in {min: 0.0001, max: 1.0, log: True}",
        "left out  1 trials: failed",
        "left out  1 trials: not finished",
        "left out  1 trials: momentum is missing",
        "left out  1 trials: optimizer is not in {values: ['adam', 'sgd']}",
        "left out  1 trials: dropout is not in {min: 0.0, max: 0.5, step: 0.1}",
        "left out  1 trials: without a finite value",
    }
    found = read_imported(folder_of(study), study)
    assert [trial.params["lr"] for trial in found] == [0.1, 1.0, 0.1, 0.1, 0.1]
    assert type(found[1].params["lr"]) is float
    assert found[2].params == {"lr": 0.1, "dropout": 0.1 * 3, "optimizer": "sgd", "momentum": 0.5, "nesterov": True}
    assert found[3] == ImportedTrial(state=TrialState.PRUNED, params=found[0].params, value=0.7, curve=((0, 0.9), (1, 0.7)))
    assert Planner(study, imported=found).ask() is not None


@pytest.mark.slow
def test_of_several_optuna_studies_one_is_named(cli: Cli, here: Path) -> None:
    """By a bare path too; without the name the studies are listed."""
    for name in ("one", "two"):
        theirs = storage(here, name)
        theirs.enqueue_trial({"x": 1.5, "n": 2})
        theirs.optimize(lambda trial: trial.suggest_float("x", 0, 9) + trial.suggest_int("n", 1, 4), n_trials=2)
        closed(theirs)
    study = spec(here, "study")
    done = cli("import", "study.yaml", "other.db")
    assert done.code == 2
    assert "[import-which-study]" in done.err
    assert "one, two" in done.err
    done = cli("import", "study.yaml", "other.db", "--study", "two")
    assert done.code == 0, done.err
    assert read_imported(folder_of(study), study)[0] == ImportedTrial(
        state=TrialState.COMPLETE, params={"x": 1.5, "n": 2}, value=3.5
    )


def _optuna_file(here: Path, study: StudySpec) -> Source:
    return source_of_optunas(study, str(here / "other.db"), None)


def _other_direction(here: Path, study: StudySpec) -> None:
    closed(storage(here, direction="maximize"))
    _optuna_file(here, study)


def _two_objectives(here: Path, study: StudySpec) -> None:
    theirs = optuna.create_study(storage=f"sqlite:///{here}/other.db", directions=["minimize", "minimize"])
    closed(theirs)
    _optuna_file(here, study)


def _no_storage(here: Path, study: StudySpec) -> None:
    sqlite3.connect(here / "other.db").execute("CREATE TABLE mine (x)").connection.close()
    _optuna_file(here, study)


def _empty_storage(here: Path, study: StudySpec) -> None:
    closed(storage(here))
    optuna.delete_study(study_name="one", storage=f"sqlite:///{here}/other.db")
    _optuna_file(here, study)


def _nothing_fits(here: Path, study: StudySpec) -> None:
    theirs = storage(here)
    theirs.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=2)
    closed(theirs)
    import_trials(study, folder_of(study), _optuna_file(here, study))


def _into(**replaced: str) -> Callable[[Path, StudySpec], None]:
    def into(here: Path, study: StudySpec) -> None:
        other = spec(here, "other")
        trained(other, 2)
        imported(spec(here, "study", **replaced), other)

    return into


def _in_the_way(here: Path, study: StudySpec) -> None:
    folder_of(study).root.mkdir(parents=True)
    (folder_of(study).root / "holiday.jpg").touch()
    _into()(here, study)


def _damaged(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    text = folder_of(study).imported_trials.read_text()
    folder_of(study).imported_trials.write_text(text.replace('"complete"', '"waiting"'))
    read_imported(folder_of(study), study)


def _newer(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    folder_of(study).imported_trials.write_text('{"version": 2}')
    read_imported(folder_of(study), study)


def _narrowed(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    read_imported(folder_of(study), spec(here, "study", x="  x: {min: 20.0, max: 30.0}"))


def _turned(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    read_imported(folder_of(study), spec(here, "study", metric="metric: {name: loss, goal: maximize}"))


def _constrained(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    read_imported(folder_of(study), spec(here, "study", seed="constraints: {size: {max: 3}}"))


def _changed(here: Path, study: StudySpec) -> None:
    _into()(here, study)
    trained(study, 1)
    add_imported(folder_of(study), study, "more", read_imported(folder_of(study), study))
    trained(study, 1)


@pytest.mark.parametrize(
    ("what", "id", "words"),
    [
        (_other_direction, "import-other-metric", "is to maximize, this one to minimize"),
        (_two_objectives, "import-other-metric", "minimize and minimize"),
        (_no_storage, "import-not-readable", "other.db cannot be read as a storage of Optuna's"),
        (_empty_storage, "import-which-study", "contains 0 studies"),
        (_nothing_fits, "import-nothing-fits", "2 times: x is missing"),
        (lambda _, study: source_of_optunas(study, "mysql://host/db", None), "import-not-sqlite", "not mysql"),
        (lambda _, study: source_of_optunas(study, "sqlite:///no.db", None), "import-not-found", "there is no file"),
        (lambda _, study: imported(study, study), "import-itself", "is the study itself"),
        (_into(seed="constraints: {size: {max: 3}}"), "import-one-metric", "takes no trials of other studies"),
        (_constrained, "prior-does-not-fit", "2 times: the study has several metrics or constraints"),
        (_into(metric="metric: {name: score, goal: minimize}"), "import-other-metric", "this study to minimize score"),
        (_into(method="method: random", sampler=""), "import-in-vain", "method random learns nothing"),
        (_into(method="method: grid", sampler="", x="  x: {value: 1.0}"), "import-in-vain", "(tpe, gp), or a pruner"),
        (_in_the_way, "not-a-study", "is in the way"),
        (_damaged, "prior-not-readable", "a trial is waiting"),
        (_newer, "prior-not-readable", "it is of version 2"),
        (_narrowed, "prior-does-not-fit", "2 times: x is not in {min: 20.0, max: 30.0}"),
        (_turned, "prior-does-not-fit", "2 times: the metric was minimize loss"),
        (_changed, "prior-changed", "with 2 imported trials, and its prior.json now has 4"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_learned_from_is_refused(here: Path, what: Any, id: str, words: str) -> None:  # noqa: A002  # as in SweepError
    """With what, where, why, and what to type; nothing is written."""
    study = spec(here, "study")
    with pytest.raises(SweepError) as error:
        what(here, study)
    assert error.value.id == id
    assert words in str(error.value)
    if id.startswith("import"):
        assert not folder_of(study).root.exists()


def test_a_study_of_ours_has_no_name_to_choose(cli: Cli, here: Path) -> None:
    """`--study` is for storages."""
    source = spec(here, "source")
    trained(source, 1)
    spec(here, "study")
    done = cli("import", "study.yaml", "source.yaml", "--study", "source")
    assert (done.code, "[import-no-storage]" in done.err) == (2, True)
