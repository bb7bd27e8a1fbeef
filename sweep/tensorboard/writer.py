"""`TrialWriter`: a `SummaryWriter` that writes one run with one event file per attempt, and whose errors end no trial."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from torch.utils.tensorboard import FileWriter, SummaryWriter

from sweep.study import plain
from sweep.study.lifetime import Lifetime, TrialEnded
from sweep.study.space import Domain
from sweep.study.timing import Stopwatch, counts_as
from sweep.study.trial import Params
from sweep.tensorboard import hparams
from sweep.tensorboard.event_writer import EventWriter
from sweep.tensorboard.logged import Logged

# The end of the names of a trial's own event files; a script may write others besides them.
OWN_SUFFIX = ".sweep"
# Category: title of a chart: its kind ("Multiline" or "Margin") and its tags, as torch has it.
Layout = dict[str, dict[str, Any]]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _guarded(method: _Method) -> _Method:
    """Wrap a method of the objective's so that it raises `TrialEnded` only: see `TrialWriter.guard`."""

    @functools.wraps(method)
    def call(self: TrialWriter, *args: Any, **kwargs: Any) -> Any:
        self.lifetime.check(f"trial.writer.{method.__name__}")
        return self.guard(method.__name__, method, self, *args, **kwargs)

    return cast("_Method", call)


class TrialWriter(SummaryWriter):
    """Write one run: the calls of the tutorials (`add_scalar`, `add_image`, `add_graph`, ...) work unchanged.

    If an `add_...` call fails (a wrong type, a missing package), that is printed once to stderr, and the training continues. Only
    `written` raises, if records have not reached the file, and every `add_...` once the file is closed or in another process.

    Args:
        log_dir: the run folder.
        keep_open: let `close`, with which tutorials end, only flush, since the run continues; `shut` closes.
        lays_out: whether to describe the charts of the CUSTOM SCALARS tab; one run of a study is enough.
        stopwatch, lifetime: the trial's.
        watched: tags whose points are remembered.

    Attributes:
        logged: of each watched tag step and value of the last point, the lowest and the highest value.
    """

    file_writer: Any  # torch leaves both without a type
    all_writers: Any

    def __init__(
        self,
        log_dir: str | Path,
        *,
        keep_open: bool = False,
        lays_out: bool = True,
        stopwatch: Stopwatch | None = None,
        lifetime: Lifetime | None = None,
        watched: Collection[str] = (),
    ) -> None:
        self.lifetime, self._watched = lifetime or Lifetime(), frozenset(watched)
        self.logged: dict[str, Logged] = {}
        self._stopwatch = stopwatch or Stopwatch()
        self._keep_open, self._lays_out = keep_open, lays_out
        self._layout: Layout = {}
        self._laid_out = 0  # tags in the layout that was written last
        self._failed: set[str] = set()
        self._last_step: dict[str, int] = {}
        self._later: list[tuple[str, Any, int | None, float]] = []  # points that wait for a GPU: tag, number, step, time
        self._started = self._described = self._ended = self._shut = False
        super().__init__(log_dir=str(log_dir))

    def state_dict(self) -> dict[str, Any]:
        """Return what a writer that resumes this run needs; plain data."""
        layout = {category: dict(charts) for category, charts in self._layout.items()}
        found = {"described": self._described, "last_step": dict(self._last_step), "layout": layout, "laid_out": self._laid_out}
        return found | {"logged": {tag: list(logged) for tag, logged in self.logged.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a run, whose row has appeared, from what `state_dict` returned."""
        self._started = True
        self._described = bool(state["described"])
        self._last_step = dict(state["last_step"])
        self._layout, self._laid_out = state.get("layout", {}), state.get("laid_out", 0)  # older checkpoints have none
        self.logged = {tag: Logged(*logged) for tag, logged in state.get("logged", {}).items()}  # nor this

    def written(self) -> None:
        """Write every record to its file.

        Raises:
            OSError: a record could not be written; the file may end with half of it.
        """
        self._write_pending()
        if not self._shut:
            self._get_file_writer().flush()

    def start_session(self, params: Params, space: Mapping[str, Domain | None], group: str | None = None) -> None:
        """Make the run's row appear in the HPARAMS tab; runs of one group share a row."""
        if not self._started:
            self._started = True
            self._write(hparams.session_start, params, space, group)

    def describe(self, space: Mapping[str, Domain | None], metrics: Iterable[str]) -> None:
        """Describe the columns and filters of the HPARAMS tab; as in the tab, only the first call has an effect."""
        if not self._described:
            self._described = True
            self._write(hparams.experiment, space, metrics)

    def end_session(self, *, success: bool) -> None:
        """Write the status of the run's row; as in the tab, only the first call has an effect."""
        if self._started and not self._ended:
            self._ended = True
            self._write(functools.partial(hparams.session_end, success=success))

    @_guarded
    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *args: Any, **kwargs: Any) -> None:
        """Add a point to a curve, as `SummaryWriter.add_scalar` does."""
        tag, step = plain.exact_text(tag), plain.step_or_none(global_step)
        super().add_scalar(tag, scalar_value, step, *args, **kwargs)
        self._last_step[tag] = step or 0
        if tag in self._watched:
            point = step or 0, plain.number(scalar_value, f"the scalar {tag!r}")
            self.logged[tag] = Logged.after(self.logged.get(tag), *point)

    def add_scalar_later(self, tag: str, scalar_value: Any, global_step: int | None = None) -> None:
        """Add a point without waiting for a GPU: a tensor on one is read at the next flush; its point has this call's time."""
        self.lifetime.check("trial.panels.batch")
        if getattr(scalar_value, "is_cpu", True):
            self.add_scalar(tag, scalar_value, global_step)
        else:
            self._later.append((tag, scalar_value.detach().clone(), global_step, time.time()))

    @_guarded
    def add_record(self, event: Any) -> None:
        """Add a whole record that was made elsewhere, with its own time."""
        self._get_file_writer().add_event(event, event.step, event.wall_time)

    @_guarded
    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Sequence[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Record hyperparameters and last metrics of this run, in this run.

        In a study the row has the study's hyperparameters already, and only the metrics are added. If a metric is a curve of the
        run, its last point is added to that. `run_name` is ignored.
        """
        at = plain.step_or_none(global_step)
        standalone = not self._started
        if standalone:
            space = hparams.domains_of(hparam_dict, hparam_domain_discrete)
            self.describe(space, metric_dict)
            self.start_session({name: hparams.plain(value) for name, value in hparam_dict.items()}, space)
        for tag, value in metric_dict.items():
            self.add_scalar(tag, value, self._last_step.get(tag, 0) if at is None else at)
        if standalone:
            self.end_session(success=True)

    @_guarded
    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Add points to several curves, and show them in one chart of the CUSTOM SCALARS tab.

        `SummaryWriter.add_scalars` makes a run for each key, which the HPARAMS tab would count too.
        """
        main_tag = plain.exact_text(main_tag)
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)
        self._chart("add_scalars", main_tag, [f"{main_tag}/{name}" for name in tag_scalar_dict])

    @_guarded
    def add_custom_scalars(self, layout: Layout) -> None:
        """Describe charts, as `SummaryWriter.add_custom_scalars` does, in addition to those that were described before."""
        for category, charts in layout.items():
            texts = {
                plain.exact_text(title): [plain.exact_text(kind), [plain.exact_text(tag) for tag in tags]]
                for title, (kind, tags) in charts.items()
            }
            self._layout.setdefault(plain.exact_text(category), {}).update(texts)
        self._laid_out = 0

    def add_custom_scalars_multilinechart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """Describe a chart of several curves, as `SummaryWriter` does, in addition to the others."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """Describe a chart of a curve and its margin, as `SummaryWriter` does, in addition to the others."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def charts_of(self, metrics: Iterable[str]) -> None:
        """Show metrics with the same last part of their names, such as `train/loss` and `validation/loss`, in one chart."""
        alike: dict[str, list[str]] = {}
        for tag in metrics:
            alike.setdefault(tag.rpartition("/")[2], []).append(tag)
        for name, tags in alike.items():
            if len(tags) > 1:
                self._chart("compared", name, tags)

    def flush(self) -> None:
        """Write what is pending; nothing is after the trial's end."""
        if self.lifetime.lasts:
            self._write_pending()
            self.guard("flush", super().flush)

    def close(self) -> None:
        """Close the file, or only flush it if it is to be kept open."""
        (self.flush if self._keep_open else self.shut)()

    def shut(self) -> None:
        """Close the file for good."""
        if not self._shut:
            self.seal()
            files = self.file_writer
            self.guard("close", super().close)
            if files is not None:
                files.event_writer.close()
            self._shut = True

    def seal(self) -> None:
        """Refuse whatever the objective's threads still write; what is described afterwards belongs to the trial's end."""
        if not self.lifetime.ended:
            self._write_pending()
            self.lifetime.end()

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

    def _get_file_writer(self) -> Any:
        # In place of SummaryWriter's, which opens a second file after `close`.
        if self._shut:
            self.lifetime.check("trial.writer")
        if self.file_writer is None:
            self.file_writer = _RunWriter(EventWriter(Path(self.log_dir), OWN_SUFFIX))
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def _chart(self, category: str, title: str, tags: Iterable[str]) -> None:
        charts = self._layout.setdefault(category, {})
        _, known = charts.get(title, ("Multiline", []))
        charts[title] = ["Multiline", list(dict.fromkeys([*known, *tags]))]

    def _write_pending(self) -> None:
        later, self._later = self._later, []
        with contextlib.suppress(TrialEnded):  # points that a thread has added at the last moment
            for point in later:
                self.add_scalar(*point)
        # If a run has several descriptions of the charts, TensorBoard uses the last.
        size = sum(len(tags) for charts in self._layout.values() for _, tags in charts.values())
        if self._lays_out and size != self._laid_out:
            self._laid_out = size
            self.guard("add_custom_scalars", super().add_custom_scalars, self._layout)

    def _write(self, make_record: Callable[..., Any], *args: Any) -> None:
        # The only way to write a record of one's own.
        self.guard("hparams", lambda: self._get_file_writer().add_summary(make_record(*args)))


class _RunWriter(FileWriter):
    def __init__(self, event_writer: Any) -> None:  # its own would make another
        self.event_writer = event_writer

    close = reopen = FileWriter.flush  # an objective may call these; the file is open until `TrialWriter.shut`


for _name in dir(SummaryWriter):
    if _name.startswith("add_") and _name not in vars(TrialWriter):
        setattr(TrialWriter, _name, _guarded(getattr(SummaryWriter, _name)))
