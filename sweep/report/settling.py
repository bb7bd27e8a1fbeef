"""What would settle which setting is the best: how many more seeds of the few that may be it, and the command that trains them.

The number is found by simulation: the settings' means are drawn from what is known, then results of further seeds, and what would
be known with these. The new trainings are a study of their own with other seeds. Its results selected nothing, so its means need
no correction.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweep.report.settings import Setting
from sweep.study.file.writing import flow
from sweep.study.space import Domain, can_be, domain_keys
from sweep.study.spec import SEED, StudySpec
from sweep.study.trial import Scalar

_MOST = 6  # settings that are trained again
_SEEDS = (2, 3, 5, 8, 12, 20)
_DRAWS = 2_000
_SURE, _MOSTLY = 0.95, 0.8
_FIRST = (5, 3)  # settings and seeds, where nothing is known about chance
STUDY = "STUDY"  # stands for the study file in a command


@dataclass(frozen=True, kw_only=True)
class Settling:
    """An added stage that would settle which setting is the best.

    Attributes:
        settings: that are trained again.
        seeds: of each; the largest number that was tried if even that would hardly settle it.
        settles: how probable it is that the best is then known with 95 %; None where nothing is known about chance.
        command: that trains them, with `STUDY` for the study file.
    """

    settings: tuple[Setting, ...]
    seeds: int
    settles: float | None
    command: str

    @property
    def worthwhile(self) -> bool:
        """Return whether it will probably settle it, as far as that is known."""
        return self.settles is None or self.settles >= _MOSTLY


def settling(found: Sequence[Setting], study: StudySpec, deviation: float | None) -> Settling | None:
    """Return what would settle which setting is the best; None if it is settled, or if there is nothing to settle.

    Args:
        found: the settings, the best first.
        study: whose settings.
        deviation: between trainings of one setting; None if it is unknown.
    """
    compared = [one for one in found if one.finished]
    if len(compared) < 2 or study.start is not None:  # further seeds would have to go back to the beginning of the first study
        return None
    if deviation is None or any(one.expected is None for one in compared):
        some = tuple(compared[: _FIRST[0]])
        return Settling(settings=some, seeds=_FIRST[1], settles=None, command=command(some, _FIRST[1], study))
    if compared[0].chance is not None:
        contenders = sorted((one for one in compared if one.contender), key=lambda one: -(one.chance or 0.0))
    else:  # trained once: those that chance can have put behind
        reach = 2 * math.sqrt(2) * deviation
        contenders = [one for one in compared if abs(one.mean - compared[0].mean) <= reach]
    if len(contenders) < 2:
        return None
    some = tuple(contenders[:_MOST])
    seeds, settles = _SEEDS[-1], 0.0
    for seeds in _SEEDS:
        settles = _settled(some, seeds, deviation, study.metric.sign)
        if settles >= _MOSTLY:
            break
    stage = Settling(settings=some, seeds=seeds, settles=settles, command="")
    # What no stage will settle, a small one still shows.
    return replace(stage, command=command(some, seeds if stage.worthwhile else _FIRST[1], study))


def command(some: Sequence[Setting], seeds: int, study: StudySpec) -> str:
    """Return the command that trains only these settings, with other seeds than before, as another study."""
    points = [{name: _short(value, study.parameters[name]) for name, value in one.params.items()} for one in some]
    words = [f"name={study.name}-settled", "method=random", f"enqueue={flow(points)}", f"budget.trials={len(points)}"]
    words += [f"repeats={seeds}", f"seed={study.seed + 1}"]
    if SEED in study.parameters:  # it cannot be combined with repeats
        kept = {name: domain_keys(domain) for name, domain in study.parameters.items() if name != SEED}
        words.insert(1, f"parameters={flow(kept)}")
    return " ".join(["sweep run", STUDY, *(shlex.quote(word) for word in words)])


def _short(value: Scalar, domain: Domain) -> Scalar:
    """Return a value with six digits, if the parameter can then have it."""
    short = float(f"{value:.6g}") if isinstance(value, float) else value
    return short if can_be(domain, short) else value


def _settled(some: Sequence[Setting], seeds: int, deviation: float, sign: int) -> float:
    """Return how probable it is that the best setting is known with 95 % after this many further seeds of each."""
    random = np.random.default_rng(0)
    scale = deviation or 1e-12
    expected = np.array([sign * (one.expected or 0.0) / scale for one in some])
    expected -= expected[0]
    had = np.array([float(one.trainings) for one in some])
    true = expected + random.standard_normal((_DRAWS, len(some))) / np.sqrt(had)
    new = true + random.standard_normal(true.shape) / math.sqrt(seeds)
    known = (had * expected + seeds * new) / (had + seeds)
    best = known.argmax(axis=1)
    lead = known[np.arange(_DRAWS), best][:, None] - known
    spread = np.sqrt(1 / (had + seeds) + (1 / (had + seeds))[best][:, None])
    losing = 0.5 * np.vectorize(math.erfc, otypes=[float])(lead / spread / math.sqrt(2))
    losing[np.arange(_DRAWS), best] = 0.0
    return float((losing.sum(axis=1) <= 1 - _SURE).mean())
