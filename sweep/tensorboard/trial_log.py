"""What one run logs for TensorBoard: its row in the HPARAMS tab, scalars, best values, and whether it keeps the constraints.

The attempt at a trial calls this; the records go through the writer that the objective has too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweep.study.lifetime import Lifetime
from sweep.study.ranking import verdict
from sweep.study.record import run_folder_name
from sweep.study.space import Domain, swept
from sweep.study.spec import StudySpec
from sweep.study.timing import Stopwatch
from sweep.study.trial import Params, Position, Scalar, TrialSpec
from sweep.tensorboard.columns import FEASIBLE, best_tag, metric_columns, with_columns
from sweep.tensorboard.drawings import forget, leave
from sweep.tensorboard.hparams import renew
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.run_writer import RunWriter


class TrialLog:
    """Log one attempt at a trial, after what is in the run folder already.

    `start`, `record` and `end` raise OSError if a record cannot be written; the file may then end with half of it.

    Args:
        spec, study: the trial, and the study that it belongs to.
        metrics: the names of the objective's metrics; if empty, those of the first report are used.
        stopwatch: the attempt's.

    Attributes:
        writer: of the run.
        panels: those that the objective gets.
    """

    def __init__(self, spec: TrialSpec, study: StudySpec, metrics: Iterable[str], stopwatch: Stopwatch) -> None:
        self._spec, self._study, self._metrics = spec, study, tuple(metrics)
        self._params: dict[str, Scalar] = dict(spec.params)
        self._space: dict[str, Domain] = dict(study.shown)
        self._appeared = self._late = False  # a parameter was suggested after the row had appeared
        first = spec.number == spec.repeat == 0  # this run has what the study needs only once
        self._best: dict[str, float] = {}  # the best value of each metric so far
        lays_out = first and study.log.charts
        self.writer = RunWriter(
            Path(spec.dir),
            lays_out=lays_out,
            stopwatch=stopwatch,
            watched=study.needed,
            lifetime=Lifetime(spec.number),
        )
        self.writer.row_follows = study.suggests
        self.panels = Panels(self.writer, study.log, first=first)

    def state_dict(self) -> dict[str, Any]:
        """Return what an attempt that resumes this run needs; plain data."""
        return self.writer.state_dict() | {"panels": self.panels.state_dict(), "best": dict(self._best)}

    def load_state_dict(self, state: Mapping[str, Any], position: Position) -> None:
        """Resume a run from what `state_dict` returned; `position` is how far the trial was."""
        self.writer.load_state_dict(state)
        self._appeared = True
        self.panels.load_state_dict(state.get("panels", {}))
        self.go_on(state, position)

    def go_on(self, state: Mapping[str, Any], position: Position) -> None:
        """Go on from another run, in files of its own: only the best values are taken over; arguments as `load_state_dict`."""
        self._best = dict(state.get("best") or self._best_until(position))

    def start(self) -> None:
        """Write what is known of the run when it starts: its row, if the study file has its parameters."""
        forget(Path(self._spec.dir))
        if self._metrics:
            self.describe(())
            self.writer.charts_of(self._metrics)
        if not self._study.suggests:
            self.appear()
        self.writer.written()

    def suggested(self, name: str, value: Scalar, domain: Domain) -> None:
        """Take a parameter that the function has asked for into the run's row."""
        self._late |= self._appeared and name not in self._params
        self._params[name], self._space[name] = value, domain

    def appear(self) -> None:
        """Write the record that makes the run's row appear, with the parameters until now; only the first call has an effect."""
        study, spec = self._study, self._spec
        group = run_folder_name(spec.number, spec.params, swept(study.parameters)) if study.repeats > 1 else None
        self.writer.start_session(*self._columns(), group)
        self._appeared = True

    def describe(self, reported: Iterable[str]) -> None:
        """Describe the columns of the HPARAMS tab, once the metrics are known; only the first call has an effect.

        Where functions suggest their own parameters, no trial knows those of the others: TensorBoard then takes the columns
        from the rows.
        """
        if not self._study.suggests:
            self.writer.describe(self._columns()[1], (*metric_columns(self._study), *(self._metrics or reported)))

    def record(self, step: int, metrics: Mapping[str, float], known: Mapping[str, float]) -> None:
        """Write a report's metrics as scalars, the best values, and whether the constraints are kept.

        Args:
            step: the report's.
            metrics: the report's.
            known: the last value of each metric that was reported before.
        """
        self.appear()
        for name, value in metrics.items():
            if not self._wrote(name, step, value):
                self.writer.add_scalar(name, value, step)
        for metric in self._study.metrics:
            if metric.name in metrics:
                value = metrics[metric.name]
                if metric.name not in known and self._wrote(metric.name, step, value):  # all its points are the objective's own
                    own = self.writer.logged[metric.name]
                    value = metric.better(own.low, own.high)
                best = self._best[metric.name] = metric.better(value, self._best.get(metric.name, value))
                if best_tag(metric) not in metrics:
                    self.writer.add_scalar(best_tag(metric), best, step)
        self._judge(step, metrics, {**known, **metrics})
        if not self._metrics:
            self.writer.charts_of(metrics)
        self.writer.written()

    def end(self, metrics: Iterable[str], *, success: bool | None) -> None:
        """Write the status of the run's row, none of a trial that will resume (None), and close the files.

        What is left to be drawn is left to the runner; of a trial that resumes, nothing: it will come to that point again.
        """
        self.describe(metrics)  # if nothing was reported
        if success is not None:
            self.appear()
            self.writer.end_session(success=success)
        self.writer.written()
        left = self.panels.taken() if success is not None else ()
        self.close()
        if self._late:
            renew(Path(self._spec.dir), *self._columns())
        if any(left):
            self.writer.guard("panels.predictions", leave, self.writer.events.path, *left)

    def close(self) -> None:
        """Close the files; the writer and the panels cannot be used any more, and hold nothing of the objective's."""
        self.panels.clear()
        self.writer.close()

    def _columns(self) -> tuple[Params, dict[str, Domain | None]]:
        return with_columns(self._params, self._space, self._spec.columns)

    def _wrote(self, name: str, step: int, value: float) -> bool:
        """Return whether the last point of a metric, which the objective may have written itself, is this one."""
        own = self.writer.logged.get(name)
        return own is not None and (own.step, own.value) == (step, value)

    def _judge(self, step: int, metrics: Mapping[str, float], known: Mapping[str, float]) -> None:
        """Write whether the trial keeps its constraints, if the report has a metric of one and all are known."""
        names = {constraint.metric for constraint in self._study.constraints}
        keeps = verdict(self._study, known)
        if names & metrics.keys() and keeps is not None and FEASIBLE not in metrics:
            self.writer.add_scalar(FEASIBLE, float(keeps), step)

    def _best_until(self, position: Position) -> dict[str, float]:
        """Return the best reported value of the first metric: the checkpoints of earlier versions have no others."""
        metric = self._study.metric
        values = [value for _, value in position.history if value is not None]
        return {metric.name: max(values, key=lambda value: metric.sign * value)} if values else {}
