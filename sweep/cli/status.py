"""`sweep status` and `sweep best`: the progress of a study, and its best trials."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.cli.live_view import LEADERS, leaders_text, running_table
from sweep.cli.streams import nobody_reads
from sweep.cli.tables import Sparklines, can_draw, console, print_json, print_trials
from sweep.cli.target import Target
from sweep.report.importance import importances
from sweep.search.imported import count_imported, imported_text
from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import duration_text, error_line, slots_text, states_text, time_shares_text
from sweep.study.repeats import runs_of, trainings
from sweep.study.trial import TrialState

_WATCH_S = 2.0
_FAILURES_SHOWN = 5
_BEST_SHOWN = 5
_BAR_WIDTH = 24


def show_status(snapshot: Snapshot, *, as_json: bool) -> None:
    """Print a study's status once."""
    if as_json:
        print_json(snapshot.status_json() | {"prior": count_imported(snapshot.folder)})
    else:
        console().print(_status(snapshot))


def show_best(snapshot: Snapshot, top: int | None, form: str) -> None:
    """Print the best trials: `top` of them; by default five, or with several metrics the whole Pareto front."""
    study, ranking = snapshot.study, snapshot.ranking
    found = ranking.leaders[:top] if top else ranking.top(_BEST_SHOWN)
    if form != "table":
        print_trials(snapshot, found, form)
    elif not ranking.order:
        print(f"no trial of {study.name} is complete yet")
    elif not found:
        bounds = ", ".join(constraint.text for constraint in study.constraints)
        print(f"none of the {len(ranking.order)} complete trials of {study.name} satisfies the constraints: {bounds}")
    else:
        print_trials(snapshot, found, form)
        if study.multi_objective:
            aims = " and ".join(f"{metric.goal} {metric.name}" for metric in study.metrics)
            which = "that satisfies the constraints " if study.constraints else ""
            count = f"{len(ranking.front)} of {len(ranking.order)} complete trials"
            better = f"no other one {which}is better in one metric without being worse in another"
            print(f"\nPareto front ({aims}): {count}; {better}")
        console().print(*_importance_bars(snapshot), sep="\n")


def watch_status(target: Target) -> None:
    """Keep a study's status on the terminal up to date until its session ends, or Ctrl-C."""
    screen = console()
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            snapshot = target.snapshot()
            live.update(_status(snapshot), refresh=True)
            if snapshot.runner is None or nobody_reads():
                return
            try:
                time.sleep(_WATCH_S)
            except KeyboardInterrupt:
                return


def _status(snapshot: Snapshot) -> RenderableType:
    study, counts = snapshot.study, snapshot.counts
    states = states_text(counts) or "nothing has run"
    runner = snapshot.runner
    who = f"run by process {runner.get('pid')} on {runner.get('host')} since {runner.get('since')}" if runner else "not running"
    eta = f", about {duration_text(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
    running = [record for record in snapshot.records if record.state is TrialState.RUNNING]
    known = f", {imported_text(count)}" if (count := count_imported(snapshot.folder)) else ""
    shown = [record.number for record in [*snapshot.ranking.leaders[:LEADERS], *running]]
    sparks = Sparklines(snapshot.curves(shown))
    spent, where = snapshot.time_spent, f" on {slots_text(snapshot.slots)}" if snapshot.slots else ""
    lines: list[RenderableType] = [
        Text.assemble((study.name, "bold"), f"  {states} of {sum(counts.values())}{eta}{known}"),
        Text(f"{snapshot.folder.root}, {who}", style="dim"),
        *([Text(f"time  {duration_text(spent.total)}{where}: {time_shares_text(spent)}")] if spent is not None else []),
        *running_table(study, runs_of(snapshot.records), sparks),
        *leaders_text(study, snapshot.records, sparks),
        *_importance_bars(snapshot),
    ]
    failed = [record for record in snapshot.records if record.state is TrialState.FAILED]
    lines += [Text(f"trial {record.number} failed: {error_line(record)}", style="red") for record in failed[:_FAILURES_SHOWN]]
    if len(failed) > _FAILURES_SHOWN:
        lines.append(Text(f"... and {len(failed) - _FAILURES_SHOWN} more failed", style="red"))
    return Group(*lines)


def _importance_bars(snapshot: Snapshot) -> list[RenderableType]:
    """Return a bar for the importance of each parameter; nothing when too few trials are complete."""
    found = importances(trainings(snapshot.records), snapshot.study)
    if not found:
        return []
    full, light = ("█", "░") if can_draw("█░") else ("#", ".")
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(no_wrap=True, justify=justify, overflow="ellipsis")
    for item in found:
        alone, whole = round(item.alone * _BAR_WIDTH), round((item.together or 0) * _BAR_WIDTH)
        through = "" if item.together is None else f", {item.together:.0%} together with others"
        table.add_row(
            item.name,
            Text.assemble((full * alone, "green"), (light * (whole - alone), "green")),
            f"{item.alone:.0%}",
            Text(f"({item.low:.0%} to {item.high:.0%}){through}", style="dim"),
        )
    others = "" if found[0].together is None else f", {light} together with others"
    return [Text(f"\nwhat explains {snapshot.study.metric.name}: {full} alone (95 % interval){others}", style="dim"), table]
