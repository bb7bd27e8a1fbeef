"""An attempt at a trial: the traceback that a failure shows, and the end of one that goes on from a parent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.objectives import toy
from sweep.study.trial import Decision, GroupSpec, Scalar, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.handle import Trial
from sweep.worker.protocol import Channel
from sweep.worker.several import run_group
from sweep.worker.single import run_trial
from sweep.worker.tracebacks import user_traceback
from tests.support.studies import study_spec

PACKAGE = Path(sweep.__file__).parent


# A runner that lets every trial continue.
SILENT = Channel(send=lambda _: None, recv=lambda: Decision.CONTINUE, stop_requested=lambda: False)


[SLOT] = plan_slots("cpu", 1, 1)


@contextlib.contextmanager
def log_to(_path: Path) -> Iterator[None]:
    yield


def attempt(folder: Path, objective: Callable[[Trial], Any], **params: Scalar) -> TrialResult:
    study = study_spec(params or {"x": 1}, import_dir=folder)
    spec = TrialSpec(number=0, params=params, seed=1, dir=str(folder / "trial"))
    return run_trial(SILENT, objective, spec, study, SLOT, log_to)


def files(text: str | None) -> list[Path]:
    """Return the file of each frame of a traceback, the outermost first."""
    return [Path(line.split('"')[1]) for line in (text or "").splitlines() if line.startswith('  File "')]


def test_a_traceback_begins_in_the_users_function(tmp_path: Path) -> None:
    """What the package does before is left out; what it does after, inside `trial.report`, is shown."""

    def train(trial: Trial) -> None:
        trial.report(1, {"score": "no number"})  # type: ignore[dict-item]  # what a user may do

    result = attempt(tmp_path, train)
    assert (result.state, result.cause) == (TrialState.FAILED, "exception")
    first, *others = files(result.error)
    assert first == Path(__file__)
    assert others[0] == PACKAGE / "worker" / "handle.py"
    assert (result.error or "").splitlines()[-1].startswith("TypeError: metric 'score' must be a number")


def test_a_built_in_objective_is_shown_as_a_users_function(tmp_path: Path) -> None:
    """Its file is in the package, too."""
    result = attempt(tmp_path, toy.train, x="far away")
    assert result.state is TrialState.FAILED
    assert files(result.error)[0] == PACKAGE / "objectives" / "toy.py"


@pytest.mark.parametrize("inside", ["worker/script/objective.py", "worker/executors/process.py", "study/objective.py"])
def test_frames_of_the_whole_package_are_left_out(inside: str) -> None:
    """Whichever folder they are in; where there are no others, the last one stays."""
    namespace: dict[str, Any] = {}
    exec(compile("def call(function):\n    function()", str(PACKAGE / inside), "exec"), namespace)  # noqa: S102  # a frame of that file

    def mine() -> None:
        raise TypeError("boom")

    for function, shown in ((mine, Path(__file__)), (None, PACKAGE / inside)):
        with pytest.raises(TypeError) as caught:
            namespace["call"](function)
        assert caught.value.__traceback__ is not None
        assert files(user_traceback(caught.value.with_traceback(caught.value.__traceback__.tb_next))) == [shown]


def train(trial: Trial) -> Any:
    """Do two steps, or `steps`; return the score where `how` says so, and report it else."""
    p = trial.params
    total = trial.state["total"] if trial.state else 0
    for step in trial.steps(p.get("steps", 2)):
        total += step
        trial.save({"total": total})
        if "silent" not in p.get("how", ""):
            trial.report(step, {"score": total}, {"total": total})
    if p.get("how") == "at the end":
        trial.report(10, {"score": total})
    return total if "returned" in p.get("how", "") else None


def second_round(folder: Path, params: dict[str, Scalar], **keys: Any) -> tuple[TrialSpec, Any]:
    """Train a parent, and return a trial that goes on from it, and its study."""
    assert attempt(folder, train).metrics == {"score": 3}
    study = study_spec({"parent": [0], **params}, **{"from": {"study": "/runs/first", "top": 1, "parents": [0]}} | keys)
    spec = TrialSpec(number=0, params={"parent": 0, **params}, seed=1, dir=str(folder / "next"))
    (folder / "next").mkdir()
    (folder / "trial" / "checkpoint.pt").rename(folder / "next" / "checkpoint.parent.pt")
    return spec, study


@pytest.mark.parametrize(
    ("params", "keys", "error"),
    [
        ({}, {}, "its parent had done 2 steps, and it has 2 in all: raise the total (such as epochs.value=4)"),
        ({"how": "returned"}, {}, "its parent had done 2 steps, and it has 2 in all: raise the total (such as epochs.value=4)"),
        ({"steps": 9}, {"max_steps": 2}, "it has 2 in all: raise the total (such as max_steps=4)"),
        ({"steps": 3, "how": "silent"}, {}, "it has reported nothing of its own: all its metrics are its parent's"),
        ({"steps": 3}, {}, None),
        ({"steps": 3, "how": "silent returned"}, {}, None),
        ({"how": "at the end"}, {}, None),
    ],
)
def test_a_trial_without_metrics_of_its_own_fails(
    tmp_path: Path, params: dict[str, Scalar], keys: dict[str, Any], error: str | None
) -> None:
    """Those of its parent, which had other parameters, are not taken for its own."""
    spec, study = second_round(tmp_path, params, **keys)
    result = run_trial(SILENT, train, spec, study, SLOT, log_to)
    if error is None:
        assert (result.state, result.error) == (TrialState.COMPLETE, None)
        assert result.metrics == {"score": 6 if "steps" in params else 3}
    else:
        assert (result.state, result.metrics) == (TrialState.FAILED, {})
        assert error in (result.error or "")


def test_a_member_of_a_group_without_metrics_of_its_own_fails(tmp_path: Path) -> None:
    """As one that is trained alone."""
    spec, study = second_round(tmp_path, {})

    class Together:
        @staticmethod
        def fused(group: Any) -> list[float]:
            assert group.states == ({"total": 3},)
            assert list(group.steps(2)) == []
            return [3.0]

    together: Any = Together
    group = GroupSpec(members=(spec,), wanted=frozenset({spec.key}))
    [result] = run_group(SILENT, together, group, study, SLOT, log_to)
    assert (result.state, result.metrics) == (TrialState.FAILED, {})
    assert "its parent had done 2 steps" in (result.error or "")
