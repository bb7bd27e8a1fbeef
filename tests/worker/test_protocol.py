"""What workers send: the runner unpickles events, and nothing of the user's."""

from __future__ import annotations

import collections
import os
import pickle
from typing import Any

import pytest

from sweep.study.trial import Position, Report, TrialResult, TrialSpec, TrialState
from sweep.worker.protocol import (
    Died,
    Load,
    Loaded,
    LoadFailed,
    Prepared,
    PrepareFailed,
    Progress,
    Resumed,
    belongs,
    unpacked,
)

KEY = 3, 0, 2
EVENTS = [
    Loaded(prepare=True),
    LoadFailed(reason="why", traceback="where"),
    Progress(text="half", fraction=0.5),
    Prepared(),
    PrepareFailed(id="a", what="b"),
    Resumed(position=Position(step=2, metrics={"loss": 1.5}, history=((1, None), (2, 1.5))), key=KEY),
    Report(step=2, metrics={"loss": 1}, key=KEY),
    TrialResult(state=TrialState.FAILED, metrics={}, error="why", key=KEY),
    Died(exit_code=-9),
]


class Mine(float):
    """A class of the user's."""


class Runs:
    """A pickle that runs something."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_is_read(event: Any) -> None:
    """As it was sent, with the attempt that it comes from."""
    found = unpacked(pickle.dumps(event))
    assert found == event
    assert getattr(found, "key", None) == getattr(event, "key", None)


@pytest.mark.parametrize("value", [Mine(1), Runs(), collections.OrderedDict(), print, TrialState], ids=lambda v: repr(v)[:20])
def test_nothing_else_is_unpickled(value: Any, here: object) -> None:
    """Not in an event, nor alone; and nothing runs."""
    for sent in (value, Report(step=1, metrics={"loss": value})):
        if value is not TrialState:  # an enum that events have; alone it is no event
            with pytest.raises(pickle.UnpicklingError):
                unpacked(pickle.dumps(sent))
    with pytest.raises(pickle.UnpicklingError, match="no event"):
        unpacked(pickle.dumps({"step": 1}))
    assert not os.path.exists("pwned")  # noqa: PTH110  # one name


def test_an_event_of_another_attempt_does_not_belong() -> None:
    """To the one that was started; what comes from no attempt, and what answers no trial, always does."""
    spec = TrialSpec(number=3, params={}, seed=1, dir="", attempt=2)
    assert belongs(Report(step=1, metrics={}, key=KEY), spec)
    assert belongs(Died(exit_code=1), spec)
    assert belongs(Report(step=1, metrics={}), spec)
    for key in ((2, 0, 2), (3, 1, 2), (3, 0, 1)):
        assert not belongs(Report(step=1, metrics={}, key=key), spec)
        assert belongs(Report(step=1, metrics={}, key=key), Load())


def test_a_preparations_words_become_plain() -> None:
    """Whatever it yields."""
    found = Progress.of(Progress(text=pickle, fraction=Mine(0.5)))  # type: ignore[arg-type]  # what a user may do
    assert (type(found.text), type(found.fraction)) == (str, float)
    assert Progress.of(7) == Progress(text="7")
