"""The report's conclusions as sentences: what is best, how sure that is, which values matter and which do not."""

from __future__ import annotations

from collections.abc import Iterator

from sweep.analysis import Comparison
from sweep.report.facts import Facts, Measured
from sweep.study import SEED
from sweep.wording import number_text, param_text, params_text


def certainty(facts: Facts) -> list[str]:
    """Say how sure it is that the best setting is the best."""
    return list(_repeated(facts) if facts.repeated else _single(facts))


def _repeated(facts: Facts) -> Iterator[str]:
    best, *others = facts.settings
    seeds = len(best.trials)
    if best.low is not None and best.high is not None:
        yield (
            f"Mean of {seeds} trainings with different seeds: {number_text(best.mean)} (95 % interval {number_text(best.low)} to"
            f" {number_text(best.high)}). Two trainings of one setting differ by about {_plain(facts.deviation)} (standard"
            " deviation)."
        )
    if best.chance is not None and others:
        follower = max(others, key=lambda setting: setting.chance or 0.0)
        second = f"; next comes {params_text(follower.params)} with {follower.chance or 0:.0%}"
        yield (
            f"When the seeds are drawn again it comes first in {best.chance:.0%} of the draws"
            f"{second if follower.chance else ', and no other ever does'}."
        )
    if best.chance is not None and best.chance < 0.95:
        yield "That is not enough to call it the winner: train the leaders with more seeds."


def _single(facts: Facts) -> Iterator[str]:
    values = [setting.mean for setting in facts.settings]
    if len(values) > 1:
        gap, spread = _plain(abs(values[0] - values[1])), _plain(abs(values[0] - _median(values)))
        yield f"The next best is {gap} behind, the median {spread}."
    how = f"sweep run STUDY name={facts.study.name}-seeds {SEED}.values='[0, 1, 2]'"
    if facts.study.method != "grid":
        how = f"a grid of the best few settings, and {SEED}: {{values: [0, 1, 2]}}"
    yield (
        f"Each setting was trained once, so merit is not told apart from luck. To measure luck, train with several seeds: {how}."
    )
    if len(values) > 2:
        yield (
            f"The best of {len(values)} is flattered by having been chosen by this very value; metrics that chose nothing, such"
            " as those of a test set, are not."
        )


def measured(item: Measured) -> str:
    """Say how sure a metric of the best setting is."""
    if item.low is None or item.high is None:
        return "one training"
    source = f"from {item.samples:,} samples" if item.samples else "over the seeds"
    return f"{number_text(item.low)} to {number_text(item.high)} (95 %, {source})"


def comparison(item: Comparison, metric: str) -> str:
    """Say what holds of two values of a parameter."""
    better, worse = f"{item.name}={param_text(item.better)}", f"{item.name}={param_text(item.worse)}"
    support = f"{item.wins} of {item.pairs} pairs, interval over {item.over} {item.unit}"
    interval = f"{_plain(item.low)} to {_plain(item.high)}"
    if item.clear:
        return f"{better} is better than {worse} by {_plain(item.difference)} ({interval}; {support})."
    shown = f"No difference in {metric} is shown between {better} and {worse}"
    return f"{shown}: {_plain(item.difference)} ({interval}; {better} ahead in {support})."


def importance(facts: Facts) -> list[str]:
    """Say which parameters matter, and how the shares are to be read."""
    if not facts.importances:
        return ["Too few trials are complete to say which parameters matter."]
    found = []
    first = facts.importances[0]
    if first.low > 0:
        found.append(f"{first.name} explains {first.alone:.0%} of the differences between trials by itself.")
    through = [item for item in facts.importances if item.together is not None and item.together - item.high > 0.1]
    if len(through) > 1:
        names = ", ".join(item.name for item in through)
        found.append(
            f"{names} matter most through each other: which value is best depends on the others, so look at whole settings."
        )
    idle = [item.name for item in facts.importances if item.alone == 0 and (item.together or 0) < 0.1]
    if idle:
        found.append(f"{', '.join(idle)} shows no influence.")
    if not found and first.low <= 0:
        found.append("No parameter's influence by itself stands out from chance yet.")
    if facts.noise is not None:
        found.append(f"{facts.noise:.0%} of the differences between trials are chance: the same setting with another seed.")
    elif any(item.together is not None for item in facts.importances):
        found.append("With one training of each setting, the share together with others contains chance too.")
    return found


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.2e}" if value else "0"
