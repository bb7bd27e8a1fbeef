"""What is said about several studies, in words."""

from __future__ import annotations

from collections.abc import Iterator

from sweep.report.comparison import Comparison
from sweep.report.sentences import Statement, plain
from sweep.report.studies import Lead, Studies
from sweep.study.formatting import number_text, params_text


def studies_statements(found: Studies) -> list[Statement]:
    """Return all statements: about the best settings, the settings that studies have in common, and what makes them differ."""
    return [*bests(found), *common(found), *more(found), *files(found)]


def bests(found: Studies) -> Iterator[Statement]:
    """Yield whose best setting is better."""
    if found.apart:
        text = f"Their results cannot be compared, because they optimize different things: {found.apart}."
        yield Statement(topic="apart", text=text, main=True)
        return
    without = [label for label, one in zip(found.labels, found.facts, strict=True) if one.answer.best is None]
    if without:
        yield Statement(topic="missing", text=f"There is no result yet of {' and '.join(without)}.", main=True)
    for lead in found.leads:
        yield _lead(found, lead)


def more(found: Studies) -> Iterator[Statement]:
    """Yield what would tell more, if anything is unclear."""
    if found.command:
        text = "To know more, train the best setting of each study with several seeds, which selects nothing:"
        yield Statement(topic="again", text=text, about="these settings", command=found.command, main=True)


def _lead(found: Studies, lead: Lead) -> Statement:
    first, second = found.labels[lead.better], found.labels[lead.worse]
    one, other = (_named(found, place) for place in (lead.better, lead.worse))
    if lead.low is None or lead.high is None:
        text = f"The best of {first} ({one}) is {plain(lead.difference)} ahead of the best of {second} ({other}). How much of"
        text += " that is chance cannot be told: too little was trained more than once."
        return Statement(topic="again", text=text, main=True)
    start, verb = ("The", "better than") if lead.clear else ("No clear difference: the", "ahead of")
    again = f"{plain(lead.difference)} on average (95 % interval {plain(lead.low)} to {plain(lead.high)})"
    text = f"{start} best setting of {first} ({one}) is {verb} that of {second} ({other}). If both are trained again, the"
    text += f" difference is {again}."
    together = ", all studies together" if len(found.labels) > 2 else ""
    holds = f"95 %{together}, with the luck of being selected taken off"
    return Statement(topic="again", text=text, about="these settings", holds=holds, main=True)


def _named(found: Studies, place: int) -> str:
    best = found.facts[place].answer.best
    assert best is not None
    return f"{params_text(best.params) or 'its only setting'}: {number_text(best.mean)}"


def common(found: Studies) -> Iterator[Statement]:
    """Yield how the settings compare that two studies have in common."""
    for item in found.shared:
        yield Statement(topic="common", text=_common(item), about="these settings", holds="95 %, each for itself", main=True)


def _common(item: Comparison) -> str:
    what = f"{item.pairs} trainings" if item.unit == "seeds" else f"{item.pairs} settings"
    if item.low == item.high == 0:
        return f"In the {what} that both have, {item.better} and {item.worse} gave the same values."
    interval = f"{plain(item.low)} to {plain(item.high)}"
    if item.clear:
        text = f"In the {what} that both have, {item.better} is better than {item.worse} by {plain(item.difference)} on average"
        return f"{text} ({interval}; in {item.wins} of {item.pairs}; interval over {item.over} {item.unit})."
    text = f"In the {what} that both have, there is no clear difference between {item.better} and {item.worse}"
    return f"{text}: {plain(item.difference)} ({interval}; {item.better} is better in {item.wins} of {item.pairs})."


def files(found: Studies) -> Iterator[Statement]:
    """Yield what the studies have in common, and whether the same code trained them."""
    all_of, study = "Both" if len(found.labels) == 2 else "All", found.facts[0].study
    same = [] if found.apart else [f"{study.metric.goal} {study.metric.name}"]
    trained = [one.study.trained for one in found.facts]
    if len(set(trained)) == 1:
        same.insert(0, f"train {study.trained}")
    else:
        told = "; ".join(f"{label} {what}" for label, what in zip(found.labels, trained, strict=True))
        yield Statement(topic="apart", text=f"They train different objectives: {told}.", main=True)
    if same:
        yield Statement(topic="apart", text=f"{all_of} {' and '.join(same)}.")
    if not all(found.codes):
        yield Statement(topic="code", text="Whether the same code trained them is not known: it was not recorded.")
    elif len(set(found.codes)) == 1 and len(found.codes[0]) == 1:
        yield Statement(topic="code", text=f"The same code trained {all_of.lower()} ({found.codes[0][0]}).")
    else:
        told = "; ".join(f"{label} {', '.join(codes)}" for label, codes in zip(found.labels, found.codes, strict=True))
        text = f"Different code trained them, so a difference may be the code's: {told}."
        yield Statement(topic="code", text=text, main=True)
