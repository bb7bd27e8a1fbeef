"""Distributions of probability: values are drawn with them, searched through shares, and the same after an interruption."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from sweep.errors import StudyFileError
from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.study.file.writing import write_study
from sweep.study.space import by_shares, can_be
from sweep.study.spec import StudySpec
from tests.support.searching import asked, searched, session
from tests.support.studies import study_spec

DOMAINS: dict[str, tuple[dict[str, Any], Any]] = {
    "normal": ({"distribution": "normal", "mu": 3, "sigma": 0.5}, stats.norm(3, 0.5)),
    "log_normal": ({"distribution": "log_normal", "mu": -1, "sigma": 2}, stats.lognorm(s=2, scale=2.718281828459045**-1)),
    "beta": ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5)),
    "standard": ({"distribution": "normal"}, stats.norm()),
}
ROUNDED: dict[str, tuple[dict[str, Any], Any, float]] = {
    "normal": ({"distribution": "normal", "sigma": 4, "round": 2}, stats.norm(0, 4), 2),
    "log_normal": ({"distribution": "log_normal", "round": 0.5}, stats.lognorm(1), 0.5),
    "beta": ({"distribution": "beta", "a": 0.5, "b": 0.5, "round": 0.25}, stats.beta(0.5, 0.5), 0.25),
    "uniform": ({"min": 0, "max": 10, "round": 4}, stats.uniform(0, 10), 4),
    "log": ({"min": 1, "max": 1000, "log": True, "round": 100}, stats.loguniform(1, 1000), 100),
}
SPACE = {"n": {"distribution": "normal", "round": 0.1}, "kind": {"values": ["a", "b", 1], "probabilities": [0.2, 0.5, 0.3]}} | {
    "x": {"distribution": "beta", "a": 2, "b": 3},
    "lr": {"min": 1, "max": 500, "log": True, "round": 5},
    "y": {"min": 0.0, "max": 1.0},
}


def study_with(domain: dict[str, Any], **keys: Any) -> StudySpec:
    return study_spec({"x": domain}, **({"method": "random", "budget": {"trials": 5000}} | keys))


def draws(domain: dict[str, Any], count: int) -> list[Any]:
    """Return values as the sampler of a study draws them at random."""
    found = study_with(domain).parameters["x"]
    assert by_shares(found)
    shares = random.Random(1)
    return [found.at(shares.random()) for _ in range(count)]


@pytest.mark.parametrize("name", DOMAINS)
def test_values_have_their_distribution(name: str) -> None:
    """By a Kolmogorov-Smirnov test against SciPy's."""
    domain, expected = DOMAINS[name]
    values = draws(domain, 4000)
    assert stats.kstest(values, expected.cdf).pvalue > 0.01
    found = study_with(domain).parameters["x"]
    assert by_shares(found)
    assert all(found.share_of(value) == pytest.approx(expected.cdf(value), abs=1e-8) for value in values[:100])


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_values_have_the_frequency_of_what_is_rounded_to_them(name: str) -> None:
    """They are multiples, exactly as they are written, and ints if the multiple is an int."""
    domain, expected, multiple = ROUNDED[name]
    counts = Counter(draws(domain, 4000))
    assert all(type(value) is type(multiple) and float(f"{value:.12g}") == value for value in counts)
    assert all(round(value / multiple) * multiple == pytest.approx(value) for value in counts)
    likely = [value for value in counts if counts[value] > 20]
    assert likely
    for value in likely:
        share = expected.cdf(value + multiple / 2) - expected.cdf(value - multiple / 2)
        assert stats.binomtest(counts[value], 4000, share).pvalue > 0.001


def test_values_are_chosen_with_their_probabilities() -> None:
    """A value without probability is never drawn."""
    counts = Counter(draws({"values": ["a", "b", "c", "d"], "probabilities": [0.5, 0.3, 0, 0.2]}, 4000))
    assert set(counts) == {"a", "b", "d"}
    assert stats.chisquare([counts[value] for value in "abd"], [2000, 1200, 800]).pvalue > 0.01


def test_a_study_draws_them() -> None:
    """Each within its lowest and highest value, and no assignment twice."""
    study = study_spec(SPACE, method="random", budget={"trials": 300})
    planner = Planner(study)
    found = [asked(planner)[1] for _ in range(300)]
    assert all(can_be(study.parameters[name], value) for params in found for name, value in params.items())
    assert 0.1 < sum(params["kind"] == "a" for params in found) / 300 < 0.3
    assert sum(params["n"] < 0 for params in found) == pytest.approx(150, abs=30)
    assert len({tuple(params.items()) for params in found}) == 300


def objective(params: dict[str, Any], number: int) -> list[dict[str, float]]:
    kind = {"a": 1.0, "b": 0.5, 1: 0.0}[params["kind"]]
    far = (params["n"] - 1) ** 2 + (params["x"] - 0.3) ** 2 + kind + params["lr"] / 500 + params["y"]
    return [{"score": number / 1e6 - far}]


@pytest.mark.parametrize("method", ["random", "tpe", "cmaes", "nsgaii", pytest.param("gp", marks=pytest.mark.slow)])
def test_an_interruption_changes_no_proposal(method: str, tmp_path: Path) -> None:
    """To the last digit: a sampler sees of a trial what is stored of it."""
    keys: dict[str, Any] = {"method": method, "budget": {"trials": 50}, "enqueue": [{"n": 0.7, "x": 0.1, "lr": 25}]}
    study = study_spec(SPACE, **keys)
    whole = searched(study, objective, 24)
    folder = StudyFolder(root=tmp_path / "study")
    parts = [one for count in (7, 1, 16) for one in session(study, objective, count, folder)]
    assert parts == whole
    first = whole[0][0]
    assert (first["n"], first["x"], first["lr"]) == (0.7, 0.1, 25), "a point to try first is tried as it is written"


def test_a_search_comes_nearer() -> None:
    """TPE finds the best value of a normal distribution, which only its shares tell it."""
    study = study_with({"distribution": "normal", "mu": 0, "sigma": 3}, method="tpe")
    found = [params["x"] for params, _ in searched(study, lambda params, _: [{"score": -abs(params["x"] - 4)}], 60)]
    assert sum(abs(value - 4) for value in found[-20:]) < sum(abs(value - 4) for value in found[:20])


def test_shares_rise_with_values() -> None:
    """Over the whole range, so that neighbours are neighbours to a sampler, and each rounded value is at its share."""
    domains = [domain for domain, _ in DOMAINS.values()] + [domain for domain, _, _ in ROUNDED.values()]
    for domain in domains:
        found = study_with(domain).parameters["x"]
        assert by_shares(found)
        values = sorted({found.at(place / 1000) for place in range(1, 1000)})  # type: ignore[type-var]  # numbers
        assert all(found.share_of(one) < found.share_of(next_one) for one, next_one in pairwise(values))
        if "round" in domain:
            assert [found.at(found.share_of(value)) for value in values] == values


def test_they_are_written_as_they_are_read() -> None:
    """Into the study's folder."""
    text = write_study(study_spec(SPACE, method="random", budget={"trials": 3}))
    assert '  n: {distribution: "normal", mu: 0.0, sigma: 1.0, round: 0.1}\n' in text
    assert '  kind: {values: ["a", "b", 1], probabilities: [0.2, 0.5, 0.3]}\n' in text
    assert "  lr: {min: 1, max: 500, log: true, round: 5}\n" in text


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        ({"distribution": "normal", "min": 0}, "distribution normal has mu and sigma, not min"),
        ({"mu": 1}, "mu needs distribution: normal or log_normal"),
        ({"distribution": "normal", "sigma": 0}, "sigma must be above 0"),
        ({"distribution": "log_normal", "mu": 5000}, "its values are too large for a number"),
        ({"distribution": "beta", "round": 3}, "every value is 0 when rounded to a multiple of 3"),
        ({"values": [1, 2], "probabilities": [1]}, "has 2 values and 1 probabilities"),
        ({"values": [1, 2], "probabilities": [0.5, 0.6]}, "must sum to 1, not to 1.1"),
        ({"min": 0, "max": 1, "step": 0.1, "round": 0.1}, "has both step and round; keep one"),
        ({"min": 0, "max": 1, "round": -1}, "round must be above 0, got -1"),
        ({"min": 0, "max": 1, "probabilities": [1]}, "probabilities needs values"),
    ],
)
def test_a_wrong_distribution_is_refused(domain: dict[str, Any], message: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(StudyFileError, match=message.replace("(", r"\(")):
        study_with(domain)


def test_a_grid_has_no_distributions() -> None:
    """It needs values, each equally often."""
    with pytest.raises(StudyFileError, match="a grid needs finitely many values"):
        study_with({"distribution": "normal"}, method="grid")
    with pytest.raises(StudyFileError, match="a grid has each value equally often"):
        study_with({"values": [1, 2], "probabilities": [0.5, 0.5]}, method="grid")
