"""The state of a study at one moment, as status, trials, best, plan and the report show it."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sweep.storage.checked import check_params
from sweep.storage.database import damage_reported, read_curves, read_records, read_time
from sweep.storage.folder import StudyFolder, slot_notes, waiting_slots
from sweep.storage.lock import lock_holder
from sweep.storage.remarks import read_remarks
from sweep.storage.suggested import with_suggested
from sweep.study.progress import TrialCounts
from sweep.study.ranking import Ranking, objective_values, rank, verdict
from sweep.study.record import TrialRecord, planned_record
from sweep.study.repeats import runs_in_total, runs_of, trials_of
from sweep.study.spec import StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import TrialState


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study at one moment.

    Attributes:
        study: as its folder, or its file, describes it; with the parameters that its function has suggested.
        folder: the study's.
        records: the trials that were ever started, by number.
        runner: the session that runs it now (`host`, `pid`, `since`), or None.
        time_spent: the time breakdown of its sessions; None if none was measured.
        note: what the user has said of the study.
    """

    study: StudySpec
    folder: StudyFolder
    records: list[TrialRecord]
    runner: dict[str, Any] | None
    time_spent: TimeBreakdown | None
    note: str = ""

    @classmethod
    def take(cls, study: StudySpec, folder: StudyFolder) -> Snapshot:
        """Read the study's folder; a study that never ran has no records.

        Raises:
            SweepError: the database cannot be opened.
        """
        runner, study = lock_holder(folder), with_suggested(study, folder)
        records = read_records(folder)
        with damage_reported(folder):
            for record in records:
                check_params(record, study)
        if runner is None:  # then nothing runs: the session was killed
            records = [r if r.state.finished else replace(r, state=TrialState.WAITING) for r in records]
        trials, note = trials_of(records, study), read_remarks(folder).study
        return cls(study=study, folder=folder, records=trials, runner=runner, time_spent=read_time(folder), note=note)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of trials in each state."""
        return TrialCounts(self.records).counts(self.study.total)

    @property
    def dropped(self) -> int:
        """Return the number of dropped trials, which `counts` has too."""
        return sum(record.dropped for record in self.records)

    @functools.cached_property
    def ranking(self) -> Ranking:
        """Return the complete trials, best first."""
        return rank(self.records, self.study)

    @property
    def eta_s(self) -> float | None:
        """Return the estimated seconds until the last trial ends; None if nothing runs."""
        return TrialCounts(runs_of(self.records)).eta_s(runs_in_total(self.study), datetime.now(UTC))

    @property
    def slots(self) -> int:
        """Return how many slots have held a trial."""
        return len({span.slot for run in runs_of(self.records) for span in run.spans})

    @property
    def waiting_slots(self) -> int:
        """Return how many slots of the running session wait for room on a cluster."""
        return waiting_slots(self.folder) if self.runner else 0

    def curves(self, numbers: Iterable[int]) -> dict[int, list[tuple[int, float]]]:
        """Return step and objective value of each report of these trials."""
        return read_curves(self.folder, list(numbers))

    def trials(self) -> Iterator[TrialRecord]:
        """Iterate over all trials by number, in a grid also over those that were not started yet."""
        left = (self.study.total or 0) - len(self.records) if self.study.method == "grid" else 0
        number = 0
        for record in [*self.records, None]:  # one by one: the grid may be huge
            while left > 0 and (record is None or number < record.number):
                yield planned_record(self.study, number, self.study.grid.point(number))
                left, number = left - 1, number + 1
            if record is not None:
                yield record
                number = record.number + 1

    def trial_json(self, record: TrialRecord) -> dict[str, Any]:
        """Return a trial as `--format json` prints it (`sweep/docs/operations.md`), with its runs if it is repeated."""
        data = self._run_json(record)
        del data["repeat"]
        data |= {"dropped": record.dropped, "note": record.note}
        if self.study.repeats > 1:
            data |= {"standard_error": record.standard_error, "runs": [self._run_json(run) for run in record.runs]}
        return data

    def _run_json(self, record: TrialRecord) -> dict[str, Any]:
        data = record.to_json()
        folder = data.pop("folder")
        return data | {"dir": os.fspath(self.folder.trial_dir(folder))} | self._verdicts(record)

    def _verdicts(self, record: TrialRecord) -> dict[str, Any]:
        """Return the keys that only studies with several metrics or with constraints have."""
        found: dict[str, Any] = {}
        if self.study.multi_objective:
            found["values"] = list(objective_values(self.study, record.value, record.metrics))
            found["front"] = record.number in self.ranking.front_numbers
        if self.study.constraints:
            found["feasible"] = verdict(self.study, record.metrics)
        return found

    def status_json(self) -> dict[str, Any]:
        """Return the study as `sweep status --json` prints it (`sweep/docs/operations.md`)."""
        running = [record for record in self.records if record.state is TrialState.RUNNING]
        return {
            "study": self.study.name,
            "dir": os.fspath(self.folder.root),
            "note": self.note,
            "counts": self.counts,
            "dropped": self.dropped,
            "total": self.study.total,
            "best": self.trial_json(best) if (best := self.ranking.best) else None,
            **({"front": [self.trial_json(record) for record in self.ranking.front]} if self.study.multi_objective else {}),
            "eta_s": self.eta_s,
            "time": self.time_spent.to_json() if self.time_spent else None,
            "running": [self.trial_json(record) for record in running],
            "runner": self.runner,
            "slot_notes": slot_notes(self.folder),
            "waiting_slots": self.waiting_slots,
        }
