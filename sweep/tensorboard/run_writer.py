"""`RunWriter`: one run with one event file per attempt, without torch; its errors end no trial.

`TrialWriter`, the `SummaryWriter` that an objective gets, writes into the same file through it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from sweep.study import plain
from sweep.study.lifetime import Lifetime, TrialEnded
from sweep.study.space import Domain
from sweep.study.timing import Stopwatch, counts_as
from sweep.study.trial import Params
from sweep.tensorboard import charts, hparams
from sweep.tensorboard.event_writer import EventWriter
from sweep.tensorboard.logged import Logged

# The end of the names of a trial's own event files; a script may write others besides them.
OWN_SUFFIX = ".sweep"

_Method = TypeVar("_Method", bound=Callable[..., Any])


def guarded(method: _Method) -> _Method:
    """Wrap a method so that it raises `TrialEnded` only: see `RunWriter.guard`; the class has `lifetime` and `guard`."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.lifetime.check(f"trial.writer.{method.__name__}")
        return self.guard(method.__name__, method, self, *args, **kwargs)

    return cast("_Method", call)


class RunWriter:
    """Write one run: its row in the HPARAMS tab, its curves, and the charts that show them.

    If an `add_...` call fails, that is printed once to stderr, and the training continues. Only `written` raises, if records have
    not reached the file, and every `add_...` once the file is closed or in another process.

    Args:
        log_dir: the run folder.
        lays_out: whether to describe the charts of the CUSTOM SCALARS tab; one run of a study is enough.
        stopwatch, lifetime: the trial's.
        watched: tags whose points are remembered.

    Attributes:
        events: the event file.
        logged: of each watched tag step and value of the last point, the lowest and the highest value.
        started: whether the run's row has appeared.
        last_step: of each tag.
    """

    def __init__(
        self,
        log_dir: str | Path,
        *,
        lays_out: bool = True,
        stopwatch: Stopwatch | None = None,
        lifetime: Lifetime | None = None,
        watched: Collection[str] = (),
    ) -> None:
        self.log_dir = str(log_dir)
        self.lifetime, self._watched = lifetime or Lifetime(), frozenset(watched)
        self.logged: dict[str, Logged] = {}
        self._stopwatch = stopwatch or Stopwatch()
        self._lays_out = lays_out
        self._layout: charts.Layout = {}
        self._laid_out = 0  # tags in the layout that was written last
        self._failed: set[str] = set()
        self.last_step: dict[str, int] = {}
        self._later: list[tuple[str, Any, int | None, float]] = []  # points that wait for a GPU: tag, number, step, time
        self.row_follows = False  # the study writes it later than the objective may ask for it
        self.started = self._described = self._ended = self._closed = False
        self.events = EventWriter(Path(log_dir), OWN_SUFFIX)

    def state_dict(self) -> dict[str, Any]:
        """Return what a writer that resumes this run needs; plain data."""
        layout = {category: dict(titles) for category, titles in self._layout.items()}
        found = {"described": self._described, "last_step": dict(self.last_step), "layout": layout, "laid_out": self._laid_out}
        return found | {"logged": {tag: list(logged) for tag, logged in self.logged.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a run, whose row has appeared, from what `state_dict` returned."""
        self.started = True
        self._described = bool(state["described"])
        self.last_step = dict(state["last_step"])
        self._layout, self._laid_out = state.get("layout", {}), state.get("laid_out", 0)  # older checkpoints have none
        self.logged = {tag: Logged(*logged) for tag, logged in state.get("logged", {}).items()}  # nor this

    def written(self) -> None:
        """Write every record to its file.

        Raises:
            OSError: a record could not be written; the file may end with half of it.
        """
        self._write_pending()
        if not self._closed:
            self.events.flush()

    def start_session(self, params: Params, space: Mapping[str, Domain | None], group: str | None = None) -> None:
        """Make the run's row appear in the HPARAMS tab; runs of one group share a row."""
        if not self.started:
            self.started = True
            self._write("hparams", hparams.session_start, params, space, group)

    def describe(self, space: Mapping[str, Domain | None], metrics: Iterable[str]) -> None:
        """Describe the columns and filters of the HPARAMS tab; as in the tab, only the first call has an effect."""
        if not self._described:
            self._described = True
            self._write("hparams", hparams.experiment, space, metrics)

    def end_session(self, *, success: bool) -> None:
        """Write the status of the run's row; as in the tab, only the first call has an effect."""
        if self.started and not self._ended:
            self._ended = True
            self._write("hparams", functools.partial(hparams.session_end, success=success))

    @guarded
    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Add a point to a curve; its record is the one of `SummaryWriter.add_scalar`."""
        tag, step = plain.exact_text(tag), plain.step_or_none(global_step)
        value = float(plain.number(scalar_value, f"the scalar {tag!r}"))
        self.add_summary(Summary(value=[Summary.Value(tag=tag, simple_value=value)]), step, walltime)
        self.added(tag, scalar_value, step)

    def add_scalar_later(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Add a point without waiting for a GPU: a tensor on one is read at the next flush; its point has this call's time."""
        self.lifetime.check("trial.panels.batch")
        if getattr(scalar_value, "is_cpu", True):
            self.add_scalar(tag, scalar_value, global_step)
        else:
            self._later.append((tag, scalar_value.detach().clone(), global_step, time.time()))

    def added(self, tag: str, value: Any, step: int | None) -> None:
        """Remember a point of a curve that was written."""
        self.last_step[tag] = step or 0
        if tag in self._watched:
            point = step or 0, plain.number(value, f"the scalar {tag!r}")
            self.logged[tag] = Logged.after(self.logged.get(tag), *point)

    @guarded
    def add_record(self, event: Any) -> None:
        """Add a whole record that was made elsewhere, with its own time."""
        self.check_open()
        self.events.add_event(event)

    def add_summary(self, summary: Summary, step: int | None = None, walltime: float | None = None) -> None:
        """Add a summary as a record of its own."""
        self.check_open()
        self.events.add_event(Event(summary=summary, step=step, wall_time=time.time() if walltime is None else walltime))

    def add_charts(self, layout: charts.Layout) -> None:
        """Describe charts in addition to those that were described before."""
        for category, titles in layout.items():
            texts = {
                plain.exact_text(title): [plain.exact_text(kind), [plain.exact_text(tag) for tag in tags]]
                for title, (kind, tags) in titles.items()
            }
            self._layout.setdefault(plain.exact_text(category), {}).update(texts)
        self._laid_out = 0

    def extend_chart(self, category: str, title: str, tags: Sequence[str]) -> None:
        """Show several curves in one chart, besides those that it has already."""
        found = self._layout.setdefault(category, {})
        _, known = found.get(title, ("Multiline", []))
        found[title] = ["Multiline", list(dict.fromkeys([*known, *tags]))]

    def charts_of(self, metrics: Iterable[str]) -> None:
        """Show metrics with the same last part of their names, such as `train/loss` and `validation/loss`, in one chart."""
        alike: dict[str, list[str]] = {}
        for tag in metrics:
            alike.setdefault(tag.rpartition("/")[2], []).append(tag)
        for name, tags in alike.items():
            if len(tags) > 1:
                self.extend_chart("compared", name, tags)

    def flush(self) -> None:
        """Write what is pending; nothing is after the trial's end."""
        if self.lifetime.lasts:
            self._write_pending()
            self.guard("flush", self.events.flush)

    def close(self) -> None:
        """Close the file for good."""
        if not self._closed:
            self.seal()
            self.guard("close", self.events.flush)
            self.events.close()
            self._closed = True

    def seal(self) -> None:
        """Refuse whatever the objective's threads still write; what is described afterwards belongs to the trial's end."""
        if not self.lifetime.ended:
            self._write_pending()
            self.lifetime.end()

    def check_open(self) -> None:
        """Check that the file was not closed.

        Raises:
            TrialEnded: it was.
        """
        if self._closed:
            self.lifetime.check("trial.writer")

    @counts_as("logging")
    def guard(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function that logs and return its result; if it raises, print the first error of this name and return None.

        Raises:
            TrialEnded: the file was closed meanwhile.
        """
        try:
            return call(*args, **kwargs)
        except TrialEnded:  # by another thread
            raise
        except Exception:  # an error in logging must never end a training
            if name not in self._failed:
                self._failed.add(name)
                print(f"sweep: writer.{name} failed; the trial continues without it", file=sys.stderr)
                traceback.print_exc()
            return None

    def _write_pending(self) -> None:
        later, self._later = self._later, []
        with contextlib.suppress(TrialEnded):  # points that a thread has added at the last moment
            for point in later:
                self.add_scalar(*point)
        # If a run has several descriptions of the charts, TensorBoard uses the last.
        size = sum(len(tags) for titles in self._layout.values() for _, tags in titles.values())
        if self._lays_out and size != self._laid_out:
            self._laid_out = size
            self._write("add_custom_scalars", charts.record, self._layout)

    def _write(self, name: str, make_record: Callable[..., Any], *args: Any) -> None:
        self.guard(name, lambda: self.add_summary(make_record(*args)))
