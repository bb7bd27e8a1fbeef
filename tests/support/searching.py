"""A search without trainings: ask, report along a curve, tell; by the planner, through a study's folder, and by Optuna alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna

from sweep.search.imported import ImportedTrial
from sweep.search.methods import make_pruner, make_sampler
from sweep.search.planner import Planner
from sweep.storage.database import read_curves
from sweep.storage.folder import StudyFolder
from sweep.storage.optuna_terms import distributions
from sweep.storage.store import StudyStore
from sweep.study.record import TrialRecord, planned_record
from sweep.study.space import Constant
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

# The metrics of each step, of a trial with these parameters and this number.
Objective = Callable[[dict[str, Any], int], Sequence[dict[str, float]]]
Trained = tuple[dict[str, Any], int]  # its parameters and its last step


def asked(planner: Planner) -> tuple[int, dict[str, Any]]:
    """Return the number and the parameters of the next trial, which there must be."""
    found = planner.ask()
    assert found is not None
    return found


def searched(study: StudySpec, objective: Objective, count: int) -> list[Trained]:
    """Run this many trials of a study in memory."""
    planner = Planner(study)
    found = []
    for _ in range(count):
        record = planned_record(study, *asked(planner))
        found.append((record.params, _train(study, planner, record, objective)))
    return found


def session(
    study: StudySpec,
    objective: Objective,
    count: int,
    folder: StudyFolder,
    *,
    imported: Sequence[ImportedTrial] = (),
    killed_at: int | None = None,
    changed: Callable[[Planner, list[TrialRecord]], object] = lambda planner, known: None,
) -> list[Trained]:
    """Run this many further trials of a study, of which everything is read from its folder and stored there.

    Args:
        study: the study.
        objective: what its trials report.
        count: how many trials; one that was killed is the first.
        folder: the study's.
        imported: trials of other studies.
        killed_at: the last trial is killed after this step, unless it ends there; it is not returned.
        changed: called with the planner and the trials that it knows, before anything is asked.
    """
    folder.root.mkdir(parents=True, exist_ok=True)
    found: list[Trained] = []
    with contextlib.closing(StudyStore(folder, study)) as store:
        known = store.records()
        planner = Planner(study, known, stored=store.search(), imported=imported)
        changed(planner, known)
        killed = [record for record in known if not record.state.finished]
        for left in reversed(range(count)):
            if killed:
                record = killed.pop()
                history = read_curves(folder)[record.number]
                store.start(record)
                planner.rewind(record.number, ())
                planner.rewind(record.number, history)
                store.resume(record, history)
                assert not planner.prunes(record.number, *history[-1])
            else:
                record, history = planned_record(study, *asked(planner)), []
                store.start(record, planner.drawn(record.number))
            step = _train(study, planner, record, objective, store, len(history), killed_at if left == 0 else None)
            if step:
                found.append((record.params, step))
    return found


def _train(
    study: StudySpec,
    planner: Planner,
    record: TrialRecord,
    objective: Objective,
    store: StudyStore | None = None,
    begun: int = 0,
    killed_at: int | None = None,
) -> int:
    """Report until the pruner ends the trial, and tell; return the last step, 0 if the trial was killed."""
    state, step = TrialState.COMPLETE, 0
    for step, metrics in [*enumerate(objective(record.params, record.number), 1)][begun:]:
        record = replace(record, step=step, value=metrics[study.metric.name], metrics=metrics)
        pruned = planner.prunes(record.number, step, record.value)
        if store is not None:
            store.report(record, planner.rungs(record.number))
        if pruned:
            state = TrialState.PRUNED
            break
        if step == killed_at:
            return 0
    planner.tell(record.number, state, record.value if state is TrialState.COMPLETE else None, record.metrics)
    if store is not None:
        store.finish(replace(record, state=state), rungs=planner.rungs(record.number))
    return step


def searched_by_optuna(
    study: StudySpec,
    objective: Objective,
    count: int,
    *,
    known: Sequence[optuna.trial.FrozenTrial] = (),
    excesses: Callable[[dict[str, float]], dict[str, float]] = lambda _: {},
) -> list[Trained]:
    """Do the same in Optuna's own loop; parameters that it proposed before are failed and asked for anew.

    Args:
        study: the study.
        objective: what its trials report.
        count: how many trials.
        known: trials that are added before.
        excesses: by how much each constraint is broken.
    """
    plain = optuna.create_study(
        study_name=study.name,
        directions=[optuna.study.StudyDirection[metric.goal.upper()] for metric in study.metrics],
        sampler=make_sampler(study.method, study.seed, study.sampler),
        pruner=make_pruner(study.pruner),
    )
    plain.add_trials(known)
    constants = {name: domain.value for name, domain in study.parameters.items() if isinstance(domain, Constant)}
    found: list[Trained] = []
    while len(found) < count:
        trial = plain.ask(distributions(study.parameters))
        params, step = trial.params | constants, 0
        metrics: dict[str, float] = {}
        if params in [before for before, _ in found]:
            plain.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        for step, metrics in enumerate(objective(params, len(found)), 1):
            if len(study.metrics) == 1:  # Optuna prunes no other
                trial.report(metrics[study.metric.name], step)
                if trial.should_prune():
                    plain.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
        else:
            for name, excess in excesses(metrics).items():
                trial.set_constraint(name, excess)
            plain.tell(trial, [metrics[metric.name] for metric in study.metrics])
        found.append((params, step))
    return found
