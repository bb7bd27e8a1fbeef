"""What one run logs for TensorBoard: its row in the HPARAMS tab, its scalars, the best values, whether it keeps the constraints.

The attempt at a trial says what happened; here it becomes records in the run's event file, through the writer and the panels
that the objective also has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweep.study.ranking import verdict
from sweep.study.record import run_folder_name
from sweep.study.space import swept
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch
from sweep.study.trial import Position, TrialSpec
from sweep.tensorboard.columns import FEASIBLE, best_tag, metric_columns
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.writer import TrialWriter


class TrialLog:
    """Log one attempt at a trial; it appends to what is in the run folder.

    Args:
        spec, study: the trial, and the study that it belongs to.
        metrics: the names of the objective's metrics, if it tells them beforehand; else the first report does.
        stopwatch: the attempt's.
    """

    def __init__(self, spec: TrialSpec, study: StudySpec, metrics: Iterable[str], stopwatch: Stopwatch) -> None:
        self._spec, self._study, self._metrics = spec, study, tuple(metrics)
        first = spec.number == spec.repeat == 0  # what the study needs only once is in its first run
        self._best: dict[str, float] = {}  # of each metric, until now
        self.writer = TrialWriter(Path(spec.dir), keep_open=True, lays_out=first and study.log.charts, stopwatch=stopwatch)
        self.panels = Panels(self.writer, study.log, first=first)

    def state_dict(self) -> dict[str, Any]:
        """Return what an attempt that continues this run must know; plain data."""
        return self.writer.state_dict() | {"panels": self.panels.state_dict(), "best": dict(self._best)}

    def load_state_dict(self, state: Mapping[str, Any], position: Position) -> None:
        """Continue a run, knowing what `state_dict` returned and how far the trial was."""
        self.writer.load_state_dict(state)
        self.panels.load_state_dict(state.get("panels", {}))
        self._best = dict(state.get("best") or self._best_until(position))

    def start(self) -> None:
        """Make the run's row appear.

        Raises:
            OSError: as `flush`.
        """
        if self._metrics:
            self.describe(())
            self.writer.charts_of(self._metrics)
        study, spec = self._study, self._spec
        group = run_folder_name(spec.number, spec.params, swept(study.parameters)) if study.repeats > 1 else None
        self.writer.start_session(spec.params, study.shown, group)
        self.flush()

    def describe(self, reported: Iterable[str]) -> None:
        """Give the tab its columns, once the metrics are known; only the first call counts, as in the tab itself."""
        self.writer.describe(self._study.shown, (*metric_columns(self._study), *(self._metrics or reported)))

    def record(self, step: int, metrics: Mapping[str, float], known: Mapping[str, float]) -> None:
        """Write a report's metrics as scalars, the best values, and whether the constraints are kept.

        Args:
            step: the report's.
            metrics: reported now.
            known: the last value of each metric that was reported before.

        Raises:
            OSError: as `flush`.
        """
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        for metric in self._study.metrics:
            if metric.name in metrics:
                value = metrics[metric.name]
                best = self._best[metric.name] = metric.better(value, self._best.get(metric.name, value))
                if best_tag(metric) not in metrics:
                    self.writer.add_scalar(best_tag(metric), best, step)
        self._judge(step, metrics, {**known, **metrics})
        if not self._metrics:
            self.writer.charts_of(metrics)
        self.flush()

    def flush(self) -> None:
        """Have every record written to its file.

        Raises:
            OSError: a record could not be written; the file may end with half of it.
        """
        self.writer.written()

    def end(self, metrics: Iterable[str], *, success: bool | None) -> None:
        """Give the run's row its status, None while the trial is to continue later, and close the files.

        Raises:
            OSError: as `flush`.
        """
        self.describe(metrics)  # if nothing was reported on the way
        if success is not None:
            self.writer.end_session(success=success)
        self.flush()
        self.close()

    def close(self) -> None:
        """Close the files as they are."""
        self.writer.shut()

    def _judge(self, step: int, metrics: Mapping[str, float], known: Mapping[str, float]) -> None:
        """Write whether the trial keeps its constraints, as far as a report says anything new about that."""
        names = {constraint.metric for constraint in self._study.constraints}
        keeps = verdict(self._study, known)
        if names & metrics.keys() and keeps is not None and FEASIBLE not in metrics:
            self.writer.add_scalar(FEASIBLE, float(keeps), step)

    def _best_until(self, position: Position) -> dict[str, float]:
        """Return the best value of the first metric that was reported: an older version's checkpoint holds no more."""
        metric = self._study.metric
        values = [value for _, value in position.history if value is not None]
        return {metric.name: max(values, key=lambda value: metric.sign * value)} if values else {}
