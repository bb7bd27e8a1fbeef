"""`sweep plan` and `sweep check`: what would run, and whether it can run."""

from __future__ import annotations

import collections
import functools
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.cli.tables import print_json, print_trial_table
from sweep.cli.target import Target
from sweep.errors import Problem, StudyFileError
from sweep.runner.engine import check_engine
from sweep.runner.gpu_sharing import may_grow, slots_for
from sweep.search.methods import learns_constraints
from sweep.storage.folder import near
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import continued_study
from sweep.study.file.writing import write_study
from sweep.study.formatting import cluster_text
from sweep.study.groups import Groups, why_none
from sweep.study.record import TrialRecord
from sweep.study.spec import BudgetSpec, StudySpec, WorkersSpec
from sweep.study.trial import TrialState
from sweep.worker.devices import Slot, device_notes, plan_slots
from sweep.worker.protocol import Died, Load, Loaded, LoadFailed

# The keys that a file of another tool has in other words.
_OF_ANOTHER_TOOL = ("command", "nested", "env", "metric", "metrics", "method", "parameters", "sampler", "pruner", "budget")


def show_plan(target: Target, first: int, *, as_json: bool) -> None:
    """Print the size of the study, its slots, and its first trials with their run folders."""
    study = continued_study(target.study, target.folder)
    slots = slots_for(study.workers)
    snapshot = Snapshot.take(study, target.folder)
    unfinished = (record for record in snapshot.trials() if not record.state.finished)
    planned = list(itertools.islice(unfinished, first))  # one by one: the grid may be huge
    if as_json:
        print_json(_plan_json(snapshot, slots, planned))
        return
    total = study.total
    done = sum(record.state.finished for record in snapshot.records)
    endless = "it is stopped (Ctrl-C, or sweep stop)" if study.budget == BudgetSpec(unlimited=True) else "the budget is used up"
    size = f"{total:,} trials" if total is not None else f"trials until {endless}"
    size += f" of {study.repeats} runs each" if study.repeats > 1 else ""
    print(f"{study.name}: {study.method}, {size}{f', {done} finished' if done else ''}")
    aims = [f"{metric.goal} {metric.name}" for metric in study.metrics]
    print(f"{'command  ' if study.command else 'objective'}  {study.trained}, {', '.join(aims)}")
    for line in _about(study):
        print(line)
    print(f"folder     {target.folder.root}")
    _print_places(target, study, slots, planned)
    for note in study.notes:
        print(f"note       {note}")
    if study.notes:
        print("\nas a study file of sweep's own:\n", *_understood(study), sep="\n    ")
    print()
    if planned:
        print_trial_table(planned, study)
        if total is not None and total - done > len(planned):
            print(f"... and {total - done - len(planned):,} more")
    elif study.method != "grid" and not done:
        print(f"{study.method} proposes each trial just before it starts: there is nothing to list yet")


def _about(study: StudySpec) -> Iterator[str]:
    if study.start is not None:
        numbers = ", ".join(map(str, study.start.parents))
        yield f"parents    trials {numbers} of {near(Path(study.start.study))}: each trial goes on from a checkpoint of theirs"
    if study.suggests:
        yield "space      the function's own: what it asks for while it runs, with trial.suggest_float and the like"
    if study.constraints:
        yield f"keeps      {', '.join(constraint.text for constraint in study.constraints)}{_not_steered(study)}"


def _print_places(target: Target, study: StudySpec, slots: list[Slot], planned: list[TrialRecord]) -> None:
    """Print where the trials run, in which order, and which of them together."""
    if study.workers.engine == "ray":
        print(f"slots      {_cluster_text(study.workers)}")
    else:
        print(f"slots      {_slots_text(slots, may_grow(study.workers, slots))}")
        for note in device_notes(study.workers.devices, slots):
            print(f"           {note}")
    if len(slots) != 1 and study.in_any_order:
        print("order      the trials that are expected to take longest start first, under their own numbers")
    if study.workers.fuse is None:
        measured = "of a new grid it is measured on the GPU, before its first trial starts"
        print(f"together   {measured if any(slot.gpus for slot in slots) else 'no: nothing is gained on a CPU'}")
    elif study.workers.fuse > 1:
        print(f"together   {_together_text(study, _imported(study, target).varies, planned)}")


def _understood(study: StudySpec) -> list[str]:
    """Return what became of another tool's file, as lines of a study file."""
    lines = write_study(study).splitlines()
    return [line for line in lines if line.startswith(" ") or line.partition(":")[0] in _OF_ANOTHER_TOOL]


def check_study(target: Target) -> None:
    """Import the objective in a separate process; print one line if everything is in order.

    Raises:
        StudyFileError: the objective cannot be imported.
        SweepError: what is to run its trials is not there.
    """
    study = target.study
    check_engine(study.workers)
    _imported(study, target)
    slots_for(study.workers)
    total = "" if study.total is None else f", {study.total:,} trials"
    space = ", the space is the function's own" * study.suggests
    print(f"{target.path} is valid: {study.method}{total}{space}{_not_steered(study)}")


def _imported(study: StudySpec, target: Target) -> Loaded:
    """Import the objective in a separate process, and return what it can do.

    Raises:
        StudyFileError: it cannot be imported.
    """
    from sweep.worker.executors.local import LocalWorker
    from sweep.worker.loop import serve

    print(f"{'checking' if study.command else 'importing'} {study.trained}", file=sys.stderr, flush=True)
    worker = LocalWorker(plan_slots("cpu", 1, 1)[0], functools.partial(serve, study))
    try:
        event = worker.next_event(Load()).result()
    finally:
        worker.close()
    if isinstance(event, Loaded):
        return event
    reason = event.reason if isinstance(event, LoadFailed) else event.describe() if isinstance(event, Died) else str(event)
    raise StudyFileError(str(target.path), [Problem(where=str(target.path), key="objective", message=reason)])


def _together_text(study: StudySpec, varies: tuple[str, ...] | None, planned: list[TrialRecord]) -> str:
    """Return which trials are trained together, as far as they are listed."""
    if why := why_none(study, varies):
        return f"workers.fuse={study.workers.fuse} has no effect: {why}"
    groups = Groups(study=study, varies=varies or (), size=study.workers.fuse or 1)
    found = dict.fromkeys(tuple(groups.of((record.number, 0))) for record in planned)
    shown = "; ".join(" ".join(dict.fromkeys(str(number) for number, _ in group)) for group in found)
    return f"up to {study.workers.fuse} runs that differ only in {', '.join(varies or ())}{f': trials {shown}' if shown else ''}"


def _not_steered(study: StudySpec) -> str:
    """Return a remark for methods that ignore constraints in their proposals, else an empty text."""
    if not study.constraints or study.method == "grid" or learns_constraints(study.method):
        return ""
    return f" ({study.method} ignores constraints: they only decide which trials are the best)"


def _plan_json(snapshot: Snapshot, slots: list[Slot], planned: list[TrialRecord]) -> dict[str, Any]:
    study = snapshot.study
    return {
        "study": study.name,
        "method": study.method,
        "total": study.total,
        "repeats": study.repeats,
        "finished": sum(record.state.finished for record in snapshot.records),
        "interrupted": sum(record.state is TrialState.WAITING for record in snapshot.records),
        "dir": str(snapshot.folder.root),
        "slots": [{"device": slot.device, "threads": slot.threads} for slot in slots],
        "trials": [snapshot.trial_json(record) for record in planned],
    }


def _cluster_text(workers: WorkersSpec) -> str:
    from sweep.worker.executors.ray.cluster import asked_text

    return f"as many as there is room for on {cluster_text(workers)}; each trial asks for {asked_text(workers)}"


def _slots_text(slots: list[Slot], growing: bool) -> str:
    devices = collections.Counter(slot.device for slot in slots)
    each = ", ".join(f"{count} on {device}" for device, count in devices.items())
    threads = slots[0].threads
    more = "; more as long as they gain" if growing else ""
    return f"{len(slots)} ({each}), {threads} thread{'s' * (threads != 1)} each{more}"
