"""The report's conclusions as sentences: what is best, how certain that is, and which parameters and values matter."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from sweep.report.comparison import Comparison
from sweep.report.facts import Facts, Measured
from sweep.study.formatting import (
    duration_text,
    number_text,
    param_text,
    params_text,
    slots_text,
    time_shares_text,
    trials_text,
)
from sweep.study.record import several_codes

_IDLE = 0.1  # a parameter whose interval ends below this has no influence


def certainty(facts: Facts) -> list[str]:
    """Return how certain it is that the best setting is the best."""
    return [*_codes(facts), *(_repeated(facts) if facts.repeated else _single(facts))]


def _codes(facts: Facts) -> Iterator[str]:
    records = facts.snapshot.records
    if several_codes(records):
        codes = dict.fromkeys(record.code for record in records)
        texts = (f"{code or 'unknown'} ({trials_text(one.number for one in records if one.code == code)})" for code in codes)
        yield f"Different code has trained these trials, so a difference may be the code's: {', '.join(texts)}."


def _repeated(facts: Facts) -> Iterator[str]:
    best, *others = facts.settings
    if best.low is not None and best.high is not None:
        yield (
            f"Mean of {best.trainings} trainings with different seeds: {number_text(best.mean)} (95 % interval"
            f" {number_text(best.low)} to {number_text(best.high)}). Two trainings of one setting differ by about"
            f" {_plain(facts.deviation)} (standard deviation)."
        )
    rival = next((setting for setting in others if setting.behind), None)
    if rival and (behind := rival.behind):
        verdict = "the best setting is clearly better" if behind.low > 0 else "the difference may be chance"
        yield (
            f"Compared seed by seed, the second best setting, {params_text(rival.params)}, is {_plain(behind.difference)} behind"
            f" (95 % interval {_plain(behind.low)} to {_plain(behind.high)}): {verdict}."
        )
    if best.chance is not None:
        yield f"If the seeds are drawn again (bootstrap), the best setting comes first in {best.chance:.0%} of the draws."
    elif others:
        yield "Five seeds or more are needed to estimate how often it would come first again."
    if unfinished := sum(not setting.finished for setting in others):
        yield f"{unfinished} of {len(facts.settings)} settings have too few complete seeds to be compared."


def _single(facts: Facts) -> Iterator[str]:
    values = [setting.mean for setting in facts.settings]
    if len(values) > 1:
        gap, spread = _plain(abs(values[0] - values[1])), _plain(abs(values[0] - statistics.median(values)))
        yield f"The second best setting is {gap} behind, the median {spread}."
    how = f"sweep run STUDY name={facts.study.name}-repeated repeats=3"
    if facts.study.method != "grid":
        how = "a grid of the best few settings, and repeats: 3"
    yield f"Each setting was trained once, so a difference may be chance. To measure chance, train with several seeds: {how}."
    if len(values) > 2:
        yield (
            "The winner's value is optimistic: it was selected by the same number. A metric that selects nothing, such as one of"
            " a test set, is not."
        )


def measured(item: Measured) -> str:
    """Return how certain a metric of the best setting is."""
    if item.low is None or item.high is None:
        return "one training"
    source = f"from {item.samples:,} samples" if item.samples else "over the seeds"
    return f"{number_text(item.low)} to {number_text(item.high)} (95 %, {source})"


def comparison(item: Comparison, metric: str) -> str:
    """Return how two values of a parameter compare."""
    better, worse = f"{item.name}={param_text(item.better)}", f"{item.name}={param_text(item.worse)}"
    support = f"{item.wins} of {item.pairs} pairs, interval over {item.over} {item.unit}"
    interval = f"{_plain(item.low)} to {_plain(item.high)}"
    if item.clear:
        return f"{better} is better than {worse} by {_plain(item.difference)} ({interval}; {support})."
    unclear = f"No clear difference in {metric} between {better} and {worse}"
    return f"{unclear}: {_plain(item.difference)} ({interval}; {better} is better in {support})."


def importance(facts: Facts) -> list[str]:
    """Return which parameters matter, and how to read the shares."""
    if not facts.importances:
        return ["Too few trials are complete to compute which parameters matter."]
    found = []
    first = facts.importances[0]
    if first.low > 0:
        found.append(f"{first.name} explains {first.alone:.0%} of the differences between trials by itself.")
    through = [item for item in facts.importances if item.together is not None and item.together - item.high > 0.1]
    if len(through) > 1:
        names = ", ".join(item.name for item in through)
        found.append(f"{names} matter mostly together: the best value of one depends on the others, so compare whole settings.")
    shown = {item.name for item in facts.comparisons if item.clear}
    idle = [item.name for item in facts.importances if max(item.high, item.together or 0) < _IDLE and item.name not in shown]
    if idle:
        found.append(f"No influence of {', '.join(idle)} was found: less than {_IDLE:.0%} of the differences.")
    if not found and first.low <= 0:
        found.append("No parameter's influence by itself can be distinguished from chance yet.")
    if facts.noise is not None:
        found.append(f"{facts.noise:.0%} of the differences between trials are chance: the same setting with another seed.")
    elif any(item.together is not None for item in facts.importances):
        found.append("Each setting was trained once, so the share together with others includes chance.")
    return found


def time_spent(facts: Facts) -> str:
    """Return the time of all sessions per activity; empty if it was not measured."""
    spent, slots = facts.snapshot.time_spent, facts.snapshot.slots
    if spent is None:
        return ""
    return (
        f"All sessions took {duration_text(spent.total)} on {slots_text(slots)}: {time_shares_text(spent)}. Starting means"
        " imports, preparing the data and reading checkpoints; waiting means waiting for decisions, for the next trial or for"
        " other slots."
    )


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.2e}" if value else "0"
