"""Several studies side by side: what their files say differently, and whose results are better.

- **The best settings** are compared by what further trainings of each will give, with the luck of being selected taken off. The
  interval of the difference is made of those of the two (MOVER: Zou and Donner 2008). With more than two studies, the one that is
  ahead is compared with each other one, and the intervals hold together (Bonferroni).
- **The settings that two studies have in common** are compared as two values of a parameter are, everything else being equal.

Nothing is compared between studies of another metric or goal.
"""

from __future__ import annotations

import itertools
import math
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweep.report.answer import Answer
from sweep.report.comparison import Comparison, Results, compared
from sweep.report.facts import Facts
from sweep.report.settings import Again, Setting, best_again, factors, key_of, value_of
from sweep.report.settling import STUDY, command
from sweep.storage.folder import recorded
from sweep.study.code.digest import codes_in
from sweep.study.file.writing import flow, plain_keys
from sweep.study.ranking import complete_of
from sweep.study.record import TrialRecord
from sweep.study.repeats import trainings
from sweep.study.spec import SEED
from sweep.study.trial import Scalar

_NOT_COMPARED = ("name", "output", "earlier")
_ENVIRONMENT = ("git_commit", "python", "platform", "packages", "cpu_cores", "gpus", "engine")
_SEEDS = 5  # of each best setting, which a command trains
Known = tuple[Answer, Sequence[TrialRecord]]  # of a study


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A key that is not the same in all studies, with its value in each as text; empty where a study has none."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lead:
    """By how much the best setting of one study is better than that of another one, in the metric's unit.

    Attributes:
        better, worse: the studies' places.
        difference: trained again, as far as chance is known; else of the values.
        low, high: the 95 % interval; None where chance is unknown.
    """

    better: int
    worse: int
    difference: float
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool:
        """Return whether the whole interval is above 0."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True, kw_only=True)
class Studies:
    """What can be said about several studies.

    Attributes:
        labels: distinct names of the studies.
        facts: of each study.
        differences: of the study files; `environments`: of the machines and packages.
        apart: why their results cannot be compared; empty if they can.
        codes: the digests of the code that trained each study, empty where it is unknown.
        leads: the best setting that is ahead against that of each other study.
        shared: the settings that two studies have in common, by the studies' labels.
        command: trains the best setting of each study with several seeds; empty if all is clear.
    """

    labels: tuple[str, ...]
    facts: tuple[Facts, ...]
    differences: tuple[Difference, ...]
    environments: tuple[Difference, ...]
    apart: str
    codes: tuple[tuple[str, ...], ...]
    leads: tuple[Lead, ...]
    shared: tuple[Comparison, ...]
    command: str

    @property
    def parameters(self) -> list[str]:
        """Return the parameters that all studies have, and that any of them sweeps."""
        have = [one.study.parameters.keys() | {name for r in one.kept for name in r.params} for one in self.facts]
        swept = dict.fromkeys(name for one in self.facts for name in factors(one.study))
        return [name for name in swept if all(name in names for names in have)]

    def bests(self) -> list[tuple[int, Setting]]:
        """Return the best setting of each study that has one, with the study's place."""
        return [(place, one.answer.best) for place, one in enumerate(self.facts) if one.answer.best is not None]


def side_by_side(facts: Sequence[Facts], labels: Sequence[str], words: Sequence[str]) -> Studies:
    """Compare studies.

    Args:
        facts: of each study.
        labels: their distinct names.
        words: their study files as words for a shell.
    """
    apart = _apart(facts, labels)
    known = [(one.answer, one.kept) for one in facts]
    found = [] if apart else leads(known)
    shared = [] if apart else common_settings(known, labels)
    return Studies(
        labels=tuple(labels),
        facts=tuple(facts),
        differences=_differences([_flat(plain_keys(one.study)) for one in facts]),
        environments=_differences([_environment(one) for one in facts]),
        apart=apart,
        codes=tuple(_codes(one) for one in facts),
        leads=tuple(found),
        shared=tuple(shared),
        command=_command(facts, words) if found and not all(lead.clear for lead in found) else "",
    )


def _apart(facts: Sequence[Facts], labels: Sequence[str]) -> str:
    aims = [f"{one.study.metric.goal}s {one.study.metric.name}" for one in facts]
    if len(set(aims)) == 1:
        return ""
    return "; ".join(f"{label} {aim}" for label, aim in zip(labels, aims, strict=True))


def leads(studies: Sequence[Known]) -> list[Lead]:
    """Return the comparisons of the best setting that is ahead with the other studies' best ones."""
    sign = studies[0][0].study.metric.sign
    known: dict[int, tuple[float, Again | None]] = {}
    for place, (answer, records) in enumerate(studies):
        if answer.best is not None:
            known[place] = answer.best.mean, best_again(records, answer.study, answer.influence.once)
    if len(known) < 2:
        return []
    chance = all(again is not None for _, again in known.values())
    values = {place: sign * (again.expected if chance and again else mean) for place, (mean, again) in known.items()}
    first = max(values, key=lambda place: values[place])
    pairs = len(known) * (len(known) - 1) // 2  # any two of them could have been compared
    normal = statistics.NormalDist()
    wider = normal.inv_cdf(1 - 0.025 / pairs) / normal.inv_cdf(0.975)
    found = []
    for place in sorted(known.keys() - {first}, key=lambda place: -values[place]):
        difference, below, above = values[first] - values[place], None, None
        one, other = known[first][1], known[place][1]
        if chance and one is not None and other is not None:
            (fall, rise), (dip, top) = _reach(one, sign), _reach(other, sign)
            below = difference - wider * math.hypot(fall, top)
            above = difference + wider * math.hypot(rise, dip)
        found.append(Lead(better=first, worse=place, difference=difference, low=below, high=above))
    return found


def _reach(again: Again, sign: int) -> tuple[float, float]:
    """Return how far an interval reaches to the worse and to the better side."""
    low, high = sorted((sign * again.low, sign * again.high))
    return max(0.0, sign * again.expected - low), max(0.0, high - sign * again.expected)


def common_settings(studies: Sequence[Known], labels: Sequence[str]) -> list[Comparison]:
    """Return the comparisons of each two studies by the settings that both have, the number of the seed being equal."""
    found = []
    for some in itertools.combinations(zip(labels, studies, strict=True), 2):
        names = list(dict.fromkeys(name for _, (answer, _) in some for name in factors(answer.study)))
        results: dict[Scalar, Results] = {}
        for label, (answer, records) in some:
            for record in complete_of(trainings(records)):
                at = record.params.get(SEED), key_of(record, names)
                results.setdefault(label, {})[at] = answer.study.metric.sign * value_of(record)
        (one, _), (other, _) = some
        if len(results) == 2 and (pair := compared("study", one, other, results)) is not None:
            found.append(pair)
    return found


def _command(facts: Sequence[Facts], words: Sequence[str]) -> str:
    """Return the command that trains the best setting of each study with several seeds, and compares them."""
    parts = []
    for one, word in zip(facts, words, strict=True):
        if (best := one.answer.best) is None:
            return ""
        parts.append(command((best,), _SEEDS, one.study).replace(f" {STUDY} ", f" {word} ", 1))
    made = [f"{one.study.output}/{one.study.name}-settled" for one in facts]
    return " && ".join([*parts, f"sweep report {' '.join(map(shlex.quote, made))}"]) if len(set(made)) == len(made) else ""


def _codes(one: Facts) -> tuple[str, ...]:
    return tuple(sorted({code for record in one.kept for code in codes_in(record.code)}))


def _flat(keys: dict[str, Any]) -> dict[str, str]:
    """Return keys and their texts; a key of a mapping has the mapping's name before it."""
    found: dict[str, str] = {}
    for name, value in keys.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": _text(item) for inner, item in value.items()}
        elif name not in _NOT_COMPARED:
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else flow(value)


def _environment(one: Facts) -> dict[str, str]:
    stored = recorded(one.snapshot.folder)
    return _flat({key: stored[key] for key in _ENVIRONMENT if key in stored})


def _differences(studies: Sequence[dict[str, str]]) -> tuple[Difference, ...]:
    keys = dict.fromkeys(key for study in studies for key in study)
    rows = [Difference(key=key, values=tuple(study.get(key, "") for study in studies)) for key in keys]
    return tuple(row for row in rows if len(set(row.values)) > 1)
