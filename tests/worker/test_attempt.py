"""An attempt at a trial: the traceback that a failure shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.objectives import toy
from sweep.study.trial import Decision, Scalar, TrialResult, TrialSpec, TrialState
from sweep.worker.devices import plan_slots
from sweep.worker.handle import Trial
from sweep.worker.protocol import Channel
from sweep.worker.single import run_trial
from sweep.worker.tracebacks import user_traceback
from tests.support.studies import study_spec

PACKAGE = Path(sweep.__file__).parent


# A runner that lets every trial continue.
SILENT = Channel(send=lambda _: None, recv=lambda: Decision.CONTINUE, stop_requested=lambda: False)


def attempt(folder: Path, objective: Callable[[Trial], Any], **params: Scalar) -> TrialResult:
    @contextlib.contextmanager
    def log_to(_path: Path) -> Iterator[None]:
        yield

    study = study_spec(params or {"x": 1}, import_dir=folder)
    spec = TrialSpec(number=0, params=params, seed=1, dir=str(folder / "trial"))
    return run_trial(SILENT, objective, spec, study, plan_slots("cpu", 1, 1)[0], log_to)


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
