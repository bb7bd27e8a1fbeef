"""What one run logs, read back from its event files: columns, scalars, best values, feasibility, the row's status."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams import api_pb2, metadata

from sweep.study.metric import ConstraintSpec, MetricSpec
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch
from sweep.study.trial import Position, TrialSpec
from sweep.tensorboard.trial_log import TrialLog
from tests.support.reading import hparams_tags, points, scalars
from tests.support.studies import study_spec

LOSS, SCORE = MetricSpec(name="loss", goal="minimize"), MetricSpec(name="score", goal="maximize")
SIZE = ConstraintSpec(metric="size", high=10)


def study(*metrics: MetricSpec, constraints: tuple[ConstraintSpec, ...] = (), repeats: int = 1) -> StudySpec:
    spec = study_spec({"lr": [0.1, 0.2], "epochs": 3}, repeats=repeats)
    return replace(spec, metrics=metrics or (LOSS,), constraints=constraints)


def new_log(folder: Path, spec: StudySpec, *, metrics: tuple[str, ...] = (), repeat: int = 0) -> TrialLog:
    trial = TrialSpec(number=0, params={"lr": 0.1, "epochs": 3}, seed=1, dir=str(folder), repeat=repeat)
    return TrialLog(trial, spec, metrics, Stopwatch())


def record(log: TrialLog, *reports: dict[str, float], first: int = 1) -> None:
    known: dict[str, float] = {}
    for step, metrics in enumerate(reports, start=first):
        log.record(step, metrics, known)
        known |= metrics


def columns(folder: Path) -> list[str]:
    content = hparams_tags(folder)[metadata.EXPERIMENT_TAG]
    return [info.name.tag for info in metadata.parse_experiment_plugin_data(content).metric_infos]


def count(folder: Path, tag: str) -> int:
    return len([found for _, found, _ in points(folder) if found == tag])


def values(folder: Path, tag: str) -> list[float]:
    return [value for _, value in scalars(folder)[tag]]


def test_the_columns_are_described_once(tmp_path: Path) -> None:
    """By the first report, in the order of the tab: the study's metrics and their best values, then the others."""
    log = new_log(tmp_path, study())
    log.start()
    assert count(tmp_path, metadata.SESSION_START_INFO_TAG) == 1
    assert count(tmp_path, metadata.EXPERIMENT_TAG) == 0
    log.describe(["accuracy", "loss"])
    log.describe(["something else"])
    log.end(["loss"], success=True)
    assert count(tmp_path, metadata.EXPERIMENT_TAG) == count(tmp_path, metadata.SESSION_START_INFO_TAG) == 1
    assert columns(tmp_path) == ["loss", "best/loss", "accuracy"]


def test_an_objective_that_names_its_metrics_has_its_columns_at_the_start(tmp_path: Path) -> None:
    """Also those that the first report lacks."""
    log = new_log(tmp_path, study(), metrics=("loss", "test/loss"))
    log.start()
    log.describe(["loss"])
    log.close()
    assert columns(tmp_path) == ["loss", "best/loss", "test/loss"]


def test_a_run_that_continues_describes_nothing_again(tmp_path: Path) -> None:
    """Its row and its columns are in the event file of the attempt before."""
    log = new_log(tmp_path, study())
    log.start()
    log.describe(["loss"])
    state = log.state_dict()
    log.close()
    again = new_log(tmp_path, study())
    again.load_state_dict(state, Position())
    again.start()
    again.end(["loss"], success=True)
    assert count(tmp_path, metadata.EXPERIMENT_TAG) == count(tmp_path, metadata.SESSION_START_INFO_TAG) == 1


def test_the_best_value_is_that_of_the_metrics_goal(tmp_path: Path) -> None:
    """Of each metric, at each of its reports; a tag that the objective reports itself is left to it."""
    log = new_log(tmp_path, study(SCORE, LOSS))
    record(log, {"score": 1, "loss": 3}, {"score": 3, "loss": 4, "extra": 7}, {"score": 2, "best/score": 9}, {"loss": 2})
    log.close()
    assert scalars(tmp_path) == {
        "score": [(1, 1), (2, 3), (3, 2)],
        "loss": [(1, 3), (2, 4), (4, 2)],
        "best/score": [(1, 1), (2, 3), (3, 9)],
        "best/loss": [(1, 3), (2, 3), (4, 2)],
        "extra": [(2, 7)],
    }


def test_the_best_value_survives_an_interruption(tmp_path: Path) -> None:
    """It is in the state, which holds what earlier versions can read, too."""
    log = new_log(tmp_path, study(SCORE, LOSS))
    record(log, {"score": 5, "loss": 1})
    state = log.state_dict()
    log.close()
    assert set(state) == {"described", "last_step", "layout", "laid_out", "logged", "panels", "best"}
    again = new_log(tmp_path, study(SCORE, LOSS))
    again.load_state_dict(state, Position())
    record(again, {"score": 4, "loss": 2}, first=2)
    again.close()
    assert values(tmp_path, "best/score") == [5, 5]
    assert values(tmp_path, "best/loss") == [1, 1]


@pytest.mark.parametrize(("metric", "best"), [(SCORE, [5, 6]), (LOSS, [2, 2])])
def test_an_earlier_versions_state_has_no_best_value(tmp_path: Path, metric: MetricSpec, best: list[float]) -> None:
    """The first metric's is that of the reports; of a trial without a report there is none."""
    old: dict[str, Any] = {"described": True, "last_step": {metric.name: 3}}
    log = new_log(tmp_path, study(metric))
    log.load_state_dict(old, Position(step=3, history=((1, None), (2, 5.0), (3, 2.0))))
    record(log, {metric.name: 4}, {metric.name: 6}, first=4)
    log.close()
    assert values(tmp_path, f"best/{metric.name}") == best
    fresh = new_log(tmp_path / "fresh", study(metric))
    fresh.load_state_dict(old, Position(step=1, history=((1, None),)))
    record(fresh, {metric.name: 7}, first=2)
    fresh.close()
    assert values(tmp_path / "fresh", f"best/{metric.name}") == [7]


def test_whether_the_constraints_are_kept_is_written_with_what_they_are_about(tmp_path: Path) -> None:
    """Not before all that they are about is known, and not with a report that has nothing of it."""
    both = SIZE, ConstraintSpec(metric="time", high=1)
    log = new_log(tmp_path, study(constraints=both))
    record(log, {"loss": 1, "size": 5}, {"loss": 1}, {"time": 0.5}, {"loss": 1}, {"size": 11}, {"size": 9, "time": 1})
    log.close()
    assert scalars(tmp_path)["feasible"] == [(3, 1), (5, 0), (6, 1)]


def test_nothing_is_said_of_constraints_that_a_study_lacks_or_an_objective_reports(tmp_path: Path) -> None:
    """The objective's own `feasible` is left to it."""
    free, own = new_log(tmp_path / "free", study()), new_log(tmp_path / "own", study(constraints=(SIZE,)))
    record(free, {"loss": 1, "size": 50})
    record(own, {"loss": 1, "size": 50, "feasible": 1})
    free.close()
    own.close()
    assert "feasible" not in scalars(tmp_path / "free")
    assert values(tmp_path / "own", "feasible") == [1]


@pytest.mark.parametrize(("success", "status"), [(True, api_pb2.STATUS_SUCCESS), (False, api_pb2.STATUS_FAILURE), (None, None)])
def test_the_row_has_the_status_of_how_the_trial_ended(tmp_path: Path, success: bool | None, status: int | None) -> None:
    """None yet of one that is to continue; the columns are there in any case."""
    log = new_log(tmp_path, study())
    log.start()
    log.end([], success=success)
    ended = hparams_tags(tmp_path).get(metadata.SESSION_END_INFO_TAG)
    assert (ended and metadata.parse_session_end_info_plugin_data(ended).status) == status
    assert columns(tmp_path) == ["loss", "best/loss"]


@pytest.mark.parametrize(("repeats", "grouped"), [(1, False), (2, True)])
def test_repeats_of_a_trial_share_a_row(tmp_path: Path, repeats: int, grouped: bool) -> None:
    """The group is the trial's, not the repeat's; a trial that is trained once has none."""
    groups = set()
    for repeat in range(repeats):
        log = new_log(tmp_path / str(repeat), study(repeats=repeats), repeat=repeat)
        log.start()
        log.close()
        content = hparams_tags(tmp_path / str(repeat))[metadata.SESSION_START_INFO_TAG]
        groups.add(metadata.parse_session_start_info_plugin_data(content).group_name)
    assert len(groups) == 1
    assert (groups != {""}) == grouped


def test_metrics_whose_names_end_alike_share_a_chart(tmp_path: Path) -> None:
    """In the study's first run alone: one description is enough for the tab."""
    for repeat in (0, 1):
        log = new_log(tmp_path / str(repeat), study(repeats=2), repeat=repeat)
        record(log, {"train/loss": 1, "validation/loss": 2})
        log.close()
    layouts = [count(tmp_path / str(repeat), "custom_scalars__config__") for repeat in (0, 1)]
    assert layouts == [1, 0]


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scalars that do not reach the file must not be reported."""
    log = new_log(tmp_path, study())

    def full() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log.writer.events, "flush", full)
        with pytest.raises(OSError, match="No space left"):
            record(log, {"loss": 1})
    log.close()
