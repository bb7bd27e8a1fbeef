"""Which setting is the best, and how certain that is: a hierarchical normal model of settings and seeds.

A training's value is the mean of its setting, plus an effect of its seed that all settings share, plus chance:

- The settings' means are normal around a common mean. The width of that distribution is estimated, so settings that hardly
  differ are drawn together: this takes the luck of being selected off the best one (Efron & Morris 1975; Gelman et al., Bayesian
  Data Analysis, chapter 5).
- The variance of chance may differ between settings. With few seeds it is drawn towards a common one, as far as the settings'
  own variances agree (Smyth 2004).
- Where a seed is missing, the means are those of the two-way model, so that a setting is not better for its easy seeds.

The posterior is drawn directly, with fixed random numbers: first the variances, then the width on a grid, then the means. Who is
behind is Hsu's comparison with the best (1984), with the quantile of the studentised range: with Dunnett's smaller one, some of
twelve settings without any difference would be called behind in a quarter of all studies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
_DRAWS = 4_000
_VARIANCES = 500  # draws of the variances, each with several of the means
_WIDTHS = 32
_JOINTLY = 40  # settings; with more the weights of the draws degenerate, and each draw of the variances counts as much
_FREEDOMS = np.array([3.0, 6.0, 12.0, 25.0, 50.0, math.inf])  # of the settings' common variance; infinite: all are equal
_SURE = 0.95
_TOGETHER = 0.975  # of the settings' differences to the best: more, because their variances may differ and are poorly known
_EQUAL = 0.1  # the prior probability that the settings do not differ
# The setting with the best mean is hardly ever better than its upper end, so less of the posterior holds it with 95 %.
_OF_THE_BEST = (0.035, 0.97)
_NO_SEEDS = 0.5  # the prior probability that seeds have no effect that all settings share
_CELLS = 5_000_000  # of an array


@dataclass(frozen=True, kw_only=True)
class Chance:
    """The variance between trainings of one setting, and its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True, kw_only=True)
class TwoWay:
    """The two-way model of settings and seeds.

    Attributes:
        means: of the settings, at an average seed.
        residuals: as the values; 0 where a training is missing.
        freedom: of the residuals.
        between: the sum of squares of the seeds, with its degrees of freedom.
    """

    means: Floats
    residuals: Floats
    freedom: int
    between: tuple[float, int]


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What is known about the settings' means, for each setting.

    Attributes:
        means: observed, at an average seed.
        expected: what further trainings will give on average; `low` and `high` are its 95 % interval, selection included.
        chances: the probability that the setting is the best.
        losses: by how much it is worse than the best, on average: what choosing it costs.
        contenders: whether it is in the smallest set that holds the best with 95 %.
        behind_low, behind_high: the simultaneous 95 % intervals of how far it is behind the one with the best mean.
    """

    means: Floats
    expected: Floats
    low: Floats
    high: Floats
    chances: Floats
    losses: Floats
    contenders: np.ndarray[Any, np.dtype[np.bool_]]
    behind_low: Floats
    behind_high: Floats


def two_way(values: Floats) -> TwoWay:
    """Fit the two-way model to values by setting and seed, NaN where a training is missing.

    Seeds count as blocks only if they connect the settings; if each setting has its own seeds, their effects are chance.
    """
    known = ~np.isnan(values)
    filled, each = np.where(known, values, 0.0), known.sum(axis=1)
    means = filled.sum(axis=1) / each
    centred = np.where(known, values - means[:, None], 0.0)
    alone = int(known.sum()) - len(values)
    plain = TwoWay(means=means, residuals=centred, freedom=alone, between=(0.0, 0))
    if len(values) < 2 or not alone:
        return plain
    counts = known.sum(axis=0)
    normal = np.diag(counts.astype(float)) - (known / each[:, None]).T @ known
    effects = np.linalg.pinv(normal, rcond=1e-9, hermitian=True) @ centred.sum(axis=0)
    freedom = int(np.linalg.matrix_rank(normal, tol=1e-9 * len(values), hermitian=True))
    if 2 * (alone - freedom) < alone:
        return plain
    effects = effects - effects.mean()
    means = (np.where(known, values - effects, 0.0)).sum(axis=1) / each
    residuals = np.where(known, values - means[:, None] - effects, 0.0)
    between = max(0.0, float((centred**2).sum() - (residuals**2).sum()))
    return TwoWay(means=means, residuals=residuals, freedom=alone - freedom, between=(between, freedom))


def posterior(values: Floats, chance: Chance | None = None) -> Posterior:
    """Return what is known about the settings' means.

    Args:
        values: by setting and seed, larger is better, NaN where a training is missing; at least one of each setting.
        chance: where it is known from elsewhere, for settings that were trained once.

    Raises:
        ValueError: there is one training of each setting, and the variance of chance is not given.
    """
    size = float(np.nanmax(np.abs(values))) or 1.0  # squares of huge values overflow
    centre = float(np.nanmean(values / size)) * size
    scaled = values / size - centre / size
    model = two_way(scaled)
    if chance is not None:
        chance = Chance(variance=chance.variance / size / size, freedom=chance.freedom)
    elif not model.freedom:
        raise ValueError("there is one training of each setting: chance cannot be estimated")
    random = np.random.default_rng(0)
    each = (~np.isnan(scaled)).sum(axis=1)
    floor = 1e-24 + 1e-20 * float(np.ptp(model.means)) ** 2
    count = max(50, min(_VARIANCES, _CELLS // (_WIDTHS * len(values))))
    variances = np.maximum(_variances(model, each, chance, random, count), floor)
    errors = variances / each
    drawn, mixed = _means(model.means, errors, random)
    common = _seed_shift(model, float(variances.mean()), scaled, random, len(drawn))
    best = np.argmax(drawn, axis=1)
    chances = np.bincount(best, minlength=len(values)) / len(drawn)
    low, high = np.quantile(mixed + common[:, None], (0.025, 0.975), axis=0)
    first = int(np.argmax(model.means))
    low[first], high[first] = np.quantile(mixed[:, first] + common, _OF_THE_BEST)
    order = np.argsort(-chances, kind="stable")
    inside = np.zeros(len(values), dtype=bool)
    inside[order[: int(np.searchsorted(np.cumsum(chances[order]), _SURE - 1e-9)) + 1]] = True
    difference, margin = _behind(model.means, errors, random)
    return Posterior(
        means=model.means * size + centre,
        expected=mixed.mean(axis=0) * size + centre,
        low=low * size + centre,
        high=high * size + centre,
        chances=chances,
        losses=(drawn.max(axis=1)[:, None] - drawn).mean(axis=0) * size,
        contenders=inside,
        behind_low=(difference - margin) * size,
        behind_high=(difference + margin) * size,
    )


def _variances(model: TwoWay, each: Floats, chance: Chance | None, random: np.random.Generator, count: int) -> Floats:
    """Return draws of the variance of chance, by draw and setting."""
    settings = len(each)
    if chance is not None:
        equal = chance.variance * chance.freedom / random.chisquare(chance.freedom, count)
        return np.repeat(equal[:, None], settings, axis=1)
    own = (model.residuals**2).sum(axis=1)
    freedom = (each - 1) * model.freedom / max(1, int((each - 1).sum()))
    pooled = float(own.sum()) / model.freedom
    if settings < 3 or pooled == 0:
        return np.repeat((model.freedom * pooled / random.chisquare(model.freedom, count))[:, None], settings, axis=1)
    centres = pooled * np.exp(np.linspace(-2.5, 1.5, 41))
    weights = np.array([[_agreement(own, freedom, about, prior) for prior in _FREEDOMS] for about in centres])
    weights = np.exp(weights - weights.max())
    cells = random.choice(weights.size, count, p=(weights / weights.sum()).ravel())
    about = centres[cells // len(_FREEDOMS)] * np.exp((random.random(count) - 0.5) * 0.1)
    prior = _FREEDOMS[cells % len(_FREEDOMS)]
    finite = np.where(np.isinf(prior), 1e6, prior)[:, None]
    drawn: Floats = (finite * about[:, None] + own) / random.chisquare(finite + freedom)
    return drawn


def _agreement(own: Floats, freedom: Floats, about: float, prior: float) -> float:
    """Return the log likelihood of the settings' sums of squares if their variances are scaled inverse chi-square."""
    if math.isinf(prior):
        return float((-0.5 * freedom * math.log(about) - 0.5 * own / about).sum())
    half = (prior + freedom) / 2
    shape = sum(math.lgamma(each) - math.lgamma(prior / 2) for each in half)
    scale = 0.5 * prior * math.log(prior * about / 2) - half * np.log((prior * about + own) / 2)
    return shape + float(scale.sum())


def _means(means: Floats, errors: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return draws of the settings' means given draws of their errors' variances, by draw and setting.

    The first draws are from what is known if the settings differ, the second from what is known if they may also be equal.
    """
    settings = len(means)
    if settings == 1:
        drawn = means + np.sqrt(np.repeat(errors, _DRAWS // len(errors), axis=0)) * random.standard_normal((_DRAWS, 1))
        return drawn, drawn
    typical = math.sqrt(float(np.median(errors)))
    most = 3 * float(np.std(means)) * math.sqrt(settings / (settings - 1)) + 3 * typical
    widths = np.geomspace(min(0.05 * typical, 0.01 * most), most * (1 if settings > 3 else 3), _WIDTHS)
    precision = 1 / (np.append(0.0, widths)[None, :, None] ** 2 + errors[:, None, :])
    total = precision.sum(axis=2)
    centre = (precision * means).sum(axis=2) / total
    fit = 0.5 * np.log(precision).sum(axis=2) - 0.5 * np.log(total)
    fit -= 0.5 * (precision * (means - centre[:, :, None]) ** 2).sum(axis=2)
    # The prior of the width is uniform, on a grid of equal ratios; the first one is that of no difference.
    fit += np.log(np.append(_EQUAL, (1 - _EQUAL) * widths / widths.sum()))
    weights = np.exp(fit - (fit.max() if settings <= _JOINTLY else fit.max(axis=1, keepdims=True)))
    if settings > _JOINTLY:
        weights /= weights.sum(axis=1, keepdims=True)
    equal = float(weights[:, 0].sum() / weights.sum())
    differ = weights[:, 1:]
    cells = random.choice(differ.size, _DRAWS, p=(differ / differ.sum()).ravel()) if differ.sum() > 0 else np.zeros(_DRAWS, int)
    draw, width = cells // _WIDTHS, cells % _WIDTHS
    middle = centre[draw, width + 1] + random.standard_normal(_DRAWS) / np.sqrt(total[draw, width + 1])
    between = widths[width][:, None] ** 2
    error = errors[draw]
    spread = np.sqrt(error * between / (error + between))
    expected = (means * between + middle[:, None] * error) / (error + between)
    drawn = expected + spread * random.standard_normal((_DRAWS, settings))
    share = weights[:, 0] / weights[:, 0].sum() if equal > 0 else np.full(len(errors), 1 / len(errors))
    draw = random.choice(len(errors), _DRAWS, p=share)
    common = centre[draw, 0] + random.standard_normal(_DRAWS) / np.sqrt(total[draw, 0])
    return drawn, np.where((random.random(_DRAWS) < equal)[:, None], common[:, None], drawn)


def _seed_shift(model: TwoWay, chance: float, values: Floats, random: np.random.Generator, count: int) -> Floats:
    """Return draws of how far the seeds that were drawn are from an average seed, which moves all settings' means alike."""
    between, freedom = model.between
    if not freedom or chance <= 0:
        return np.zeros(count)
    seeds, settings = values.shape[1], float((~np.isnan(values)).sum(axis=0).mean())
    # A part of the prior is at no effect of the seeds; the rest is uniform in the logarithm of the mean square.
    scales = chance * np.append(1.0, np.geomspace(1.05, 1e4, 100))
    fit = -0.5 * freedom * np.log(scales) - 0.5 * between / scales
    weights = np.exp(fit - fit.max()) * np.append(_NO_SEEDS, np.full(100, (1 - _NO_SEEDS) / 100))
    drawn = random.choice(scales, count, p=weights / weights.sum())
    shift: Floats = np.sqrt((drawn - chance) / settings / seeds) * random.standard_normal(count)
    return shift


def _behind(means: Floats, errors: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Return how far each setting is behind the best mean, and the simultaneous margin of that."""
    typical = 1 / (1 / errors).mean(axis=0)
    count = max(len(errors), min(_DRAWS, _CELLS // len(means)) // len(errors) * len(errors))
    chance = np.tile(np.sqrt(errors / typical), (count // len(errors), 1)) * random.standard_normal((count, len(means)))
    quantile = float(np.quantile(np.ptp(chance, axis=1), _TOGETHER)) / math.sqrt(2)
    best = int(np.argmax(means))
    difference = means[best] - means
    margin = quantile * np.sqrt(typical + typical[best])
    margin[best] = 0.0
    return difference, margin
