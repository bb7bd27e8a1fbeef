"""Importances, comparisons, and how certain the winner is, on data whose answer is known."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sweep.report.comparison import comparisons
from sweep.report.importance import Importance, influence, noise_share
from sweep.report.intervals import mean_and_half_width, wilson
from sweep.report.settings import deviation, settings
from sweep.study.record import TrialRecord
from sweep.study.repeats import trial_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.support.studies import run_record, study_spec, trial_record


def trials(points: Iterable[dict[str, Any]], score: Callable[[dict[str, Any]], float]) -> list[TrialRecord]:
    return [trial_record(number, value=score(point), params=point) for number, point in enumerate(points)]


def grid(goal: str = "maximize", **axes: list[Any]) -> tuple[StudySpec, list[dict[str, Any]]]:
    study = study_spec({**axes, "k": 1}, metric={"name": "score", "goal": goal})
    return study, [study.grid.point(number) for number in range(study.grid.size)]


def test_what_decides_everything_has_all_the_importance() -> None:
    """In a full grid without chance the shares are exact."""
    study, points = grid(big=[1, 2, 3, 4], idle=["a", "b", "c"])
    found = influence(trials(points, lambda p: p["big"]), study).importances
    assert [item.name for item in found] == ["big", "idle"]
    big, idle = found
    assert (big.share, big.low, big.high) == (1, 1, 1)
    assert idle.share == idle.low == 0


def test_what_matters_only_through_another_is_named_as_a_pair() -> None:
    """Which value is better depends on the other parameter: no importance alone, nearly all of it as a pair."""
    study, points = grid(a=[0, 1], b=[0, 1], c=[0, 1, 2])
    chance = random.Random(1)
    found = influence(trials(points, lambda p: (p["a"] == p["b"]) + 0.01 * chance.gauss(0, 1)), study)
    shares = {item.name: item for item in found.importances}
    assert shares["a"].low == shares["b"].low == 0
    [pair] = found.interplays
    assert pair.names == ("a", "b")
    assert pair.share.value > 0.6
    assert pair.scores[0][0] is not None
    assert pair.scores[0][1] is not None
    assert pair.scores[0][0] > pair.scores[0][1] + 0.9


def test_the_twelve_trainings_of_the_first_study_show_what_is_in_them() -> None:
    """Learning rate and batch size matter through each other, and nothing is said of shuffling."""
    study, points = grid(lr=[0.01, 0.001], batch_size=[32, 64, 128], shuffle=[True, False])
    accuracies = [0.8496, 0.8566, 0.8666, 0.8576, 0.8712, 0.8714, 0.8852, 0.8804, 0.8782, 0.8710, 0.8572, 0.8602]
    found = influence(trials(points, lambda p: accuracies[points.index(p)]), study)
    [pair] = found.interplays
    assert pair.names == ("lr", "batch_size")
    assert 0.6 < pair.share.value < 0.8
    assert 0 < pair.share.low < 0.5
    assert max(item.low for item in found.importances) < 0.05
    [best, *_] = settings(trials(points, lambda p: accuracies[points.index(p)]), study, found.once)
    assert best.expected is not None
    assert 0.87 < best.expected < best.mean, "the luck of being selected is taken off"


@pytest.mark.slow
def test_the_intervals_of_importances_hold_what_they_promise() -> None:
    """About 95 of 100 intervals of simulated searches contain the value from 20,000 trials, also with a log scale."""
    space = {name: {"min": 1e-6, "max": 1.0, "log": name == "a"} for name in "abc"}
    study = study_spec(space, method="random", budget={"trials": 60})
    chance = random.Random(1)

    def search(count: int) -> dict[str, Importance]:
        points = [{name: chance.random() for name in "abc"} for _ in range(count)]
        return {item.name: item for item in influence(trials(points, lambda p: 3 * p["a"] + p["b"]), study).importances}

    truth = search(20_000)
    assert list(truth) == ["a", "b", "c"]
    assert truth["a"].share == pytest.approx(0.9, abs=0.03)
    assert truth["c"].share < 0.001
    held = dict.fromkeys(truth, 0)
    for _ in range(100):
        for name, item in search(60).items():
            held[name] += item.low - 1e-3 <= truth[name].share <= item.high
    assert all(count >= 88 for count in held.values()), held


def test_a_trial_that_diverged_does_not_decide() -> None:
    """Ranks are used, so the size of the worst value does not matter."""
    study, points = grid(a=[1, 2, 3, 4], b=[1, 2, 3, 4])
    calm = influence(trials(points, lambda p: -p["a"] - 0.1 * p["b"]), study).importances
    wild = influence(trials(points, lambda p: -1e9 if p["a"] == p["b"] == 4 else -p["a"] - 0.1 * p["b"]), study).importances
    assert [(item.name, item.share) for item in calm] == [(item.name, item.share) for item in wild]


def test_nothing_is_said_of_a_handful_of_trials() -> None:
    """Nor if nothing is varied or all values are equal."""
    study, points = grid(a=[1, 2])
    assert influence(trials(points, lambda p: p["a"]), study).importances == ()
    study, points = grid(a=[1, 2], b=[1, 2, 3])
    assert all(item.share == 0 for item in influence(trials(points, lambda _: 7.0), study).importances)
    assert influence([], study_spec({"k": 1})).importances == ()


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
    """With what is expected of each again, the difference to the best, and how probable it is that each is the best."""
    study, points = grid(seed=[0, 1, 2, 3, 4], a=["lucky", "good", "bad"])
    scores = {"lucky": [9, 1, 1, 1, 1], "good": [4, 5, 4, 5, 4], "bad": [0, 0, 1, 0, 0]}
    records = trials(points, lambda p: scores[p["a"]][p["seed"]])
    found = settings(records, study)
    assert [setting.params for setting in found] == [{"a": "good"}, {"a": "lucky"}, {"a": "bad"}]
    best = found[0]
    assert best.mean == pytest.approx(4.4)
    assert best.low is not None
    assert best.high is not None
    assert best.low < 4.4 < best.high
    assert best.trials == (1, 4, 7, 10, 13)
    assert best.behind is None
    assert found[1].behind is not None
    assert found[1].behind.difference == pytest.approx(1.8)
    assert not found[1].behind.clear
    chances = [setting.chance or 0.0 for setting in found]
    assert sum(chances) == pytest.approx(1)
    assert chances[0] > 0.8 > chances[1] > chances[2]
    assert best.loss is not None
    assert found[1].loss is not None
    assert best.loss < found[1].loss


def test_a_clear_difference_is_clear_and_chance_is_not() -> None:
    """Of settings that differ by far more than seeds do, the best is certain, and all others are behind."""
    study, points = grid(seed=[0, 1, 2], a=[0, 1, 2, 3])
    best, *others = settings(trials(points, lambda p: 10 * p["a"] + 0.1 * ((p["seed"] * 7 + p["a"] * 3) % 5)), study)
    assert best.params == {"a": 3}
    assert (best.chance, best.contender) == (1, True)
    assert all(one.behind and one.behind.clear and not one.contender for one in others)


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_failed_trial_is_never_the_best(allowed: int) -> None:
    """Its complete runs are no results. A trial that may lose a run says so."""
    study = study_spec({"a": [0, 1]}, repeats={"count": 3, "allow_failed": allowed})
    values: dict[int, list[float | None]] = {0: [1.0, 1.1, 1.2], 1: [5.0, 5.1, None]}
    records = []
    for a, scores in values.items():
        states = [TrialState.FAILED if value is None else TrialState.COMPLETE for value in scores]
        runs = [run_record(study, a, {"a": a}, value, repeat=n, state=states[n]) for n, value in enumerate(scores)]
        records.append(trial_of(runs, study))
    best, *_ = settings(records, study)
    if allowed:
        assert (best.params, best.trainings, best.failed) == ({"a": 1}, 2, 1)
    else:
        assert (best.params, best.failed) == ({"a": 0}, 0)
        assert len(settings(records, study)) == 1


def test_a_missing_seed_does_not_make_a_setting_better() -> None:
    """The means are those at an average seed: the seed that one setting lacks was a bad one."""
    study, points = grid(seed=[0, 1, 2, 3, 4], a=[0, 1, 2])
    records = trials(points, lambda p: 0.1 * p["a"] - (5 if p["seed"] == 4 else 0) + 0.01 * ((p["seed"] + p["a"]) % 2))
    partly = [record for record in records if not (record.params["seed"] == 4 and record.params["a"] == 0)]
    found = settings(partly, study)
    assert [(one.params["a"], one.trainings) for one in found] == [(2, 5), (1, 5), (0, 4)]
    assert found[2].mean == pytest.approx(found[1].mean - 0.1, abs=0.02)


def test_what_failed_counts_as_the_worst() -> None:
    """The parameter that trials fail by explains that they failed."""
    study = study_spec({"lr": {"min": 0.0, "max": 1.0}, "idle": {"min": 0.0, "max": 1.0}}, method="random", budget={"trials": 40})
    chance = random.Random(2)
    records = []
    for number in range(40):
        params = {"lr": chance.random(), "idle": chance.random()}
        lost = params["lr"] > 0.5
        value = None if lost else chance.random()
        records.append(trial_record(number, TrialState.FAILED if lost else TrialState.COMPLETE, value, params=params))
    [first, second] = influence(records, study).importances
    assert first.name == "lr"
    assert first.low > 0.3
    assert second.low == 0


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_equals_share_the_first_place(goal: str) -> None:
    """Two values of a parameter without influence are equally good, whichever is listed first."""
    study, points = grid(goal, seed=[0, 1, 2, 3, 4], idle=["x", "y"])
    found = settings(trials(points, lambda p: float(p["seed"])), study)
    assert [setting.chance for setting in found] == pytest.approx([0.5, 0.5], abs=0.03)


def test_a_setting_is_not_the_best_for_having_been_trained_most_often() -> None:
    """The settings of an unfinished study are compared by the seeds that they share."""
    study, points = grid(seed=[0, 1], a=[0, 1, 2])
    scores = {0: 0.0, 1: 5.0, 2: 3.0}
    found = settings(trials(points[:4], lambda p: scores[p["a"]]), study)
    assert [setting.params["a"] for setting in found] == [1, 2, 0]
    study, points = grid(seed=[0, 1, 2, 3], a=[0, 1])
    almost = [record for record in trials(points, lambda p: p["a"]) if record.number != 7]  # one of them failed
    assert [(setting.params["a"], setting.trainings) for setting in settings(almost, study)] == [(1, 3), (0, 4)]
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
    [item] = influence(trials(points, lambda p: p["lr"]), study).importances
    assert item.share > 0.5
    study, points = grid(word=list("abcdefgh"))
    assert influence(trials(points, lambda p: ord(p["word"])), study).importances == ()


def test_huge_values_are_numbers_too() -> None:
    """They are finite, but their squares are not."""
    study, points = grid(seed=[0, 1], a=[0, 1, 2])
    records = trials(points, lambda p: (-1) ** p["seed"] * 1e300 * p["a"])
    assert len(settings(records, study)) == 3
    assert len(influence(records, study).importances) == 1
    comparisons(records, study)
    assert mean_and_half_width([1e308, -1e308])[0] == 0


def test_the_share_of_chance_is_what_seeds_change() -> None:
    """All of it if only the seed matters, none if it does not, and None with one seed."""
    study, points = grid(seed=[0, 1, 2, 3], a=[0, 1, 2])
    assert noise_share(trials(points, lambda p: p["a"]), study) == 0
    assert (noise_share(trials(points, lambda p: p["seed"]), study) or 0) > 0.95
    study, points = grid(a=[0, 1, 2])
    assert noise_share(trials(points, lambda p: p["a"]), study) is None


def test_only_complete_trials_have_results() -> None:
    """Failed, pruned and running ones are no settings, and in no pair."""
    study, points = grid(a=[0, 1])
    states = (TrialState.FAILED, TrialState.PRUNED, TrialState.RUNNING)
    records = [trial_record(number, state, 1.0, params=points[0]) for number, state in enumerate(states)]
    assert not settings(records, study)
    assert not comparisons(records, study)
    assert not influence(records, study).importances


def test_many_values_are_compared_together() -> None:
    """The best of four values was chosen by its results, so its intervals are wider."""
    study, points = grid(a=[0, 1, 2, 3], b=[0, 1, 2, 3, 4, 5])
    scores = random.Random(3)
    found = [item for item in comparisons(trials(points, lambda _: scores.gauss(0, 1)), study) if item.name == "a"]
    assert len(found) == 3
    assert all(item.together for item in found)
    study, points = grid(a=[0, 1, 2], b=[0, 1, 2, 3, 4, 5])
    alone = [item for item in comparisons(trials(points, lambda _: scores.gauss(0, 1)), study) if item.name == "a"]
    assert not any(item.together for item in alone)
    assert min(item.high - item.difference for item in found) > 0


def test_the_textbooks_intervals() -> None:
    """Student's for 1 to 4 (t = 3.182, s = 1.291); Wilson's for 81 of 263, as in Newcombe 1998, table I."""
    mean, half = mean_and_half_width([1, 2, 3, 4])
    assert (mean, half) == pytest.approx((2.5, 3.182 * 1.2909944 / 2), rel=1e-4)
    assert mean_and_half_width([7.0]) == (7.0, None)
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_a_conditional_parameter_is_measured_within_its_condition() -> None:
    """By the trials that have it; the others say nothing about it."""
    space = {
        "kind": {"values": ["plain", "momentum"]},
        "momentum": {"min": 0.0, "max": 1.0, "when": {"kind": "momentum"}},
        "idle": {"min": 0.0, "max": 1.0},
    }
    study = study_spec(space, method="random", budget={"trials": 60})
    chance = random.Random(4)
    records = []
    for number in range(60):
        params: dict[str, Any] = {"kind": chance.choice(["plain", "momentum"]), "idle": chance.random()}
        if params["kind"] == "momentum":
            params["momentum"] = chance.random()
        records.append(trial_record(number, value=5 * params.get("momentum", 0.5) + chance.gauss(0, 0.3), params=params))
    found = {item.name: item for item in influence(records, study).importances}
    assert found["momentum"].low > 0.5
    assert found["idle"].low == 0
