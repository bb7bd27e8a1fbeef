"""A tenth of the calibration: the statements hold what they say, within what chance does to so few studies."""

from __future__ import annotations

import pytest

from tests.benchmarks.calibration import PARTS, measure

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("part", PARTS)
def test_statements_are_as_often_true_as_they_say(part: str) -> None:
    """In synthetic studies with known truth."""
    lines = list(measure(quick=True, only=part))
    assert lines or part == "sure"
    missed = [line for line in lines if not line.holds(widened=True)]
    assert not missed, missed
