"""`sweep status` and `sweep best`: the progress of a study, and its best trials."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweep.cli.live_view import LEADERS, leaders_text, running_table
from sweep.cli.streams import nobody_reads
from sweep.cli.tables import Sparklines, can_draw, console, print_json, print_trials, statement_texts
from sweep.cli.target import Target
from sweep.errors import one_line
from sweep.report.answer import answer
from sweep.report.importance import Influence
from sweep.report.sentences import main_statements
from sweep.search.imported import count_imported, imported_text
from sweep.storage.folder import slot_notes
from sweep.storage.snapshot import Snapshot
from sweep.study.formatting import (
    cluster_text,
    duration_text,
    error_line,
    slots_text,
    states_text,
    time_shares_text,
    waiting_text,
)
from sweep.study.repeats import runs_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState

_WATCH_S = 2.0
_FAILURES_SHOWN = 5
_BEST_SHOWN = 5
_NOTES_SHOWN = 8
_BAR_WIDTH = 24


def show_status(snapshot: Snapshot, word: str, *, as_json: bool) -> None:
    """Print a study's status once; `word` names its file in commands."""
    if as_json:
        told = [one.text for one in main_statements(answer(snapshot.records, snapshot.study))] if snapshot.ranking.order else []
        print_json(snapshot.status_json() | {"statements": told, "prior": count_imported(snapshot.folder)})
    else:
        console().print(_status(snapshot, word), crop=False)


def show_best(snapshot: Snapshot, word: str, top: int | None, form: str) -> None:
    """Print the best trials: `top` of them; by default five, or with several metrics the whole Pareto front.

    `word` names the study file in commands.
    """
    study, ranking = snapshot.study, snapshot.ranking
    found = ranking.leaders[:top] if top else ranking.top(_BEST_SHOWN)
    if form != "table":
        print_trials(snapshot, found, form)
    elif not ranking.order:
        dropped = [str(trial.number) for trial in snapshot.records if trial.state is TrialState.COMPLETE and trial.dropped]
        back = f"every complete trial of {study.name} is dropped; take back:  sweep drop {word} {' '.join(dropped)} --undo"
        print(back if dropped else f"no trial of {study.name} is complete yet")
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
        console().print(*_statements(snapshot, word), sep="\n", crop=False)


def watch_status(target: Target) -> None:
    """Keep a study's status on the terminal up to date until its session ends, or Ctrl-C."""
    screen = console()
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            snapshot = target.snapshot()
            live.update(_status(snapshot, target.file_word), refresh=True)
            if snapshot.runner is None or nobody_reads():
                return
            try:
                time.sleep(_WATCH_S)
            except KeyboardInterrupt:
                return


def _status(snapshot: Snapshot, word: str) -> RenderableType:
    study, counts = snapshot.study, snapshot.counts
    states = states_text(counts) or "nothing has run"
    runner = snapshot.runner
    who = f"run by process {runner.get('pid')} on {runner.get('host')} since {runner.get('since')}" if runner else "not running"
    who += f", on {cluster_text(study.workers)}" if runner and study.workers.engine == "ray" else ""
    eta = f", about {duration_text(snapshot.eta_s)} left" if snapshot.eta_s is not None else ""
    running = [record for record in snapshot.records if record.state is TrialState.RUNNING]
    known = f", {imported_text(count)}" if (count := count_imported(snapshot.folder)) else ""
    shown = [record.number for record in [*snapshot.ranking.leaders[:LEADERS], *running]]
    sparks = Sparklines(snapshot.curves(shown))
    spent, where = snapshot.time_spent, f" on {slots_text(snapshot.slots)}" if snapshot.slots else ""
    known += f", {snapshot.dropped} dropped" if snapshot.dropped else ""
    lines: list[RenderableType] = [
        Text.assemble((study.name, "bold"), f"  {states} of {sum(counts.values())}{eta}{known}"),
        *([Text(f"note  {one_line(snapshot.note)}")] if snapshot.note else []),
        Text(f"{snapshot.folder.root}, {who}", style="dim"),
        *([Text(f"time  {duration_text(spent.total)}{where}: {time_shares_text(spent)}")] if spent is not None else []),
        *([Text(f"slots {waiting_text(snapshot.waiting_slots)}")] if snapshot.waiting_slots else []),
        *(Text(f"slots {one_line(note['text'])}") for note in slot_notes(snapshot.folder)[-_NOTES_SHOWN:]),
        *running_table(study, runs_of(snapshot.records), sparks),
        *leaders_text(study, snapshot.records, sparks),
        *_statements(snapshot, word),
    ]
    failed = [record for record in snapshot.records if record.state is TrialState.FAILED and not record.dropped]
    lines += [Text(f"trial {record.number} failed: {error_line(record)}", style="red") for record in failed[:_FAILURES_SHOWN]]
    if len(failed) > _FAILURES_SHOWN:
        lines.append(Text(f"... and {len(failed) - _FAILURES_SHOWN} more failed", style="red"))
    return Group(*lines)


def _statements(snapshot: Snapshot, study: str) -> list[RenderableType]:
    """Return what can be said about the results, as the report says it; nothing before any trial is complete."""
    if not snapshot.ranking.order:
        return []
    found = answer(snapshot.records, snapshot.study)
    return [Text(""), *statement_texts(main_statements(found), study), *_importance_bars(found.influence, snapshot.study)]


def _importance_bars(matter: Influence, study: StudySpec) -> list[RenderableType]:
    """Return a bar for the importance of each parameter; nothing when too few trials have ended."""
    if not matter.importances:
        return []
    full = "█" if can_draw("█") else "#"
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(no_wrap=True, justify=justify, overflow="ellipsis")
    rows = [(item.name, item.share, item.low, item.high) for item in matter.importances]
    rows += [(" x ".join(pair.names), pair.share.value, pair.share.low, pair.share.high) for pair in matter.interplays]
    for name, share, low, high in sorted(rows, key=lambda row: -row[1]):
        bar = Text(full * round(share * _BAR_WIDTH), style="green")
        table.add_row(name, bar, f"{share:.0%}", Text(f"({low:.0%} to {high:.0%})", style="dim"))
    return [Text(f"\nwhat explains {study.metric.name}: the share of each by itself (95 % interval)", style="dim"), table]
