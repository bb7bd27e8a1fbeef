"""Importances, comparisons, and how certain the winner is, on data whose answer is known."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sweep.report.comparison import comparisons
from sweep.report.importance import Importance, importances, noise_share
from sweep.report.intervals import mean_and_half_width, wilson
from sweep.report.settings import deviation, settings
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import study_spec, trial_record


def trials(points: Iterable[dict[str, Any]], score: Callable[[dict[str, Any]], float]) -> list[TrialRecord]:
    return [trial_record(number, value=score(point), params=point) for number, point in enumerate(points)]


def grid(goal: str = "maximize", **axes: list[Any]) -> tuple[StudySpec, list[dict[str, Any]]]:
    study = study_spec({**axes, "k": 1}, metric={"name": "score", "goal": goal})
    return study, [study.grid.point(number) for number in range(study.grid.size)]


def test_what_decides_everything_has_all_the_importance() -> None:
    """In a full grid the shares alone and together are equal if parameters do not interact."""
    study, points = grid(big=[1, 2, 3, 4], idle=["a", "b", "c"])
    found = importances(trials(points, lambda p: p["big"]), study)
    assert [item.name for item in found] == ["big", "idle"]
    big, idle = found
    assert (big.alone, big.low, big.high, big.together) == (1, 1, 1, 1)
    assert (idle.alone, idle.together) == (0, 0)


def test_what_matters_only_through_another_is_seen_together() -> None:
    """Which value is better depends on the other parameter: no importance alone, all of it together."""
    study, points = grid(a=[0, 1], b=[0, 1], c=[0, 1, 2])
    found = {item.name: item for item in importances(trials(points, lambda p: (p["a"] == p["b"]) + 0.001 * p["c"]), study)}
    assert found["a"].alone == found["b"].alone == 0
    assert found["a"].together == pytest.approx(found["b"].together)
    assert (found["a"].together or 0) > 0.7
    assert (found["c"].together or 1) < 0.3


@pytest.mark.slow
def test_the_intervals_of_importances_hold_what_they_promise() -> None:
    """About 95 of 100 intervals of simulated searches contain the value from 20,000 trials, also with a log scale."""
    space = {name: {"min": 1e-6, "max": 1.0, "log": name == "a"} for name in "abc"}
    study = study_spec(space, method="random", budget={"trials": 60})
    chance = random.Random(1)

    def search(count: int) -> dict[str, Importance]:
        points = [{name: chance.random() for name in "abc"} for _ in range(count)]
        return {item.name: item for item in importances(trials(points, lambda p: 3 * p["a"] + p["b"]), study)}

    truth = search(20_000)
    assert list(truth) == ["a", "b", "c"]
    assert truth["a"].alone == pytest.approx(0.9 * (1 - 1 / 25), abs=0.03)  # 9 of 10 parts, cut into five groups
    assert truth["c"].alone < 0.001
    assert all(item.together is None for item in truth.values())
    held = dict.fromkeys(truth, 0)
    for _ in range(100):
        for name, item in search(60).items():
            held[name] += item.low <= truth[name].alone <= item.high
    assert all(count >= 88 for count in held.values()), held
    assert held["a"] < 100, "an interval that always holds is too wide to say anything"


def test_a_trial_that_diverged_does_not_decide() -> None:
    """Ranks are used, so the size of the worst value does not matter."""
    study, points = grid(a=[1, 2, 3, 4], b=[1, 2, 3, 4])
    calm = importances(trials(points, lambda p: -p["a"] - 0.1 * p["b"]), study)
    wild = importances(trials(points, lambda p: -1e9 if p["a"] == p["b"] == 4 else -p["a"] - 0.1 * p["b"]), study)
    assert calm == wild


def test_nothing_is_said_of_a_handful_of_trials() -> None:
    """Nor if nothing is varied or all values are equal."""
    study, points = grid(a=[1, 2])
    assert importances(trials(points, lambda p: p["a"]), study) == []
    study, points = grid(a=[1, 2], b=[1, 2, 3])
    assert all(item.alone == 0 and not item.together for item in importances(trials(points, lambda _: 7.0), study))
    assert importances([], study_spec({"k": 1})) == []


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_values_are_compared_pair_by_pair(goal: str) -> None:
    """Differences in other parameters do not matter; the better value is named for both goals."""
    study, points = grid(goal, a=["x", "y"], b=[0, 100, 200], c=[0, 10])
    sign = 1 if goal == "maximize" else -1
    found = comparisons(trials(points, lambda p: sign * ((p["a"] == "y") + p["b"] + 0.01 * (p["c"] + p["b"]) % 3)), study)
    item = next(item for item in found if item.name == "a")
    assert (item.better, item.worse, item.pairs, item.wins, item.unit) == ("y", "x", 6, 6, "settings")
    assert item.difference == pytest.approx(1)
    assert item.clear


def test_the_interval_of_a_comparison_is_students() -> None:
    """It is over the seeds, each of which counts once for any number of settings."""
    study, points = grid(seed=[0, 1, 2], a=[0, 1], b=[0, 1])
    effect = {0: 1.0, 1: 2.0, 2: 3.0}
    found = comparisons(trials(points, lambda p: p["a"] * effect[p["seed"]] + 10 * p["b"]), study)
    item = next(item for item in found if item.name == "a")
    assert (item.over, item.unit, item.pairs) == (3, "seeds", 6)
    half = 4.303 * 1.0 / 3**0.5
    assert (item.difference, item.low, item.high) == pytest.approx((2, 2 - half, 2 + half))
    assert not item.clear
    assert [item.name for item in found] == ["a", "b"]  # the seed is no hyperparameter


def test_the_intervals_hold_what_they_promise() -> None:
    """About 95 % of the intervals of 400 simulated studies contain the known difference."""
    chance = random.Random(0)
    study, points = grid(seed=[0, 1, 2, 3, 4], a=[0, 1])
    held = 0
    for _ in range(400):
        [item] = comparisons(trials(points, lambda p: 0.5 * p["a"] + chance.gauss(0, 1)), study)
        difference = item.difference if item.better == 1 else -item.difference
        half = item.high - item.difference
        held += abs(difference - 0.5) <= half
    assert 0.92 <= held / 400 <= 0.98


def test_settings_are_ranked_by_their_mean_over_the_seeds() -> None:
    """With Student's interval, the difference to the best, and how often each comes first if the seeds are drawn again."""
    study, points = grid(seed=[0, 1, 2, 3, 4], a=["lucky", "good", "bad"])
    scores = {"lucky": [9, 1, 1, 1, 1], "good": [4, 5, 4, 5, 4], "bad": [0, 0, 1, 0, 0]}
    records = trials(points, lambda p: scores[p["a"]][p["seed"]])
    found = settings(records, study)
    assert [setting.params for setting in found] == [{"a": "good"}, {"a": "lucky"}, {"a": "bad"}]
    best = found[0]
    assert best.mean == pytest.approx(4.4)
    half = 2.776 * statistics.stdev(scores["good"]) / 5**0.5
    assert (best.low, best.high) == pytest.approx((4.4 - half, 4.4 + half))
    assert best.trials == (1, 4, 7, 10, 13)
    gaps = [one - other for one, other in zip(scores["good"], scores["lucky"], strict=True)]
    half = 2.776 * statistics.stdev(gaps) / 5**0.5
    assert best.behind is None
    assert found[1].behind is not None
    assert (found[1].behind.difference, found[1].behind.low) == pytest.approx((1.8, 1.8 - half))
    chances = [setting.chance or 0.0 for setting in found]
    assert sum(chances) == pytest.approx(1)
    # Its first seed three times or more of five (0.0579), or twice beside three 4s (0.0256), or beside two (0.0768), which ties.
    assert chances[1] == pytest.approx(0.0579 + 0.0256 + 0.0768 / 2, abs=0.012)
    assert chances[2] == 0


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_equals_share_the_first_place(goal: str) -> None:
    """Two values of a parameter without influence are equally good, whichever is listed first."""
    study, points = grid(goal, seed=[0, 1, 2, 3, 4], idle=["x", "y"])
    found = settings(trials(points, lambda p: float(p["seed"])), study)
    assert [setting.chance for setting in found] == pytest.approx([0.5, 0.5])


def test_a_setting_is_not_the_best_for_having_been_trained_most_often() -> None:
    """The settings of an unfinished study are compared by the seeds that they share."""
    study, points = grid(seed=[0, 1], a=[0, 1, 2])
    scores = {0: 0.0, 1: 5.0, 2: 3.0}
    found = settings(trials(points[:4], lambda p: scores[p["a"]]), study)
    assert [(setting.params["a"], setting.trials, setting.chance) for setting in found] == [
        (1, (1,), None),
        (2, (2,), None),
        (0, (0,), None),
    ]
    study, points = grid(seed=[0, 1, 2, 3], a=[0, 1])
    almost = [record for record in trials(points, lambda p: p["a"]) if record.number != 7]  # one of them failed
    assert [(setting.params["a"], setting.trainings) for setting in settings(almost, study)] == [(1, 3), (0, 3)]
    begun = [record for record in trials(points, lambda p: p["a"]) if record.params["a"] == 0 or record.params["seed"] == 0]
    assert [(setting.params["a"], setting.finished) for setting in settings(begun, study)] == [(0, True), (1, False)]


def test_the_same_training_twice_is_no_repetition() -> None:
    """A search over few choices draws some assignments again, with the same seed and result."""
    study = study_spec({"a": [0, 1]}, method="random", budget={"trials": 6})
    records = trials([{"a": 0}] * 5 + [{"a": 1}], lambda p: p["a"])
    found = settings(records, study)
    assert [(setting.params["a"], setting.trials, setting.low) for setting in found] == [(1, (5,), None), (0, (0,), None)]
    assert noise_share(records, study) is None
    assert deviation(records, study) is None


def test_comparisons_of_a_study_that_runs_are_not_swayed_by_what_is_missing() -> None:
    """A seed that only some settings have is not counted for these alone."""
    study, points = grid(seed=[0, 1], a=[0, 1], b=[0, 1, 2])
    records = trials(points, lambda p: 10 * p["b"] + 0.1 * p["a"] - 5 * (p["seed"] == 1 and p["a"] == 1))
    partly = [record for record in records if record.params["seed"] == 0 or record.params["b"] == 0]
    [item] = [item for item in comparisons(partly, study) if item.name == "a"]
    assert (item.better, item.wins, item.pairs, item.over, item.unit) == (1, 3, 3, 3, "settings")
    assert item.difference == pytest.approx(0.1)


def test_a_grid_of_one_parameter_is_not_called_idle() -> None:
    """If each trial has a different value, numbers are grouped and texts are left out."""
    study, points = grid(lr=[1, 2, 3, 4, 5, 6, 7, 8])
    [item] = importances(trials(points, lambda p: p["lr"]), study)
    assert item.alone > 0.5
    study, points = grid(word=list("abcdefgh"))
    assert importances(trials(points, lambda p: ord(p["word"])), study) == []


def test_huge_values_are_numbers_too() -> None:
    """They are finite, but their squares are not."""
    study, points = grid(seed=[0, 1], a=[0, 1, 2])
    records = trials(points, lambda p: (-1) ** p["seed"] * 1e300 * p["a"])
    assert len(settings(records, study)) == 3
    assert len(importances(records, study)) == 1
    comparisons(records, study)
    assert mean_and_half_width([1e308, -1e308])[0] == 0


def test_the_share_of_chance_is_what_seeds_change() -> None:
    """All of it if only the seed matters, none if it does not, and None with one seed."""
    study, points = grid(seed=[0, 1, 2, 3], a=[0, 1, 2])
    assert noise_share(trials(points, lambda p: p["a"]), study) == 0
    assert (noise_share(trials(points, lambda p: p["seed"]), study) or 0) > 0.95
    study, points = grid(a=[0, 1, 2])
    assert noise_share(trials(points, lambda p: p["a"]), study) is None


def test_only_complete_trials_count() -> None:
    """Failed, pruned and running ones are left out."""
    study, points = grid(a=[0, 1])
    states = (TrialState.FAILED, TrialState.PRUNED, TrialState.RUNNING)
    records = [trial_record(number, state, 1.0, params=points[0]) for number, state in enumerate(states)]
    assert not settings(records, study)
    assert not comparisons(records, study)
    assert not importances(records, study)


def test_the_textbooks_intervals() -> None:
    """Student's for 1 to 4 (t = 3.182, s = 1.291); Wilson's for 81 of 263, as in Newcombe 1998, table I."""
    mean, half = mean_and_half_width([1, 2, 3, 4])
    assert (mean, half) == pytest.approx((2.5, 3.182 * 1.2909944 / 2), rel=1e-4)
    assert mean_and_half_width([7.0]) == (7.0, None)
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
