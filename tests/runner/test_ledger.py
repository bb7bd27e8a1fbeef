"""What the ledger says and stores after each event, with a real store and folder, and without processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, EXIT_TOO_MANY_FAILURES
from sweep.runner.ledger import Ledger
from sweep.runner.observers import RunChange
from sweep.storage.database import read_records, read_time
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import change_remarks
from sweep.storage.store import StudyStore
from sweep.study.file.reading import read_study
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import Position, Report, TrialResult, TrialState
from sweep.worker.devices import Slot
from sweep.worker.protocol import Resumed
from tests.support.observing import Silent
from tests.support.studies import write_objectives, write_study

STUDY = """
objective: mine:train
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2, 3]}
"""
SLOT = Slot(index=0, device="cpu", torch_device="cpu", threads=1)
FAILED = TrialResult(state=TrialState.FAILED, metrics={}, error="RuntimeError: boom", cause="exception")


def complete(score: float = 1.0) -> TrialResult:
    return TrialResult(state=TrialState.COMPLETE, metrics={"score": score})


@pytest.fixture
def folder(here: Path) -> StudyFolder:
    """The study's folder, beside the test objectives."""
    write_objectives(here)
    found = StudyFolder(root=here / "runs" / "study")
    found.root.mkdir(parents=True)
    return found


def study_of(folder: StudyFolder, more: str = "") -> StudySpec:
    return read_study(write_study(folder.root.parent.parent, STUDY + more))


@contextmanager
def opened(folder: StudyFolder, study: StudySpec, observer: Silent | None = None) -> Iterator[Ledger]:
    """Give the ledger that a session has, with the runs of earlier sessions."""
    store = StudyStore(folder, study)
    try:
        yield Ledger(study, folder, store, store.records(), observer or Silent())
    finally:
        store.close()


def start_next(ledger: Ledger, folder: StudyFolder) -> TrialRecord:
    record = ledger.next()
    assert record is not None
    folder.trial_dir(record.folder).mkdir(exist_ok=True)
    return ledger.start(record, SLOT)


def end(ledger: Ledger, record: TrialRecord, result: TrialResult) -> None:
    ledger.finish(ledger.settle(record, result, 0.1))


def stored(folder: StudyFolder) -> list[tuple[tuple[int, int], TrialState]]:
    return [(record.key, record.state) for record in read_records(folder)]


def test_a_trial_is_stored_from_its_start_to_its_end(folder: StudyFolder) -> None:
    """Each event is in the database before the method returns, and the observer has seen them all in order."""
    observer = Silent()
    with opened(folder, study_of(folder), observer) as ledger:
        assert ledger.runs_left == 3
        record = start_next(ledger, folder)
        assert (record.attempts, record.device, ledger.runs_left) == (1, "cpu", 2)
        assert stored(folder) == [((0, 0), TrialState.RUNNING)]
        report = Report(step=1, total=2, metrics={"score": 0.5})
        assert not ledger.prunes(record, report)
        record = ledger.report(record, report, 1.5)
        assert read_records(folder)[0] == record
        assert (record.step, record.total, record.value, record.duration_s) == (1, 2, 0.5, 1.5)
        settled = ledger.settle(record, complete(0.7), 2.0)
        assert stored(folder) == [((0, 0), TrialState.RUNNING)]  # `finish` stores it, when the slot works again
        ledger.finish(settled)
        assert read_records(folder)[0] == settled == ledger.records[0]
        assert (settled.value, settled.spans[-1].how) == (0.7, "complete")
    assert [change for _, change, _ in observer.seen] == ["started", "reported", "ended"]


def test_an_interrupted_trial_is_the_first_of_the_next_session(folder: StudyFolder) -> None:
    """It waits meanwhile, starts under its own number, and has what it had reported once it resumes."""
    study = study_of(folder)
    with opened(folder, study) as ledger:
        end(ledger, start_next(ledger, folder), complete())
        record = ledger.report(start_next(ledger, folder), Report(step=2, total=4, metrics={"score": 0.5}), 1.0)
        ledger.interrupt(record, 1.2)
        assert not ledger.done
    assert stored(folder) == [((0, 0), TrialState.COMPLETE), ((1, 0), TrialState.WAITING)]
    with opened(folder, study) as ledger:
        assert ledger.runs_left == 2
        assert ledger.first_params() == record.params
        again = start_next(ledger, folder)
        assert (again.key, again.attempts, again.value) == ((1, 0), 2, None)
        [before, now] = again.spans
        assert (before.how, now.how) == ("stopped", None)
        event = Resumed(position=Position(step=2, total=4, metrics={"score": 0.5}, history=((1, 0.2), (2, 0.5)), seconds=1.0))
        assert not ledger.prunes_at_resume(again, event)
        resumed = ledger.resume(again, event)
        assert (resumed.step, resumed.value, resumed.duration_s) == (2, 0.5, 1.0)
        assert read_records(folder)[1] == resumed


def test_a_retry_starts_the_same_run_again(folder: StudyFolder) -> None:
    """The observer gets the error, which the record does not keep."""
    observer = Silent()
    with opened(folder, study_of(folder), observer) as ledger:
        record = ledger.retry(start_next(ledger, folder), "killed by SIGKILL", 3.0)
        assert (record.error, record.spans[-1].how, record.duration_s) == (None, "died", 3.0)
        again = ledger.start(record, SLOT)
        assert (again.key, again.attempts, len(again.spans)) == (record.key, 2, 2)
    assert [(change, run.error) for _, change, run in observer.seen] == [
        ("started", None),
        ("retried", "killed by SIGKILL"),
        ("started", None),
    ]


def test_the_outcome_says_why_it_ended_and_whether_a_trial_failed(folder: StudyFolder) -> None:
    """Exit code 1 as soon as one has failed; 0 when none has."""
    with opened(folder, study_of(folder)) as ledger:
        for result in (complete(), FAILED, complete()):
            end(ledger, start_next(ledger, folder), result)
        assert ledger.next() is None
        assert ledger.done
        outcome = ledger.outcome()
        assert (outcome.ended_by, outcome.exit_code) == ("all trials are done", EXIT_SOME_FAILED)
        assert outcome.summary(study_of(folder), []) == "study: 2 complete, 1 failed; all trials are done"


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([FAILED, FAILED], EXIT_TOO_MANY_FAILURES),
        ([FAILED, complete(), FAILED], EXIT_SOME_FAILED),  # not in a row
        ([complete(), FAILED, FAILED], EXIT_SOME_FAILED),  # nothing is left to stop
        ([complete(), complete(), complete()], EXIT_OK),
    ],
)
def test_failures_in_a_row_end_the_session(folder: StudyFolder, results: list[TrialResult], code: int) -> None:
    """No further trial starts, as long as there would be one."""
    with opened(folder, study_of(folder, "stop_after_failures: 2\n")) as ledger:
        for result in results:
            end(ledger, start_next(ledger, folder), result)
        assert ledger.next() is None
        assert ledger.outcome().exit_code == code


def test_what_a_late_trial_brings_does_not_undo_giving_up(folder: StudyFolder) -> None:
    """A trial that still ran when the others had failed may complete; no other starts."""
    with opened(folder, study_of(folder, "stop_after_failures: 1\n")) as ledger:
        late, failing = start_next(ledger, folder), start_next(ledger, folder)
        end(ledger, failing, FAILED)
        end(ledger, late, complete())
        assert ledger.next() is None
        assert ledger.outcome().ended_by == "1 trials in a row failed"


def test_a_trial_with_repeats_ends_with_its_last_run(folder: StudyFolder) -> None:
    """Its value is the mean; until then the trial waits, though one of its runs has ended."""
    with opened(folder, study_of(folder, "repeats: 2\n")) as ledger:
        assert ledger.runs_left == 6
        first = start_next(ledger, folder)
        end(ledger, first, complete(1.0))
        assert ledger.records[0].state is TrialState.WAITING
        second = start_next(ledger, folder)
        assert [first.key, second.key] == [(0, 0), (0, 1)]
        end(ledger, second, complete(2.0))
        assert (ledger.records[0].state, ledger.records[0].value) == (TrialState.COMPLETE, 1.5)
        assert [run.key for run in ledger.runs] == [(0, 0), (0, 1)]


def test_a_failed_repeat_spares_those_that_have_not_started(folder: StudyFolder) -> None:
    """The trial has failed; the next run is another trial's."""
    with opened(folder, study_of(folder, "repeats: 3\n")) as ledger:
        end(ledger, start_next(ledger, folder), FAILED)
        assert ledger.records[0].state is TrialState.FAILED
        assert start_next(ledger, folder).key == (1, 0)


def test_a_pruner_judges_the_first_run_alone(folder: StudyFolder) -> None:
    """The other repeats start when it is complete, before the next trial."""
    pruned = "repeats: 2\npruner: {type: threshold, lower: 0.5}\n"
    with opened(folder, study_of(folder, pruned)) as ledger:
        bad, good = Report(step=1, total=2, metrics={"score": 0.1}), Report(step=1, total=2, metrics={"score": 0.9})
        first = start_next(ledger, folder)
        assert not ledger.prunes(first, good)
        other = start_next(ledger, folder)
        assert other.key == (1, 0)
        assert ledger.prunes(other, bad)
        end(ledger, first, complete())
        second = start_next(ledger, folder)
        assert second.key == (0, 1)
        assert not ledger.prunes(second, bad)


def test_the_time_of_a_session_is_stored_at_its_end(folder: StudyFolder) -> None:
    """Every few seconds before; what earlier sessions took is added."""
    study = study_of(folder)
    for total in (3.0, 6.0):
        with opened(folder, study) as ledger:
            ledger.store_time(TimeBreakdown(training=1.0))
            ledger.store_time(TimeBreakdown(training=2.0))  # too soon
            ledger.store_time(TimeBreakdown(training=3.0), last=True)
        found = read_time(folder)
        assert found is not None
        assert found.training == total


def test_a_trial_that_is_put_back_is_the_first_to_start_again(folder: StudyFolder) -> None:
    """It waits, is stored so, has not failed, and goes on under its own number with what it has done so far."""
    study, observer = study_of(folder), Silent()
    with opened(folder, study, observer) as ledger:
        record = ledger.report(start_next(ledger, folder), Report(step=2, total=4, metrics={"score": 0.5}), 1.0)
        assert ledger.runs_left == 2
        ledger.put_back(record, "RuntimeError: CUDA error: unspecified launch failure", 1.2)
        assert (ledger.runs_left, ledger.done) == (3, False)
        assert stored(folder) == [((0, 0), TrialState.WAITING)]
        _, change, shown = observer.seen[-1]
        assert (change, shown.error) == ("put back", "RuntimeError: CUDA error: unspecified launch failure")
        [waiting] = read_records(folder)
        assert (waiting.spans[-1].how, waiting.error, waiting.step, waiting.duration_s) == ("put back", None, 2, 1.2)
        again = start_next(ledger, folder)
        assert (again.key, again.attempts, [span.how for span in again.spans]) == ((0, 0), 2, ["put back", None])
        end(ledger, again, complete())
        end(ledger, start_next(ledger, folder), complete())
        end(ledger, start_next(ledger, folder), complete())
        assert (ledger.done, ledger.outcome().exit_code) == (True, EXIT_OK)


def test_a_trial_that_waits_for_another_slot_lets_others_pass(folder: StudyFolder) -> None:
    """Those in the queue, then those that are planned; when nothing else is left, there is nothing to start."""
    with opened(folder, study_of(folder)) as ledger:
        first = start_next(ledger, folder)
        ledger.put_back(first, "RuntimeError: CUDA error", 0.1)
        others = [ledger.next({first.key}), ledger.next({first.key})]
        assert [record and record.key for record in others] == [(1, 0), (2, 0)]
        assert ledger.next({first.key}) is None
        assert ledger.next() == replace(first, state=TrialState.WAITING, spans=ledger.runs[0].spans, duration_s=0.1)


def test_what_is_dropped_while_a_session_runs_counts_no_more(folder: StudyFolder) -> None:
    """When the next trial ends, planner, records and observer know it: the patience, which was at its end, has more."""
    observer = Silent()
    with opened(folder, study_of(folder, "budget: {patience: 2}\n"), observer) as ledger:
        end(ledger, start_next(ledger, folder), complete(3.0))
        second, third = start_next(ledger, folder), start_next(ledger, folder)
        end(ledger, second, complete(1.0))
        change_remarks(folder, lambda now: replace(now, dropped=frozenset((0,)), notes={0: "odd"}))
        end(ledger, third, complete(2.0))
        assert [(trial.dropped, trial.note) for trial in ledger.records] == [(True, "odd"), (False, None), (False, None)]
        assert [run.number for _, change, run in observer.seen if change is RunChange.DROPPED] == [0]
        assert ledger.outcome().ended_by == "all trials are done"
        assert ledger.columns(ledger.records[0]) == {"note": "odd"}


@contextmanager
def retrying(folder: StudyFolder, study: StudySpec, observer: Silent) -> Iterator[Ledger]:
    """Give the ledger of a session that tries failed trials again."""
    with contextlib.closing(StudyStore(folder, study)) as store:
        known = [store.reopen(run) if run.state is TrialState.FAILED else run for run in store.records()]
        yield Ledger(study, folder, store, known, observer)


@pytest.mark.parametrize("more", ["", "repeats: 2\n", "pruner: {type: median}\n"])
def test_a_dropped_trial_that_waits_to_be_tried_again_is_not_trained(folder: StudyFolder, more: str) -> None:
    """When the next trial ends, it has failed again, with its error, and can be taken back."""
    study, observer = study_of(folder, more), Silent()
    with opened(folder, study) as ledger:
        for _ in range(3):
            end(ledger, start_next(ledger, folder), FAILED)
    with retrying(folder, study, observer) as ledger:
        first = start_next(ledger, folder)
        change_remarks(folder, lambda now: replace(now, dropped=frozenset((1,))))
        end(ledger, first, complete())
        assert (ledger.records[1].state, ledger.runs[-2].error) == (TrialState.FAILED, FAILED.error)
        assert [run.number for _, change, run in observer.seen if change is RunChange.DROPPED] == [1]
        change_remarks(folder, lambda now: replace(now, dropped=frozenset()))
        while (record := ledger.next()) is not None:
            assert record.number != 1
            end(ledger, ledger.start(record, SLOT), complete())
        assert (ledger.done, ledger.outcome().exit_code) == (True, EXIT_SOME_FAILED)
    assert [run.attempts for run in read_records(folder) if run.number == 1] == [1]


def test_a_trial_that_is_dropped_just_before_it_is_tried_again_counts_for_nothing(folder: StudyFolder) -> None:
    """It reaches no target."""
    study = study_of(folder)
    study = replace(study, metrics=(replace(study.metric, target=3.0),))
    with opened(folder, study) as ledger:
        for result in (complete(), FAILED):
            end(ledger, start_next(ledger, folder), result)
    with retrying(folder, study, Silent()) as ledger:
        record = start_next(ledger, folder)
        change_remarks(folder, lambda now: replace(now, dropped=frozenset((1,))))
        end(ledger, record, complete(4.0))
        assert [trial.dropped for trial in ledger.records] == [False, True]
        end(ledger, start_next(ledger, folder), complete())
        assert ledger.outcome().ended_by == "all trials are done"


def test_damaged_remarks_end_no_session(folder: StudyFolder) -> None:
    """It says so once, and what was said before holds."""
    observer = Silent()
    with opened(folder, study_of(folder), observer) as ledger:
        end(ledger, start_next(ledger, folder), complete(3.0))
        folder.remarks.write_text("{")
        for score in (1.0, 2.0):
            end(ledger, start_next(ledger, folder), complete(score))
        assert len(observer.notices) == 1
        assert "remarks.json cannot be used, so what was said before holds" in observer.notices[0]
        assert not any(trial.dropped for trial in ledger.records)
