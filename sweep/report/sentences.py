"""The report's statements in words, each with what it is about, its error rate, and what would settle it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from sweep.report.answer import Answer
from sweep.report.comparison import Comparison
from sweep.report.importance import FEWEST, Interplay
from sweep.report.measured import Measured
from sweep.report.methods import Topic
from sweep.report.settings import Setting
from sweep.report.settling import STUDY
from sweep.study.formatting import (
    number_text,
    param_text,
    params_text,
    trials_text,
)
from sweep.study.methods import SAMPLERS
from sweep.study.trial import TrialState

_IDLE = 0.1  # a parameter whose interval ends below this has hardly any influence
_LISTED = 4


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A sentence about the results.

    Attributes:
        topic: its kind, by which `methods` tells how it is computed.
        about: what it is about: `this trained network`, `this setting`, `these settings` or `these trials`.
        holds: its error rate; empty if it only describes.
        command: what to run to know more, with `STUDY` for the study file; empty if there is nothing to run.
        main: whether the terminal shows it.
    """

    topic: Topic
    text: str
    about: str = "these trials"
    holds: str = ""
    command: str = ""
    main: bool = False


def statements(found: Answer) -> list[Statement]:
    """Return all statements: about the best setting, then about the parameters, then value against value."""
    return [*certainty(found), *importance(found), *(comparison(item, found) for item in found.comparisons)]


def main_statements(found: Answer) -> list[Statement]:
    """Return the statements that the terminal shows."""
    return [one for one in statements(found) if one.main]


def command_in(command: str, study: str) -> str:
    """Return a statement's command for a study file, given as a word for a shell."""
    return command.replace(f" {STUDY} ", f" {study} ", 1)


def certainty(found: Answer) -> list[Statement]:
    """Return how certain it is that the best setting is the best."""
    if not found.settings:
        return []
    return [*_codes(found), *(_repeated(found) if found.repeated else _single(found))]


def _codes(found: Answer) -> Iterator[Statement]:
    if found.codes:
        texts = ", ".join(f"{code} ({trials_text(numbers)})" for code, numbers in found.codes.items())
        yield Statement(
            topic="code", text=f"Different code has trained these trials, so a difference may be the code's: {texts}.", main=True
        )


def _repeated(found: Answer) -> Iterator[Statement]:
    best, *others = found.settings
    compared = [one for one in others if one.finished]
    if best.expected is not None and best.low is not None and best.high is not None:
        yield Statement(
            topic="best",
            text=f"{_named(best)}: {number_text(best.mean)} on average over {best.trainings} trainings{_lost(best)}. Trained"
            f" again, it is expected to give {number_text(best.expected)} on average (95 % interval {number_text(best.low)} to"
            f" {number_text(best.high)}). Two trainings of one setting differ by about {plain(found.deviation)} (standard"
            " deviation).",
            about="this setting",
            holds="95 %, with the luck of being selected taken off",
            main=True,
        )
    if best.chance is not None and compared:
        likely = max([best, *compared], key=lambda one: one.chance or 0.0)
        rather = "" if likely is best else f" {_named(likely)} is as likely or likelier: {_percent(likely.chance)}."
        yield Statement(
            topic="sure",
            text=f"That it is the best of the {len(compared) + 1} settings is {_percent(best.chance)} sure.{rather} Choosing it"
            f" costs {plain(best.loss)} on average, because another one may be better.",
            about="this setting",
            holds="as often true as it says",
            main=True,
        )
        contenders = [one for one in [best, *compared] if one.contender]
        if len(contenders) > 1:
            listed = "; ".join(params_text(one.params) for one in contenders[:_LISTED])
            more = f"; and {len(contenders) - _LISTED} more" if len(contenders) > _LISTED else ""
            yield Statement(
                topic="sure",
                text=f"With 95 % the best is one of {len(contenders)} settings: {listed}{more}.",
                about="these settings",
                holds="95 %",
            )
        behind = [one for one in compared if one.behind is not None and one.behind.clear]
        said = f"{len(behind)} of the other {len(compared)} settings are" if behind else "No other setting is"
        marked = f" among the trainings that ended ({best.failed} of its own failed)" if best.failed else ""
        yield Statement(
            topic="behind",
            text=f"{said} clearly behind it{marked}.",
            about="these settings",
            holds="95 %, all settings together",
        )
        yield from _settled(found)
    if unfinished := sum(not one.finished for one in others):
        yield Statement(
            topic="missing", text=f"{unfinished} of {len(found.settings)} settings have too few seeds to be compared."
        )


def _single(found: Answer) -> Iterator[Statement]:
    best, values = found.settings[0], [one.mean for one in found.settings]
    name = found.study.metric.name
    if len(values) == 1:
        yield Statement(topic="missing", text="Only one setting has a result, so there is nothing to compare it with.", main=True)
    if len(values) > 1:
        gap, spread = plain(abs(values[0] - values[1])), plain(abs(values[0] - statistics.median(values)))
        yield Statement(
            topic="missing",
            text=f"{_named(best)} is first with {number_text(values[0])}; the second is {gap} behind, the median {spread}. Each"
            f" setting was trained once, so a difference may be chance: this orders trained networks, not settings.",
            about="this trained network",
            main=True,
        )
    if len(values) > 2:
        test = next((item for item in found.metrics if item.name.partition("/")[0] == "test" and not item.bookkeeping), None)
        untouched = f" Nothing was selected by {test.name}: {number_text(test.value)}." if test and test.name != name else ""
        corrected = ""
        if best.expected is not None and found.deviation:
            top = statistics.NormalDist().inv_cdf((len(values) - 0.375) / (len(values) + 0.25)) * found.deviation
            corrected = (
                f" If all {len(values)} settings were equal, the best value would still be up to {plain(top)} better than their"
                f" mean. With that luck taken off, expect about {number_text(best.expected)} from another training."
            )
        yield Statement(
            topic="once",
            text=f"The winner's {name} is optimistic, because it was selected by it.{corrected}{untouched}",
            about="this setting",
            main=bool(corrected),
        )
    yield from _settled(found)


def _settled(found: Answer) -> Iterator[Statement]:
    stage = found.settling
    if stage is None:
        return
    some = f"the {len(stage.settings)} best settings"
    if stage.settles is None:
        text = f"{stage.seeds} more seeds of each of {some} would show how much is chance:"
    elif stage.worthwhile:
        text = f"{stage.seeds} more seeds of each of {some} would name the best with 95 %, with a probability of"
        text += f" {_percent(stage.settles)}:"
    else:
        loss = stage.settings[0].loss
        text = (
            f"T{some[1:]} are nearly equal: even {stage.seeds} more seeds of each would name the best only with a probability of"
        )
        text += f" {_percent(stage.settles)}."
        text += f" Choosing the likeliest costs only {plain(loss)} on average." if loss is not None else ""
        text += "" if found.repeated else " A few would show how much is chance:"
    yield Statement(
        topic="settle",
        text=text,
        about="these settings",
        command=stage.command if stage.worthwhile or not found.repeated else "",
        main=True,
    )


def measured(item: Measured) -> str:
    """Return how certain a metric of the best setting is."""
    if item.low is None or item.high is None:
        return "optimistic: it was selected by this value" if item.selected else "one training"
    about = "this setting, with any seed" if item.about == "setting" else "this trained network"
    source = f" from {item.samples:,} samples" if item.samples else ""
    return f"{number_text(item.low)} to {number_text(item.high)} (95 %, {about},{source})".replace(",)", ")")


def comparison(item: Comparison, found: Answer) -> Statement:
    """Return how two values of a parameter compare."""
    better, worse = f"{item.name}={param_text(item.better)}", f"{item.name}={param_text(item.worse)}"
    support = f"{item.wins} of {item.pairs} pairs, interval over {item.over} {item.unit}"
    interval = f"{plain(item.low)} to {plain(item.high)}"
    some = "trainings with these values are" if item.failed > 1 else "training with these values is"
    lost = f" {item.failed} failed {some} in no pair." if item.failed else ""
    if item.clear:
        text = f"{better} is better than {worse} by {plain(item.difference)} ({interval}; {support}).{lost}"
    else:
        unclear = f"No clear difference in {found.study.metric.name} between {better} and {worse}"
        text = f"{unclear}: {plain(item.difference)} ({interval}; {better} is better in {support}).{lost}"
    return Statement(topic="comparison", text=text, holds="95 %, all together" if item.together else "95 %, each for itself")


def importance(found: Answer) -> Iterator[Statement]:
    """Yield which parameters matter."""
    matter, study = found.influence, found.study
    if not matter.importances:
        ended = sum(found.ended.values())
        text = "Which parameters matter cannot be computed: too few values were tried more than once."
        if ended < FEWEST:
            text = f"Too few trials have ended to compute which parameters matter: {ended}, of at least {FEWEST}."
        yield Statement(topic="missing", text=text)
        return
    learns = study.method in SAMPLERS and SAMPLERS[study.method].learns
    among = f"Among the trials that {study.method} chose, " if learns else ""
    clear = [item for item in matter.importances if item.low > 0]
    for pair in matter.interplays:
        text = f"{' and '.join(pair.names)} matter through each other: {flip(pair)}. Compare whole settings, not single values."
        yield Statement(topic="interplay", text=text, holds="5 %, all pairs together", main=True)
    if clear:
        first, *rest = (f"({one.low:.0%} to {one.high:.0%})" for one in clear[:_LISTED])
        more = "".join(f", {one.name} {one.share:.0%} {interval}" for one, interval in zip(clear[1:], rest, strict=False))
        start = f"{among}{clear[0].name} explains {clear[0].share:.0%} of the differences between trials by itself"
        text = f"{start} {first}{more}."
        yield Statement(topic="share", text=text.replace("%", " %"), holds="95 %, each for itself", main=True)
    shown = {item.name for item in found.comparisons if item.clear} | {name for pair in matter.interplays for name in pair.names}
    if idle := [one.name for one in matter.importances if one.high < _IDLE and one.name not in shown]:
        text = f"{among}{'h' if among else 'H'}ardly any influence of {', '.join(idle)}: less than 10 % of the differences."
        yield Statement(topic="share", text=text, holds="95 %, each for itself")
    if not clear and not shown:
        text = f"{among}{'n' if among else 'N'}o parameter's influence stands out from chance yet."
        yield Statement(topic="share", text=text, holds="95 %, each for itself", main=True)
    if found.noise is not None:
        text = f"{found.noise:.0%} of the differences between trials are chance: the same setting with another seed."
        yield Statement(topic="chance", text=text.replace("%", " %", 1))
    elif matter.grid:
        text = "Each setting was trained once, so chance is estimated from the interactions of three and more parameters"
        yield Statement(topic="once", text=f"{text}, and of the pairs that show nothing.")
    lost = {state: count for state, count in found.ended.items() if state is not TrialState.COMPLETE}
    if lost:
        listed = " and ".join(f"{count} {state}" for state, count in lost.items())
        yield Statement(topic="share", text=f"Here the {listed} trials count as the worst.")


def flip(pair: Interplay) -> str:
    """Return which value of the first parameter is best with which values of the second."""
    one, two = pair.names
    best: dict[int, list[str]] = {}
    for column, value in enumerate(pair.columns):
        ranked = [(row[column], place) for place, row in enumerate(pair.scores) if row[column] is not None]
        if ranked:
            best.setdefault(max(ranked)[1], []).append(param_text(value))
    if len(best) < 2:
        return f"how much {one} changes depends on {two}"
    parts = [f"{one}={param_text(pair.rows[place])} is best with {two}={' and '.join(values)}" for place, values in best.items()]
    return ", ".join(parts)


def _named(setting: Setting) -> str:
    return params_text(setting.params) or "The only setting"


def _lost(setting: Setting) -> str:
    return f" ({setting.failed} more failed)" if setting.failed else ""


def _percent(share: float | None) -> str:
    return "-" if share is None else ">99 %" if share > 0.995 else "<1 %" if share < 0.005 else f"{100 * share:.0f} %"


def plain(value: float | None) -> str:
    """Return a difference with three significant digits."""
    return "-" if value is None else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.2e}" if value else "0"
