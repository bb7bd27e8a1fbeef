"""Which parameters a first study sweeps, and their values: by what the program declares and by the names that are usual.

    lr: 0.001                  {values: [0.0003, 0.001, 0.003]}, or {min: 0.0001, max: 0.01, log: true} for a search
    batch-size: 64             {values: [32, 64, 128]}
    epochs: 14                 {value: 14}
    everything else            a comment, with the values that it would have

A parameter without a default has that of the table below, and its bounds and choices are kept to.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.study.starting.declared import Option

MOST_SWEPT = 4
MOST_GRID = 24  # trials
TRIALS = 20  # of a search
_NO_PARAMETERS = ("other", "positional")
_FEW = 2  # with fewer of the usual names, other positive numbers are swept
_MOST_CHOICES = 8


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """A usual name of a hyperparameter, and how its values are spread; the order is that of importance."""

    name: str
    spread: str
    default: Any


_USUAL = (
    _Usual(name=r"lr|learning[_-]?rate|step[_-]?size", spread="log", default=1e-3),
    _Usual(name=r"batch[_-]?size|bs", spread="double", default=64),
    _Usual(name=r"optim(izer)?(_name|_type|\.name)?|opt(\.name)?", spread="choices", default=None),
    _Usual(name=r"weight[_-]?decay|wd|l2", spread="decay", default=0.0),
    _Usual(name=r"(p_|attention[_-])?drop(out|[_-]?rate|[_-]prob)?", spread="fraction", default=0.2),
    _Usual(name=r"(n_?|num[_-])?(hid(den)?|width|units|channels)([_-](size|dim|units))?|d[_-]model", spread="double", default=64),
    _Usual(name=r"(n_?|num[_-])?(layers|depth)", spread="next", default=2),
    _Usual(name=r"momentum", spread="momentum", default=0.9),
    _Usual(name=r"activation|(lr[_-])?scheduler|model|arch|loss", spread="choices", default=None),
)
_CONSTANT = re.compile(r"(^|\.|(max|n|num|nb|train|total)[_-])(epochs?|steps|iters|iterations|episodes)$", re.IGNORECASE)
_NEVER = re.compile(
    r"(^|[_.-])(test|val|eval|seed|port|rank|world|workers?|threads|num[_-]proc|log|print|freq|interval|every|save|device|gpus?"
    r"|cuda|max|min|eps|tol|dry|debug|steps?|iters?|size|samples|data)($|[_.-])",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a first study says about a parameter.

    Attributes:
        values: those of a grid, or the one of a constant; empty if none can be proposed.
        range: the keys of a range for a search; None if it has the same values there.
        swept: it is swept unless the user says otherwise.
        constant: it stands in the file with its default.
        possible: a study file may have it.
        note: what the user should know.
    """

    option: Option
    values: tuple[Any, ...] = ()
    range: dict[str, Any] | None = None
    swept: bool = False
    constant: bool = False
    possible: bool = True
    note: str = ""

    def domain(self, *, swept: bool, search: bool) -> dict[str, Any]:
        """Return the keys of its domain; empty if it can have none."""
        if swept:
            return (self.range if search and self.range else None) or {"values": [*self.values]}
        if not self.possible:
            return {}
        if self.option.default is not None and self.option.kind != "flag" and not (self.option.choices and self.values):
            return {"value": self.option.default}
        return {"values": [*self.values]} if self.values else {}


def proposals(options: Sequence[Option]) -> list[Proposal]:
    """Return a proposal for each parameter, in the program's order."""
    found = [_proposal(option) for option in options]
    ranked = sorted((rank, place) for place, one in enumerate(found) if (rank := _rank(one)) is not None)
    usual = [place for rank, place in ranked if rank < len(_USUAL)]
    chosen = usual if len(usual) >= _FEW else [place for _, place in ranked]
    if chosen and ranked[0][0] > len(_USUAL):  # flags and choices, of which nothing is known, only where there is nothing else
        chosen = chosen[:_FEW]
    else:
        chosen = [place for place in chosen if (_rank(found[place]) or 0) <= len(_USUAL)]
    needed = [place for place, one in enumerate(found) if one.option.required and len(one.values) > 1]
    swept = set([*needed, *(place for place in chosen if place not in needed)][:MOST_SWEPT]) | set(needed)
    return [_marked(one, swept=place in swept) for place, one in enumerate(found)]


def is_search(swept: Collection[Proposal]) -> bool:
    """Return whether these have too many combinations for a first grid."""
    return math.prod(len(one.values) for one in swept) > MOST_GRID


def _marked(one: Proposal, *, swept: bool) -> Proposal:
    name, default = one.option.name, one.option.default
    constant = bool(_CONSTANT.search(name)) and type(default) in (int, float) and not swept
    return dataclasses.replace(one, swept=swept, constant=constant)


def _usual(name: str) -> int | None:
    """Return the place of a parameter's name among the usual ones, by its last parts: `optimizer.lr`, `base-lr`."""
    for place, one in enumerate(_USUAL):
        if re.search(rf"(^|[_.-])({one.name})$", name, re.IGNORECASE) and not _NEVER.search(re.sub(f"({one.name})$", "", name)):
            return place
    return None


def _rank(one: Proposal) -> int | None:
    if len(one.values) < 2:  # one value is no sweep
        return None
    if (place := _usual(one.option.name)) is not None and (one.option.choices or type(one.values[0]) is not bool):
        return place
    if _NEVER.search(one.option.name):
        return None
    return len(_USUAL) + (type(one.option.default) is not float or bool(one.option.choices))


def _proposal(option: Option) -> Proposal:
    place = _usual(option.name)
    usual = _USUAL[place] if place is not None else None
    if option.kind in _NO_PARAMETERS:
        return Proposal(option=option, possible=False, note=option.why or "a word of the command")
    if option.kind in ("flag", "bool"):
        return Proposal(option=option, values=(False, True))
    if option.choices:
        whole = tuple(option.choices) if len(option.choices) <= _MOST_CHOICES else ()
        return Proposal(option=option, values=whole, note="" if whole else f"one of {len(option.choices)}")
    if option.several:
        return Proposal(option=option, note="a list")
    default: Any = option.default if option.default is not None else usual.default if usual else None
    if type(default) not in (int, float) or option.kind == "text":
        return Proposal(option=option, note="" if default is not None else "it has no default")
    if option.kind == "int" and isinstance(default, float):
        return Proposal(option=option)
    exact = float(default) if option.kind == "float" else default
    values, spread = _numbers(exact, usual.spread if usual else "")
    kept = tuple(value for value in dict.fromkeys(values) if _within(value, option))
    fits = spread is not None and _within(spread["min"], option) and _within(spread["max"], option)
    note = "" if option.default is not None else "it has no default, these are usual values"
    return Proposal(option=option, values=kept, range=spread if fits else None, note=note)


def _within(value: float, option: Option) -> bool:
    return (option.low is None or value >= option.low) and (option.high is None or value <= option.high)


def _numbers(default: float, spread: str) -> tuple[list[float], dict[str, Any] | None]:
    """Return some values around a default, and a range."""
    if isinstance(default, int):
        if default < 1:
            return [], None
        if spread == "next":
            return [max(1, default - 1), default, default + 1], None
        return [max(1, default // 2), default, default * 2], None
    if spread == "decay":
        return ([0.0, default, _round(default * 10)] if default > 0 else [0.0, 0.0001, 0.01]), None
    if spread == "fraction":
        return [0.0, *([default] if 0 < default < 0.5 else [0.2]), max(0.5, default)], {"min": 0.0, "max": max(0.6, default)}
    if spread == "momentum":
        return [0.0, default or 0.9], {"min": 0.0, "max": max(0.99, default)}
    if default <= 0:
        return [], None
    if 0.5 < default < 1 and spread != "log":  # a factor such as 0.9: near 1 the distance from it counts
        below, above = (round(1 - _round((1 - default) * times), 12) for times in (3, 1 / 3))
        return [max(0.1, below), default, above], None
    return [_round(default / 3), default, _round(default * 3)], {
        "min": _round(default / 10),
        "max": _round(default * 10),
        "log": True,
    }


def _round(value: float) -> float:
    """Return a number with one digit."""
    return float(f"{value:.1g}")
