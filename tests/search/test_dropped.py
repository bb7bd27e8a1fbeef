"""Dropped trials: nothing is learned from them, in a session that runs and in one that is resumed alike."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.storage.remarks import change_remarks
from sweep.study.record import TrialRecord
from sweep.study.trial import TrialState
from tests.support.searching import Trained, session
from tests.support.studies import run_record, study_spec

SPACE = {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 1.0}}
GOAL = {"name": "score", "goal": "minimize"}
COUNT, MORE, DROPPED = 12, 4, (2, 5, 10)
METHODS: dict[str, dict[str, Any] | None] = {"tpe": None, "cmaes": None, "nsgaii": {"population_size": 4}, "gp": None}
PRUNERS: list[dict[str, Any]] = [
    {"type": "none"},
    {"type": "asha", "reduction_factor": 2},
    {"type": "wilcoxon", "p_threshold": 0.3},
    {"type": "brackets", "at": [1, 2], "keep": 2},
]


def values(params: dict[str, Any], number: int) -> list[dict[str, float]]:
    x, y = params["x"], params["y"]
    return [{"score": (x - 1) ** 2 + y + 3 / step + math.sin(step * 7 + number)} for step in (1, 2, 3)]


def remark(planner: Planner, known: list[TrialRecord], dropped: tuple[int, ...]) -> None:
    """Drop these trials and take back all others, as the ledger does."""
    now = [replace(record, dropped=record.number in dropped) for record in known]
    planner.remarked(now, [record for record, before in zip(now, known, strict=True) if record.dropped != before.dropped])


@pytest.mark.parametrize(
    ("method", "pruner"),
    [
        ("tpe", PRUNERS[1]),
        *(pytest.param(method, PRUNERS[0], marks=pytest.mark.slow) for method in METHODS),
        *(pytest.param("tpe", pruner, marks=pytest.mark.slow) for pruner in PRUNERS[2:]),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else value,
)
@pytest.mark.filterwarnings("ignore")
def test_a_running_session_follows_as_a_resumed_one(tmp_path: Path, method: str, pruner: dict[str, Any]) -> None:
    """It proposes and prunes the same; after all were taken back, as if nothing had been dropped."""
    spec = study_spec(SPACE, metric=GOAL, method=method, sampler=METHODS[method], budget={"trials": 50}, pruner=pruner)
    found: dict[str, list[Trained]] = {}
    for name, dropped_before, dropped_in_it in (
        ("untouched", (), None),
        ("resumed", DROPPED, None),
        ("running", (), DROPPED),
        ("taken back", DROPPED, ()),
    ):
        folder = StudyFolder(root=tmp_path / name)
        session(spec, values, COUNT, folder)
        if dropped_before:
            change_remarks(folder, lambda now: replace(now, dropped=frozenset(DROPPED)))

        def changed(planner: Planner, known: list[TrialRecord], dropped: tuple[int, ...] | None = dropped_in_it) -> None:
            if dropped is not None:
                remark(planner, known, dropped)

        found[name] = session(spec, values, MORE, folder, changed=changed)
    assert found["running"] == found["resumed"]
    assert found["taken back"] == found["untouched"]
    assert method in ("nsgaii", "cmaes") or found["resumed"] != found["untouched"]


def test_patience_and_targets_follow() -> None:
    """A dropped trial is no best one and reaches no target; the search that it had ended goes on, and its point stays tried."""
    goal = {"name": "score", "goal": "maximize", "target": 3.0}
    study = study_spec({"x": [0, 1, 2, 3, 4, 5]}, metric=goal, budget={"patience": 2})
    scores = (1.0, 2.0, 3.0)
    known = [
        run_record(study, number, {"x": number}, score, ended=f"2026-01-01T00:00:0{number}+00:00")
        for number, score in enumerate(scores)
    ]
    planner = Planner(study, known)
    assert planner.ended_by == "the target 3 is reached"
    remark(planner, known, (2,))
    assert planner.ask() == (3, {"x": 3})
    remark(planner, [replace(record, dropped=record.number == 2) for record in known], (1, 2))
    assert planner.ended_by is None  # of the patience, trial 0 alone has ended


def test_a_dropped_trial_uses_up_no_patience() -> None:
    """Neither one that was dropped before the session nor one that is dropped in it."""
    study = study_spec({"x": [0, 1, 2, 3, 4, 5]}, metric=GOAL | {"goal": "maximize"}, budget={"patience": 2})
    known = [
        run_record(study, number, {"x": number}, score, ended=f"2026-01-01T00:00:0{number}+00:00")
        for number, score in enumerate((3.0, 2.0, 1.0))
    ]
    planner = Planner(study, known)
    assert planner.ended_by == "2 trials brought no new best"
    remark(planner, known, (1,))
    assert planner.ask() == (3, {"x": 3})
    assert Planner(study, [replace(record, dropped=record.number == 1) for record in known]).ended_by is None


def test_a_finite_space_is_tried_with_what_was_dropped() -> None:
    """No dropped assignment is proposed again."""
    study = study_spec({"x": [0, 1, 2]}, method="random", budget={"trials": 10})
    known = [replace(run_record(study, number, {"x": number}, 1.0), dropped=True) for number in (0, 1)]
    planner = Planner(study, known)
    assert planner.ask() == (2, {"x": 2})
    assert planner.ask() is None
    assert known[0].state is TrialState.COMPLETE
