"""Whether the report's statements hold what they say: `python -m tests.benchmarks.calibration`, about seven minutes of one core.

Synthetic studies with known truth go through the report's own functions. Each line gives what must hold and what was measured.
`--quick` is a tenth of it, with bars that are wider by what chance does to so few studies; `--only WORD` runs some lines.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from sweep.report.answer import answer
from sweep.report.comparison import comparisons
from sweep.report.importance import influence
from sweep.report.measured import measured
from sweep.report.settings import settings
from sweep.report.studies import Known, Lead, common_settings, leads
from sweep.study.record import TrialRecord
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from tests.benchmarks import calibration_worlds as worlds
from tests.support.studies import study_spec

_QUICK = 10


@dataclass(frozen=True, kw_only=True)
class Line:
    """A measured share with its bar.

    Attributes:
        count: how many cases the share is of; 0 for a figure that is no share.
    """

    world: str
    what: str
    measured: float
    low: float
    high: float
    count: int

    def holds(self, *, widened: bool) -> bool:
        """Return whether the bar holds, if `widened` by two and a half standard errors of a share at the bar."""
        room = 0.0
        if widened and self.count:
            at = min(max(self.high if self.measured > self.high else self.low, 0.02), 0.98)
            room = 2.5 * math.sqrt(at * (1 - at) / self.count)
        return self.low - room <= self.measured <= self.high + room


@dataclass
class Tally:
    """Shares that are counted over the studies of one world."""

    world: str
    hits: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, hit: float) -> None:
        """Count one case."""
        self.hits.setdefault(what, []).append(float(hit))

    def line(self, what: str, low: float, high: float) -> Line:
        """Return the share of hits with its bar."""
        found = self.hits.get(what, [])
        return Line(world=self.world, what=what, measured=float(np.mean(found)), low=low, high=high, count=len(found))


def _compare(tally: Tally, study: StudySpec, records: list[TrialRecord], means: worlds.Floats) -> None:
    """Count whether the intervals of all comparisons of two values hold the true difference."""
    table = means.reshape(worlds.SHAPE)
    for item in comparisons(records, study):
        place = list(worlds.AXES).index(item.name)
        at = [worlds.AXES[item.name].index(value) for value in (item.better, item.worse)]
        true = float(np.take(table, at[0], axis=place).mean() - np.take(table, at[1], axis=place).mean())
        tally.add("comparisons", item.low <= true <= item.high)


def _shares(tally: Tally, found: dict[str, tuple[float, float]], truth: dict[str, float]) -> None:
    for name, (low, high) in found.items():
        tally.add("shares", low - 1e-9 <= truth[name] <= high + 1e-9)
        if name == "idle" or not any(truth.values()):
            tally.add("share without effect above zero", low > 0)


def once(count: int) -> Iterator[Line]:
    """Twelve settings, trained once."""
    study = worlds.grid_study()
    cases = [("none", 1.0), ("additive", 0.2), ("additive", 1.0), ("additive", 3.0), ("interplay", 0.2)]
    for kind, size in cases:
        tally, random = Tally(f"12 once, {kind}, noise {size:g}"), np.random.default_rng([1, int(10 * size), len(kind)])
        means = worlds.effects(kind)
        truth = worlds.true_grid_shares(means, size, "normal")
        for _ in range(count):
            records = worlds.grid_records(worlds.world_values(random, means, 1, size))
            found = influence(records, study)
            tally.add("pair named", bool(found.interplays))
            tally.add("the pair found", any(set(one.names) == {"lr", "batch"} for one in found.interplays))
            _shares(tally, {item.name: (item.low, item.high) for item in found.importances}, truth)
            if kind != "interplay":  # a pair's difference then varies with the other parameter, which is no chance
                _compare(tally, study, records, means)
        if kind != "interplay":
            yield tally.line("comparisons", 0.93, 0.97)
            yield tally.line("pair named", 0.0, 0.05)
        else:
            yield tally.line("the pair found", 0.6, 1.0)
        yield tally.line("shares", 0.92, 1.0)
        yield tally.line("share without effect above zero", 0.0, 0.04)


def seeds(count: int) -> Iterator[Line]:
    """Twelve settings with five seeds each, or three repeats."""
    cases = [
        (k, s, "normal") for k, s in (("none", 1.0), ("additive", 0.2), ("additive", 1.0), ("additive", 3.0), ("interplay", 1.0))
    ]
    cases += [("none", 1.0, "unequal"), ("additive", 1.0, "unequal"), ("none", 1.0, "tails"), ("additive", 1.0, "tails")]
    for each, repeated in ((5, False), (3, True)):
        study = worlds.grid_study(repeats=3) if repeated else worlds.grid_study(seeds=5)
        for kind, size, tail in cases:
            tally = Tally(f"12 x {each}, {kind}, noise {size:g}{'' if tail == 'normal' else f' {tail}'}")
            random, means = np.random.default_rng([2, each, int(10 * size), len(kind), len(tail)]), worlds.effects(kind)
            truth = worlds.true_grid_shares(means, math.sqrt(1.09) * size, tail)
            for _ in range(count):
                records = worlds.grid_records(worlds.world_values(random, means, each, size, tail), repeated=repeated)
                best, *others = settings(records, study)
                true = means[worlds.POINTS.index(best.params)]
                tally.add("best mean", (best.low or 0) <= true <= (best.high or 0))
                tally.add("behind without effect", any(one.behind and one.behind.clear for one in others))
                found = influence(records, study)
                tally.add("pair named", bool(found.interplays))
                _shares(tally, {item.name: (item.low, item.high) for item in found.importances}, truth)
                _compare(tally, study, records, means)
            yield tally.line("best mean", 0.92, 0.98)
            yield tally.line("share without effect above zero", 0.0, 0.04)
            yield tally.line("shares", 0.92, 1.0)
            if kind != "interplay":
                yield tally.line("comparisons", 0.93, 0.97)
                yield tally.line("pair named", 0.0, 0.05)
            if kind == "none":
                yield tally.line("behind without effect", 0.0, 0.07)


def sure(count: int) -> Iterator[Line]:
    """Settings that all differ: how sure the report is that the best is the best."""
    study, random = worlds.grid_study(seeds=5), np.random.default_rng(3)
    said, true = [], []
    for _ in range(count):
        means, size = random.standard_normal(12), float(random.choice((0.05, 0.2, 0.5, 1.0, 2.0, 3.0)))
        found = settings(worlds.grid_records(worlds.world_values(random, means, 5, size)), study)
        best = max(found, key=lambda one: one.chance or 0.0)
        said.append(best.chance or 0.0)
        true.append(worlds.POINTS.index(best.params) == int(np.argmax(means)))
    chances, hits = np.array(said), np.array(true, dtype=float)
    brier = float(((chances - hits) ** 2).mean())
    yield Line(world="12 x 5, all different", what="Brier score", measured=brier, low=0.0, high=0.19, count=0)
    edges = (0.0, 0.4, 0.6, 0.8, 1.0)
    for low, high in itertools.pairwise(edges):
        inside = (chances >= low) & (chances <= high if high == 1 else chances < high)
        if inside.sum() >= 50:
            says, holds = float(chances[inside].mean()), float(hits[inside].mean())
            what = f"said {says:.0%}: true in"
            yield Line(
                world="12 x 5, all different",
                what=what,
                measured=holds,
                low=says - 0.07,
                high=says + 0.07,
                count=int(inside.sum()),
            )


def searches(count: int) -> Iterator[Line]:
    """Random searches, searches by TPE, failures that depend on a parameter, and pruned trials."""
    for trials in (30, 100):
        yield from _search(worlds.SearchWorld(trials=trials, noise=0.4), f"random, {trials} trials", count, 0.92)
    yield from _search(worlds.SearchWorld(trials=60, noise=0.4, fails=True), "60 trials, lr makes them fail", count, 0.90)
    yield from _search(worlds.SearchWorld(trials=60, noise=0.4, prunes=True), "60 trials, half are pruned", count, 0.90)


def _search(world: worlds.SearchWorld, name: str, count: int, least: float) -> Iterator[Line]:
    tally, random = Tally(name), np.random.default_rng([4, world.trials, world.fails, world.prunes])
    study, truth = world.study(), world.true_shares()
    for _ in range(count):
        records = world.records(*world.drawn(random, world.trials))
        items = influence(records, study).importances
        _shares(tally, {item.name: (item.low, item.high) for item in items}, truth)
        lr = next(item for item in items if item.name == "lr")
        tally.add("share of lr", lr.low <= truth["lr"] <= lr.high)
        best = settings(records, study)[0]
        tally.add("best is a failed trial", any(records[number].state is not TrialState.COMPLETE for number in best.trials))
    yield tally.line("share of lr", least, 1.0)
    yield tally.line("shares", 0.92 if least > 0.91 else least, 0.995)
    yield tally.line("share without effect above zero", 0.0, 0.04)
    yield tally.line("best is a failed trial", 0.0, 0.0)


def tpe(count: int) -> Iterator[Line]:
    """Searches by Optuna's TPE."""
    world = worlds.SearchWorld(trials=100, noise=0.4, method="tpe")
    tally, random, study = Tally("TPE, 100 trials"), np.random.default_rng(5), world.study()
    for _ in range(count):
        items = influence(worlds.searched(world, random), study).importances
        tally.add("without effect declared", any(item.low > 0 for item in items if item.name == "idle"))
    yield tally.line("without effect declared", 0.0, 0.08)


def failures(count: int) -> Iterator[Line]:
    """Seeds that fail, one in twenty: of a parameter `seed`, and of repeats of which one may fail or none."""
    for name, study, repeated, allow in (
        ("5 % of seeds failed, parameter seed", worlds.grid_study(seeds=5), False, 0),
        ("5 % of seeds failed, repeats, one may", worlds.grid_study(repeats=5, allow_failed=1), True, 1),
        ("5 % of seeds failed, repeats, none may", worlds.grid_study(repeats=5), True, 0),
    ):
        tally, random, means = Tally(name), np.random.default_rng([6, allow, repeated]), worlds.effects("additive")
        used = []
        for _ in range(count):
            lost = random.random((12, 5)) < 0.05
            values = worlds.world_values(random, means, 5, 1.0)
            records = worlds.grid_records(np.where(lost, 50.0, values), repeated=repeated, failed=lost, allow=allow)
            found = settings(records, study)
            states = {record.number: record.state for record in records}
            tally.add("best is a failed trial", any(states[number] is TrialState.FAILED for number in found[0].trials))
            true = means[worlds.POINTS.index(found[0].params)]
            tally.add("best mean", (found[0].low or 0) <= true <= (found[0].high or 0))
            used.append(np.mean([one.trainings for one in found]))
        yield tally.line("best is a failed trial", 0.0, 0.0)
        yield tally.line("best mean", 0.92, 0.98)
        yield Line(world=name, what="seeds used of 5", measured=float(np.mean(used)), low=4.0, high=5.0, count=0)


def tests(count: int) -> Iterator[Line]:
    """The interval of a test accuracy: of the trained network, and of the setting."""
    for each, about in ((1, "network"), (5, "setting")):
        tally, random = Tally(f"test accuracy, per {about}"), np.random.default_rng([7, each])
        study = study_spec({"a": list(range(12)), "seed": list(range(each))})
        for _ in range(count):
            records, networks, means = worlds.accuracy_records(random, 12, each, 0.004)
            best = settings(records, study)[0]
            item = next(item for item in measured(records, study, best) if item.name == "test/accuracy")
            assert item.about == about
            place = int(str(best.params["a"]))
            true = networks[place, 0] if about == "network" else means[place]
            tally.add("interval", (item.low or 0) <= true <= (item.high or 0))
        yield tally.line("interval", 0.93, 1.0)


def between(count: int) -> Iterator[Line]:
    """Two studies with the same settings, the second one equal or better: which best setting is better."""
    cases = [(1, "additive", 0.2), (1, "additive", 1.0), (1, "none", 1.0), (3, "additive", 1.0), (5, "none", 1.0)]
    for each, kind, size in cases:
        for shift in (0.0, 0.7):
            tally = Tally(f"2 x 12 x {each}, {kind}, noise {size:g}, shift {shift:g}")
            random = np.random.default_rng([8, each, int(10 * size), int(10 * shift), len(kind)])
            study, means = worlds.grid_study(seeds=each if each > 1 else 0), worlds.effects(kind)
            truths = {"first": means, "second": means + shift}
            for _ in range(count):
                drawn = [worlds.grid_records(worlds.world_values(random, mean, each, size)) for mean in truths.values()]
                _between(tally, [(answer(records, study), records) for records in drawn], truths)
            yield from _between_lines(tally, equal=not shift)
    world = worlds.SearchWorld(trials=30, noise=0.4)
    tally, random, study = Tally("2 random searches, 30 trials"), np.random.default_rng(9), world.study()
    for _ in range(count):
        drawn = [world.records(*world.drawn(random, 30)) for _ in range(2)]
        known = [(answer(records, study), records) for records in drawn]
        for lead in leads(known):
            at = [known[place][0].best for place in (lead.better, lead.worse)]
            true = [world.at(one.params) for one in at if one is not None]
            _count_lead(tally, lead, true[0] - true[1])
    yield from _between_lines(tally, equal=False)


def _between(tally: Tally, known: list[Known], truths: dict[str, worlds.Floats]) -> None:
    """Count whether what is said of the best settings, and of those that both studies have, is true."""
    means = list(truths.values())
    for lead in leads(known):
        bests = [(place, known[place][0].best) for place in (lead.better, lead.worse)]
        true = [means[place][worlds.POINTS.index(best.params)] for place, best in bests if best is not None]
        _count_lead(tally, lead, float(true[0] - true[1]))
    [item] = common_settings(known, list(truths))
    shift = float((truths[str(item.better)] - truths[str(item.worse)]).mean())
    tally.add("settings in common", item.low <= shift <= item.high)


def _count_lead(tally: Tally, lead: Lead, true: float) -> None:
    assert lead.low is not None
    assert lead.high is not None
    tally.add("difference of the bests", lead.low <= true <= lead.high)
    tally.add("a best is called better, and is not", lead.clear and true <= 0)


def _between_lines(tally: Tally, *, equal: bool) -> Iterator[Line]:
    yield tally.line("difference of the bests", 0.93, 1.0)
    yield tally.line("a best is called better, and is not", 0.0, 0.05 if equal else 0.03)
    if "settings in common" in tally.hits:
        yield tally.line("settings in common", 0.93, 0.98)


PARTS: dict[str, tuple[Callable[[int], Iterator[Line]], int]] = {
    "once": (once, 400),
    "seeds": (seeds, 300),
    "sure": (sure, 1_000),
    "searches": (searches, 200),
    "tpe": (tpe, 60),
    "failures": (failures, 200),
    "tests": (tests, 500),
    "between": (between, 200),
}


def measure(*, quick: bool, only: str = "") -> Iterator[Line]:
    """Measure all lines, or those of the parts whose names contain `only`."""
    for name, (part, count) in PARTS.items():
        if only in name:
            yield from part(max(6, count // _QUICK) if quick else count)


def main() -> int:
    """Print the table; return 1 if a bar does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, with wider bars")
    parser.add_argument("--only", default="", help="only parts whose name contains this: " + ", ".join(PARTS))
    options = parser.parse_args()
    began, missed = time.process_time(), 0
    print(f"{'world':<40} {'statement':<34} {'measured':>9}  must be")
    for line in measure(quick=options.quick, only=options.only):
        holds = line.holds(widened=options.quick)
        missed += not holds
        bar = f"{line.low:.2f} to {line.high:.2f}  {'ok' if holds else 'MISSED'}"
        print(f"{line.world:<40} {line.what:<34} {line.measured:>9.3f}  {bar}", flush=True)
    print(f"{missed} missed, after {time.process_time() - began:.0f} s of one core")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
