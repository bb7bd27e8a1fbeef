"""Whether trials are faster when one worker trains them together: measured on the device before the first one starts.

One trial is trained alone for some seconds, then a group, in one worker and in a folder that is removed afterwards. A study's
groups must never change, so what is decided is written into its stored file, and later sessions read it there.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from sweep.runner.fusing import spec_of
from sweep.storage.folder import StudyFolder
from sweep.storage.stored_study import stored_study
from sweep.study.groups import Groups, Key, why_none
from sweep.study.record import planned_record
from sweep.study.spec import StudySpec
from sweep.study.trial import Decision, GroupSpec, Report, TrialResult, TrialSpec, TrialState
from sweep.worker import protocol
from sweep.worker.devices import Slot
from sweep.worker.protocol import Command, Event, Loaded, Worker

_MOST = 16  # members of a group
_GAIN = 1.15  # times the steps a second, below which trials are trained alone
_ENOUGH_S = 3.0  # of training after the first report
_LONGEST_S = 120.0  # for two reports


class _NotMeasured(Exception):
    """Nothing can be said; the text says why."""


class _Failed(_NotMeasured):
    """A trial has failed."""


@dataclass(kw_only=True)
class _Rate:
    """The reports of one trial: (step, time)."""

    points: list[tuple[int, float]] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        return len(self.points) > 1 and self.points[-1][1] - self.points[0][1] >= _ENOUGH_S

    def steps_a_second(self) -> float:
        """Return the rate between the first report and the last one.

        Raises:
            _NotMeasured: there are not two.
        """
        if len(self.points) < 2:
            raise _NotMeasured("a trial reports only once, so that its steps a second cannot be measured")
        (first, began), (last, ended) = self.points[0], self.points[-1]
        return (last - first) / max(ended - began, 1e-9)


def with_fuse(
    study: StudySpec,
    folder: StudyFolder,
    slots: Sequence[Slot],
    maker: Callable[[], Callable[[Slot], Worker]],
    notice: Callable[[str], object],
    *,
    inline: bool = False,
) -> StudySpec:
    """Return a study with the number that is chosen, or was chosen earlier, where its file has `workers.fuse: auto`.

    Args:
        study: what is to be run.
        folder: the study's; a stored study has a number, which its groups were made by.
        slots: of this machine, of which the first one's device is measured; none of a cluster.
        maker: returns what makes a slot's worker; called only if something is measured.
        notice: shows what is done, and why.
        inline: the trials run in this process, where nothing is measured.
    """
    if study.workers.fuse is not None or not slots:
        return study
    if folder.study_file.exists():
        fuse = stored_study(folder).workers.fuse or 1  # without a number its trials were trained alone
    elif inline:
        return study
    else:
        fuse = _chosen(study, slots[0], maker, notice)
    return replace(study, workers=replace(study.workers, fuse=fuse))


def _chosen(study: StudySpec, slot: Slot, maker: Callable[[], Callable[[Slot], Worker]], notice: Callable[[str], object]) -> int:
    if not slot.gpus:
        notice("workers.fuse=auto: trials are trained alone, since on a CPU nothing is gained by training them together")
        return 1
    # The worker is gone before the folder is, into which it writes.
    with (
        tempfile.TemporaryDirectory(prefix="sweep-measuring-", ignore_cleanup_errors=True) as folder,
        contextlib.closing(maker()(slot)) as worker,
    ):
        try:
            return _measured(study, slot, worker, Path(folder), notice)
        except _NotMeasured as error:
            notice(f"workers.fuse=auto: trials are trained alone: {error}")
            return 1


def _measured(study: StudySpec, slot: Slot, worker: Worker, folder: Path, notice: Callable[[str], object]) -> int:
    loaded = _answer(worker.next_event(protocol.Load()))
    if not isinstance(loaded, Loaded):
        raise _NotMeasured("the objective could not be loaded")  # the session tells the rest
    group = _first_group(study, loaded.varies)
    if loaded.prepare:
        notice(f"workers.fuse=auto: preparing {study.trained}")
        _follow(worker, protocol.Prepare(params=study.grid.point(group[0][0])), lambda event: Decision.CONTINUE)
    notice(f"workers.fuse=auto: measuring the steps a second of one trial alone and of {len(group)} together on {slot.device}")
    alone = _alone(worker, _specs(study, group, folder / "alone"))
    together = _rate(worker, _specs(study, group, folder / "together")) * len(group)
    gain = together / alone
    fuse = _MOST if gain >= _GAIN else 1
    what = f"up to {fuse} trials are trained together" if fuse > 1 else "trials are trained alone"
    notice(f"workers.fuse=auto: {len(group)} trials together make {gain:.2f} times the steps a second of one alone: {what}")
    return fuse


def _first_group(study: StudySpec, varies: Sequence[str] | None) -> Sequence[Key]:
    """Return the largest of the groups of a grid's first points.

    Raises:
        _NotMeasured: there is none.
    """
    if why := why_none(study, varies):
        raise _NotMeasured(why)
    if study.method != "grid":
        raise _NotMeasured(f"only grids are measured; workers.fuse={study.repeats} trains the repeats of a trial together")
    groups = Groups(study=study, varies=tuple(varies or ()), size=_MOST)
    found = max((groups.of((number, 0)) for number in range(min(study.total or 0, 1_000))), key=len)
    if len(found) == 1:
        raise _NotMeasured(f"no two of them differ only in {', '.join(varies or ())}")
    return found


def _specs(study: StudySpec, group: Sequence[Key], root: Path) -> list[TrialSpec]:
    """Return what the worker is told of a group's trials, whose folders are below this one."""
    root.mkdir()
    records = [planned_record(study, number, study.grid.point(number), repeat) for number, repeat in group]
    return [spec_of(record, study, StudyFolder(root=root), {}, 1) for record in records]


def _alone(worker: Worker, specs: Sequence[TrialSpec]) -> float:
    """Return the steps a second of the first trial that does not fail by itself, such as by a rate that is too high."""
    for spec in specs[:-1]:
        with contextlib.suppress(_Failed):
            return _rate(worker, [spec])
    return _rate(worker, specs[-1:])


def _rate(worker: Worker, specs: Sequence[TrialSpec]) -> float:
    """Train one trial, or several together, for some seconds; return the steps a second of the one that reports longest."""
    rates = {one.key: _Rate() for one in specs}

    def answer(event: Event) -> Decision:
        if isinstance(event, Report) and event.key in rates:
            rates[event.key].points.append((event.step, time.perf_counter()))
        return Decision.STOP if any(rate.enough for rate in rates.values()) else Decision.CONTINUE

    command = specs[0] if len(specs) == 1 else GroupSpec(members=tuple(specs), wanted=frozenset(rates))
    _follow(worker, command, answer, ends=len(specs), seconds=_LONGEST_S)
    return max(rates.values(), key=lambda rate: len(rate.points)).steps_a_second()


def _follow(
    worker: Worker,
    command: Command,
    answer: Callable[[Event], Decision],
    *,
    ends: int = 1,
    seconds: float | None = None,
) -> None:
    """Give a worker a command and answer its events until it is done.

    Raises:
        _NotMeasured: it fails, or takes too long.
    """
    until = None if seconds is None else time.monotonic() + seconds
    while True:
        event = _answer(worker.next_event(command), until)
        if isinstance(event, protocol.Died):
            raise _NotMeasured(event.describe())
        if isinstance(event, protocol.PrepareFailed):
            raise _NotMeasured(event.what)
        if isinstance(event, TrialResult):
            ends -= 1
            failed = event.state is TrialState.FAILED
            # A member may fail alone; then the others are measured.
            if (event.error and not failed) or (failed and not ends):
                raise _Failed((event.error or "a trial failed").strip().splitlines()[-1])
        if isinstance(event, protocol.Prepared) or not ends:
            return
        command = answer(event)


def _answer(future: Future[Event], until: float | None = None) -> Event:
    with contextlib.suppress(TimeoutError):
        return future.result(None if until is None else max(0.0, until - time.monotonic()))
    raise _NotMeasured(f"two reports took longer than {_LONGEST_S:.0f} s")
