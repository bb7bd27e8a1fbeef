"""The report's conclusions as sentences: what is best, how sure that is, which values matter and which do not."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from sweep.report.comparison import Comparison
from sweep.report.facts import Facts, Measured
from sweep.study.formatting import duration_text, number_text, param_text, params_text, slots_text, time_shares_text

_IDLE = 0.1  # an influence whose interval ends below this is called none


def certainty(facts: Facts) -> list[str]:
    """Say how sure it is that the best setting is the best."""
    return list(_repeated(facts) if facts.repeated else _single(facts))


def _repeated(facts: Facts) -> Iterator[str]:
    best, *others = facts.settings
    if best.low is not None and best.high is not None:
        yield (
            f"Mean of {best.trainings} trainings with different seeds: {number_text(best.mean)} (95 % interval"
            f" {number_text(best.low)} to {number_text(best.high)}). Two trainings of one setting differ by about"
            f" {_plain(facts.deviation)} (standard deviation)."
        )
    rival = next((setting for setting in others if setting.behind is not None), None)
    if rival is not None and rival.behind is not None:
        behind = rival.behind
        verdict = "the best is clearly ahead of it" if behind.low > 0 else "that is not enough to call the best the winner"
        yield (
            f"Seed by seed the next, {params_text(rival.params)}, is {_plain(behind.difference)} behind (95 % interval"
            f" {_plain(behind.low)} to {_plain(behind.high)}): {verdict}."
        )
    if best.chance is not None:
        yield f"When the seeds are drawn again, the best comes first in {best.chance:.0%} of the draws."
    elif others:
        yield "With fewer than five seeds nothing is said about how often it would come first again."
    if unfinished := sum(not setting.finished for setting in others):
        yield f"{unfinished} of {len(facts.settings)} settings have too few complete seeds yet, and are not compared."


def _single(facts: Facts) -> Iterator[str]:
    values = [setting.mean for setting in facts.settings]
    if len(values) > 1:
        gap, spread = _plain(abs(values[0] - values[1])), _plain(abs(values[0] - statistics.median(values)))
        yield f"The next best is {gap} behind, the median {spread}."
    how = f"sweep run STUDY name={facts.study.name}-repeated repeats=3"
    if facts.study.method != "grid":
        how = "a grid of the best few settings, and repeats: 3"
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
    shown = {item.name for item in facts.comparisons if item.clear}
    idle = [item.name for item in facts.importances if max(item.high, item.together or 0) < _IDLE and item.name not in shown]
    if idle:
        found.append(f"{', '.join(idle)} shows no influence: less than {_IDLE:.0%} of the differences.")
    if not found and first.low <= 0:
        found.append("No parameter's influence by itself stands out from chance yet.")
    if facts.noise is not None:
        found.append(f"{facts.noise:.0%} of the differences between trials are chance: the same setting with another seed.")
    elif any(item.together is not None for item in facts.importances):
        found.append("With one training of each setting, the share together with others contains chance too.")
    return found


def time_spent(facts: Facts) -> str:
    """Say what the time of all runs went to; nothing where nobody measured it."""
    account, slots = facts.snapshot.time_spent, facts.snapshot.slots
    if account is None:
        return ""
    return (
        f"All runs took {duration_text(account.total)} on {slots_text(slots)}: {time_shares_text(account)}. Starting is"
        " importing, preparing the data and reading checkpoints; waiting is for decisions, for the next trial or for the"
        " other slots."
    )


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.2e}" if value else "0"
