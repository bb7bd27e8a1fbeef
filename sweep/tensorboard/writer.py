"""`TrialWriter`: the `SummaryWriter` that an objective gets; importing this module imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.tensorboard import FileWriter, SummaryWriter

from sweep.study import plain
from sweep.tensorboard import hparams
from sweep.tensorboard.charts import Layout
from sweep.tensorboard.run_writer import RunWriter, guarded


class TrialWriter(SummaryWriter):
    """Write into a run: the calls of the tutorials (`add_scalar`, `add_image`, `add_graph`, ...) work unchanged.

    If an `add_...` call fails (a wrong type, a missing package), that is printed once to stderr, and the training continues.
    Every `add_...` raises once the run is closed, or in another process. `close`, with which tutorials end, only flushes, since
    the run continues.

    Args:
        run: into whose file it writes.
    """

    file_writer: Any  # torch leaves both without a type
    all_writers: Any

    def __init__(self, run: RunWriter) -> None:
        self._run = run
        self.lifetime, self.guard = run.lifetime, run.guard
        super().__init__(log_dir=run.log_dir)

    @guarded
    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *args: Any, **kwargs: Any) -> None:
        """Add a point to a curve, as `SummaryWriter.add_scalar` does."""
        tag, step = plain.exact_text(tag), plain.step_or_none(global_step)
        super().add_scalar(tag, scalar_value, step, *args, **kwargs)
        self._run.added(tag, scalar_value, step)

    @guarded
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
        standalone = not (self._run.started or self._run.row_follows)
        if standalone:
            space = hparams.domains_of(hparam_dict, hparam_domain_discrete)
            self._run.describe(space, metric_dict)
            self._run.start_session({name: hparams.plain(value) for name, value in hparam_dict.items()}, space)
        for tag, value in metric_dict.items():
            self.add_scalar(tag, value, self._run.last_step.get(tag, 0) if at is None else at)
        if standalone:
            self._run.end_session(success=True)

    @guarded
    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Add points to several curves, and show them in one chart of the CUSTOM SCALARS tab.

        `SummaryWriter.add_scalars` makes a run for each key, which the HPARAMS tab would count too.
        """
        main_tag = plain.exact_text(main_tag)
        for name, value in tag_scalar_dict.items():
            self.add_scalar(f"{main_tag}/{name}", value, global_step, walltime)
        self._run.extend_chart("add_scalars", main_tag, [f"{main_tag}/{name}" for name in tag_scalar_dict])

    @guarded
    def add_custom_scalars(self, layout: Layout) -> None:
        """Describe charts, as `SummaryWriter.add_custom_scalars` does, in addition to those that were described before."""
        self._run.add_charts(layout)

    def add_custom_scalars_multilinechart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """Describe a chart of several curves, as `SummaryWriter` does, in addition to the others."""
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        """Describe a chart of a curve and its margin, as `SummaryWriter` does, in addition to the others."""
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def flush(self) -> None:
        """Write what is pending; nothing is after the trial's end."""
        self._run.flush()

    def close(self) -> None:
        """Only flush, since the run continues."""
        self.flush()

    def _get_file_writer(self) -> Any:
        # In place of SummaryWriter's, which makes a file of its own, and a second one after `close`.
        if self.file_writer is None:  # called by SummaryWriter's constructor
            self.file_writer = _FileWriter(self._run)
            self.all_writers = {self.log_dir: self.file_writer}
        else:
            self._run.check_open()
        return self.file_writer


class _FileWriter(FileWriter):
    def __init__(self, run: RunWriter) -> None:  # its own would make another file
        self.event_writer = run.events

    close = reopen = FileWriter.flush  # an objective may call these; the file is open until the run is closed


for _name in dir(SummaryWriter):
    if _name.startswith("add_") and _name not in vars(TrialWriter):
        setattr(TrialWriter, _name, guarded(getattr(SummaryWriter, _name)))
