"""The HPARAMS tab: what is in the event files, and what TensorBoard itself answers, under both of its loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from sweep.cli.dashboard import tensorboard
from sweep.study.space import Choice, Constant, Domain, Range
from sweep.study.trial import Scalar
from sweep.tensorboard import event_files, hparams
from sweep.tensorboard.run_writer import RunWriter
from sweep.tensorboard.writer import TrialWriter
from tests.conftest import Cli
from tests.support.command_line import Running
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags, records, scalars
from tests.support.studies import run_study, write_objectives, write_study
from tests.support.tensorboards import served
from tests.support.waiting import wait_until_gone

SPACE: dict[str, Domain] = {
    "lr": Choice(values=(0.01, 0.001)),
    "shuffle": Choice(values=(True, False)),
    "size": Choice(values=tuple(range(12))),
    "mixed": Choice(values=(1, "auto", None)),
    "width": Range(low=1, high=64, log=True),
    "epochs": Constant(value=5),
    "name": Constant(value="x"),
}


def record(summary: Any, kind: str) -> Any:
    content = summary.value[0].metadata.plugin_data.content
    return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), kind)


def test_the_experiment_describes_every_column() -> None:
    """Types, domains and which parameters are swept; ten or more numbers become an interval, mixed types text."""
    found = record(hparams.experiment(SPACE, ["acc", "loss", "acc"]), "experiment")
    assert [info.name.tag for info in found.metric_infos] == ["acc", "loss"]
    infos = {info.name: info for info in found.hparam_infos}
    assert list(infos) == list(SPACE)
    assert {name for name, info in infos.items() if info.differs} == {"lr", "shuffle", "size", "mixed", "width"}
    float64, string, boolean = api_pb2.DATA_TYPE_FLOAT64, api_pb2.DATA_TYPE_STRING, api_pb2.DATA_TYPE_BOOL
    assert {name: info.type for name, info in infos.items()} == {
        "lr": float64, "shuffle": boolean, "size": float64, "mixed": string, "width": float64, "epochs": float64, "name": string,
    }  # fmt: skip
    assert list(infos["lr"].domain_discrete) == [0.01, 0.001]
    assert list(infos["shuffle"].domain_discrete) == [False, True]
    assert list(infos["mixed"].domain_discrete) == ["1", "auto", "None"]
    assert (infos["size"].domain_interval.min_value, infos["size"].domain_interval.max_value) == (0, 11)
    assert (infos["width"].domain_interval.min_value, infos["width"].domain_interval.max_value) == (1, 64)


def test_a_sessions_values_have_their_columns_types() -> None:
    """A boolean is a boolean, a number a number, and a value of a mixed column text."""
    start_info = record(hparams.session_start({"lr": 0.01, "shuffle": True, "mixed": 1, "width": 3}, SPACE), "session_start_info")
    values = {name: value.WhichOneof("kind") for name, value in start_info.hparams.items()}
    assert values == {"lr": "number_value", "shuffle": "bool_value", "mixed": "string_value", "width": "number_value"}


def test_add_hparams_in_a_trial_keeps_one_run_and_one_file(tmp_path: Path) -> None:
    """The tutorials' call adds its metrics to the run; a curve is continued, not erased."""
    writer = RunWriter(tmp_path)
    writer.start_session({"lr": 0.01}, SPACE)
    for step in (1, 2):
        writer.add_scalar("acc", step / 10, step)
    TrialWriter(writer).add_hparams({"lr": 0.01, "bsize": 3}, {"acc": 0.2, "hparam/loss": np.float32(0.5)})
    writer.end_session(success=True)
    writer.close()
    assert len(list(tmp_path.iterdir())) == 1
    found = scalars(tmp_path)
    assert [step for step, _ in found["acc"]][:2] == [1, 2]
    assert [round(value, 6) for _, value in found["acc"]][-1] == 0.2
    assert found["hparam/loss"] == [(0, 0.5)]


def test_add_hparams_alone_writes_a_whole_session(tmp_path: Path) -> None:
    """Outside a study the writer takes NumPy and torch scalars, lists and None, and needs no second run."""
    run = RunWriter(tmp_path)
    TrialWriter(run).add_hparams(
        {"lr": np.float64(0.1), "shuffle": True, "layers": [1, 2], "nothing": None, "t": torch.tensor(3)},
        {"acc": 0.9},
        hparam_domain_discrete={"shuffle": [True, False]},
    )
    run.close()
    assert len(list(tmp_path.iterdir())) == 1
    tags = hparams_tags(tmp_path)
    assert set(tags) == {metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    started = metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in started.hparams.items()}
    assert values == {"lr": 0.1, "shuffle": True, "layers": "[1, 2]", "nothing": "None", "t": 3}
    ended = metadata.parse_session_end_info_plugin_data(tags[metadata.SESSION_END_INFO_TAG])
    assert ended.status == api_pb2.STATUS_SUCCESS


def test_logging_never_kills_a_trial(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A call that fails is printed once, in the log, and the next one works."""
    run = RunWriter(tmp_path)
    writer = TrialWriter(run)
    for _ in range(2):
        writer.add_scalar("a", "no number", 1)
        writer.add_image("b", object())
    run.add_scalar("a", "no number", 1)
    writer.add_scalar("a", 1.0, 2)
    run.close()
    said = capfd.readouterr().err
    assert said.count("writer.add_scalar failed; the trial continues without it") == 1
    assert said.count("writer.add_image failed; the trial continues without it") == 1
    assert scalars(tmp_path) == {"a": [(2, 1.0)]}


def test_an_objective_that_closes_the_file_itself_goes_on_writing(tmp_path: Path) -> None:
    """Through torch's own objects, in which the file may also be opened again; it is one file, and the run closes it."""
    run = RunWriter(tmp_path)
    writer = TrialWriter(run)
    writer.add_scalar("a", 1.0, 1)
    for file in writer.all_writers.values():
        file.close()
    writer.add_scalar("a", 2.0, 2)
    writer.file_writer.reopen()
    writer.add_scalar("a", 3.0, 3)
    writer.close()
    writer.add_scalar("a", 4.0, 4)
    run.close()
    assert scalars(tmp_path) == {"a": [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]}
    assert run.events._file is None


def test_a_dead_trials_row_is_ended_by_the_runner(tmp_path: Path) -> None:
    """One more event file in the run folder holds the status, and nothing else."""
    writer = RunWriter(tmp_path)
    writer.start_session({"lr": 0.01}, SPACE)
    writer.close()
    hparams.append_end(tmp_path, {}, success=False)
    ended = metadata.parse_session_end_info_plugin_data(hparams_tags(tmp_path)[metadata.SESSION_END_INFO_TAG])
    assert ended.status == api_pb2.STATUS_FAILURE
    assert len(list(tmp_path.iterdir())) == 2


def test_a_trial_that_died_before_its_row_appeared_has_one(tmp_path: Path) -> None:
    """With the parameters that are known of it: a function that suggests its own may die early."""
    hparams.append_end(tmp_path / "0000", {"lr": 0.01}, success=False)
    tags = hparams_tags(tmp_path / "0000")
    started = metadata.parse_session_start_info_plugin_data(tags[metadata.SESSION_START_INFO_TAG])
    assert started.hparams["lr"].number_value == 0.01
    assert metadata.SESSION_END_INFO_TAG in tags


def test_a_parameter_that_was_asked_for_late_is_in_a_dead_trials_row(tmp_path: Path) -> None:
    """The row appears at the first report; a function that suggests its own may ask for more after it."""
    writer = RunWriter(tmp_path)
    writer.start_session({"lr": 0.01}, SPACE)
    writer.add_scalar("acc", 0.5, 1)
    writer.close()
    hparams.append_end(tmp_path, {"lr": 0.01, "late": 3, "kind": "adam"}, success=False)
    started = metadata.parse_session_start_info_plugin_data(hparams_tags(tmp_path)[metadata.SESSION_START_INFO_TAG])
    assert {name: value.WhichOneof("kind") for name, value in started.hparams.items()} == {
        "lr": "number_value",
        "late": "number_value",
        "kind": "string_value",
    }
    assert scalars(tmp_path) == {"acc": [(1, 0.5)]}


# ---------------------------------------------------------------- the tab itself


def test_a_status_written_just_before_death_does_not_count(tmp_path: Path) -> None:
    """The process wrote the status and died before the runner knew: the row gets the status that the study has."""
    writer = RunWriter(tmp_path)
    writer.describe(SPACE, ["acc"])
    writer.start_session({"lr": 0.01}, SPACE)
    writer.add_scalar("acc", 0.5, 1)
    writer.end_session(success=True)
    writer.close()
    hparams.append_end(tmp_path, {}, success=False)
    ends = [
        plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content).session_end_info.status
        for path in sorted(tmp_path.glob("events*"))
        for value in values(path)
        if value.tag == metadata.SESSION_END_INFO_TAG
    ]
    assert ends == [api_pb2.STATUS_FAILURE]
    assert scalars(tmp_path) == {"acc": [(1, 0.5)]}


def values(path: Path) -> list[Any]:
    """Return every value of every record of an event file."""
    with path.open("rb") as file:
        found = []
        for start, length in list(event_files.records(file)):
            file.seek(start)
            found += list(Event.FromString(file.read(length)).summary.value)
    return found


def test_a_column_that_gets_another_type_does_so_in_every_row(tmp_path: Path) -> None:
    """Numbers that are joined by a null become strings, as in the new rows; nothing else changes."""
    before, after = {"x": Choice(values=(0.1, 2))}, {"x": Choice(values=(0.1, 2, None))}
    writer = RunWriter(tmp_path)
    writer.describe(before, ["acc"])
    writer.start_session({"x": 0.1}, before)
    for step in (1, 2):
        writer.add_scalar("acc", step, step)
    writer.close()
    [path] = tmp_path.glob("events*")
    tags = [value.tag for value in values(path)]
    hparams.renew(tmp_path, {"x": 0.1}, after)
    assert [value.tag for value in values(path)] == tags
    assert scalars(tmp_path) == {"acc": [(1, 1), (2, 2)]}
    kept = hparams_tags(tmp_path)
    [info] = metadata.parse_experiment_plugin_data(kept[metadata.EXPERIMENT_TAG]).hparam_infos
    assert [item.string_value for item in info.domain_discrete.values] == ["0.1", "2", "None"]
    start = metadata.parse_session_start_info_plugin_data(kept[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["x"].string_value == "0.1"
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


STUDY = """
name: tab
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x:       {values: [1, 2]}
  shuffle: {values: [true, false]}
  how:     {values: [ok, raise]}
  steps:   {value: 2}
workers: {per_device: 1}
"""


@pytest.fixture
def objectives(here: Path) -> Path:
    write_objectives(here)
    return here


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    write_objectives(folder)
    return run_study(STUDY, folder=folder, code=1).folder


@pytest.mark.parametrize("fast", ["true", "false"])
def test_tensorboard_shows_the_study_as_it_is(finished: Path, fast: str) -> None:
    """A row a trial with true booleans, true statuses, the last metric, and filters that work, under both loaders."""
    with served(finished, fast) as board:
        found = board.wait_for_rows(8)
        assert board.metrics()[0] == "score"
        infos = board.hparams()
        assert list(infos)[-1] == "steps"  # swept ones first
        assert infos["shuffle"]["type"] == "DATA_TYPE_BOOL"
        assert infos["shuffle"]["domainDiscrete"] == [False, True]
        assert infos["x"]["domainDiscrete"] == [1.0, 2.0]
        values = {
            (row["hparams"]["x"], row["hparams"]["shuffle"], row["hparams"]["how"]): row["metricValues"][0]["value"]
            for row in found
        }
        assert values == {
            (x, s, how): x / (2 if how == "ok" else 1) for x in (1, 2) for s in (True, False) for how in ("ok", "raise")
        }
        assert {row["hparams"]["how"] for row in board.rows(["STATUS_FAILURE"])} == {"raise"}
        assert {row["hparams"]["how"] for row in board.rows(["STATUS_SUCCESS"])} == {"ok"}
        assert not board.rows(["STATUS_UNKNOWN", "STATUS_RUNNING"])
        assert len(board.rows(shuffle={"filterDiscrete": [True]})) == 4
        assert len(board.rows(x={"filterDiscrete": [2.0]}, how={"filterDiscrete": ["ok"]})) == 2


@pytest.mark.slow
@pytest.mark.parametrize("fast", ["true", "false"])
def test_the_tab_is_right_after_a_study_was_extended(objectives: Path, cli: Cli, fast: str) -> None:
    """Values added, a constant changed, one added, while a trial waits half-way: every trial has the same whole description."""
    text = STUDY.replace("mine:train", "mine:learn").replace("[ok, raise]", "[ok]")
    slow = write_study(objectives, text.replace("steps:   {value: 2}", "steps: {value: 30}\n  sleep: {value: 0.1}"))
    folder = objectives / "runs" / "tab"
    interrupt("run", str(slow), "budget.trials=1", here=objectives, when=reached(folder, 3))
    before = hparams_tags(next(folder.glob("0000*")))
    extended = text.replace("x:       {values: [1, 2]}", "x:       {values: [3, 1, 2]}").replace(
        "steps:   {value: 2}", "steps: {value: 4}\n  sleep: {value: 0}\n  extra: {value: new}"
    )
    done = cli("run", str(write_study(objectives, extended)))
    assert done.code == 0, done.err
    assert "trial 0 resumed after step" in done.out
    assert [record.params["x"] for record in records(folder)] == [1, 1, 2, 2, 3, 3]
    assert [step for step, _ in scalars(folder / records(folder)[0].folder)["score"]] == list(range(1, 31))

    described = {hparams_tags(folder / record.folder)[metadata.EXPERIMENT_TAG] for record in records(folder)}
    assert len(described) == 1
    assert described != {before[metadata.EXPERIMENT_TAG]}
    with served(folder, fast) as board:
        board.wait_for_rows(6, metrics=0)
        infos = board.hparams()
        assert infos["x"]["domainDiscrete"] == [3.0, 1.0, 2.0]
        assert infos["steps"]["domainDiscrete"] == [30.0, 4.0]
        assert infos["extra"]["domainDiscrete"] == ["new"]
        assert len(board.rows(x={"filterDiscrete": [3.0]})) == 2
        assert len(board.rows(steps={"filterDiscrete": [30.0]})) == 1


def test_a_row_is_there_while_its_trial_runs(objectives: Path) -> None:
    """From the trial's start, and its metric follows the reports."""
    path = write_study(objectives, STUDY.replace("ok, raise", "hang").replace("[1, 2]", "[1]").replace("[true, false]", "[true]"))
    folder = objectives / "runs" / "tab"
    with Running("run", str(path), here=objectives) as running:
        running.wait_until(lambda: list(folder.glob("0000*/events*")))
        with served(folder) as board:
            [row] = board.wait_for_rows(1)
        assert row["metricValues"][0]["value"] == 1.0
        assert row["sessions"][0].get("status", "STATUS_UNKNOWN") == "STATUS_UNKNOWN"


@pytest.mark.slow
def test_an_objective_that_only_returns_has_a_whole_row_in_one_file(objectives: Path, cli: Cli) -> None:
    """With its columns, though it reports nothing on the way and closes the writer as tutorials do."""
    study = write_study(objectives, STUDY.replace("mine:train", "mine:closes"))
    assert cli("run", str(study), "x.values=[1]", "shuffle.value=true", "how.value=ok").code == 0
    [folder] = (objectives / "runs" / "tab").glob("0000*")
    assert len(list(folder.glob("events*"))) == 1
    described = metadata.parse_experiment_plugin_data(hparams_tags(folder)[metadata.EXPERIMENT_TAG])
    assert [info.name.tag for info in described.metric_infos] == ["score", "best/score", "other"]
    assert metadata.SESSION_END_INFO_TAG in hparams_tags(folder)
    assert scalars(folder)["score"] == [(0, 0.5)]


@pytest.mark.parametrize("fast", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_parameter_that_a_trial_does_not_have_is_empty_in_its_row(tmp_path: Path, fast: str) -> None:
    """As a conditional one: the column and its filter are there, and leave the trial out when missing values are."""
    space: dict[str, Domain] = {"optimizer": Choice(values=("sgd", "adam")), "momentum": Range(low=0.0, high=1.0)}
    trials: dict[str, dict[str, Scalar]] = {"0000": {"optimizer": "sgd", "momentum": 0.9}, "0001": {"optimizer": "adam"}}
    for name, params in trials.items():
        writer = RunWriter(tmp_path / name)
        writer.describe(space, ["score"])
        writer.start_session(params, space)
        writer.add_scalar("score", 1.0, 1)
        writer.end_session(success=True)
        writer.close()
    with served(tmp_path, fast) as board:
        rows = board.wait_for_rows(2, metrics=0)
        assert board.hparams()["momentum"]["domainInterval"] == {"minValue": 0.0, "maxValue": 1.0}
        assert sorted((row["hparams"].get("momentum") for row in rows), key=str) == [0.9, None]
        interval = {"filterInterval": {"minValue": "0.5", "maxValue": "1.0"}, "excludeMissingValues": True}
        assert [row["hparams"]["optimizer"] for row in board.rows(momentum=interval)] == ["sgd"]
        assert [row["hparams"]["optimizer"] for row in board.rows(optimizer={"filterRegexp": "adam"})] == ["adam"]


def test_two_dashboards_take_two_ports(tmp_path: Path) -> None:
    """The second one finds a free port instead of failing."""
    with (
        tensorboard(tmp_path, host="127.0.0.1", port=6006) as (one, _),
        tensorboard(tmp_path, host="127.0.0.1", port=6006) as (two, _),
    ):
        assert one != two


def test_tensorboard_ends_with_its_dashboard(objectives: Path) -> None:
    """Even when that is killed with -9."""
    (objectives / "runs" / "tab").mkdir(parents=True)
    with Running("dashboard", str(write_study(objectives, STUDY)), here=objectives) as running:
        running.line("#hparams")
        _, *children = running.processes()
    assert any("tensorboard.main" in " ".join(child.cmdline()) for child in children)
    wait_until_gone(children, seconds=10)
