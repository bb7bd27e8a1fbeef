"""Compare the seconds of the same twelve trials by this project, the tutorials' plain loop, Ray Tune, Optuna and Hydra.

    python -m tests.benchmarks.compare [--epochs 1] [--rounds 1] [--workers 1 2 4] [--slots 2] [--only plain sweep ...]

Every side trains the same data and network as one command in a process and a folder of its own (`contenders` says how each is
used). All are measured from outside in the same way (`watching`), and their trials record their starts and ends in the same way
(`timer`). In each round the sides run one after another in a new random order. The table has the medians over the rounds. Ratios
are taken within a round, so that a machine whose speed changes does not change them. Before the first round every package is
imported once, so that no side pays for reading it from the disk.

The whole command counts, from its start to the end of its first process, with imports and the start of workers. What a side
does besides training is not the same. Ours evaluates 5,000 validation images after each epoch and the test set at the end,
writes a checkpoint each epoch, fills TensorBoard's tabs and makes a report. The plain function evaluates nothing, as in the
tutorials. Ray Tune with our function evaluates as ours does and makes neither checkpoints nor panels. The accuracy of each
side is that of the training samples during the last epoch, which all of them have: it shows that the training is the same
(the order of the samples and the first weights differ, so it is the same except for the noise of a seed).

- times: the duration of the command, divided by that of `sweep` with 2 workers (or the last of `--workers`) in the same round;
- MB: the highest proportional set size: of all processes at one moment, of the largest that trains, of the first one.
  It is read as often as a hundredth of a core allows, so a short peak can be missed;
- idle: the share of the slots' time in which they had no trial, from the first trial's start to the last one's.

Below the table are the milliseconds of a trivial trial (`peers`). The last line is everything as JSON.

With `--device cuda` (`auto` takes it if there is a GPU) every side sees only the first GPU: model and batches are on it, each
of Ray's trials has 1 / slots of it, and `--workers 1 2 4 12` are our processes on it. It has not been tried on a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sweep.objectives import datasets
from sweep.worker.devices import cpu_cores
from sweep.worker.versions import version
from sweep.worker.visible import visible_gpus
from tests.benchmarks import peers, timer
from tests.benchmarks.contenders import CONTENDERS, REPOSITORY, Contender, command
from tests.benchmarks.figures import Figures, figures, medians
from tests.benchmarks.machine import describe, not_installed
from tests.benchmarks.terms import GRID, TRAINING_SAMPLES, Terms
from tests.benchmarks.watching import watch

PACKAGES = ("torch", "sweep", "ray", "optuna", "joblib", "hydra-core", "hydra-joblib-launcher")
REFERENCE_WORKERS = 2
_WIDTH = 160  # a terminal may be narrower: a cell that is wrapped, or cut, would be worse
_COLUMNS = {
    "wall s": ("wall_s", ".1f"),
    "times": ("times", ".2f"),
    "samples/s": ("samples_s", ",.0f"),
    "CPU s": ("cpu_s", ".1f"),
    "MB all": ("peak_mb", ",.0f"),
    "MB worker": ("worker_mb", ",.0f"),
    "MB first": ("root_mb", ",.0f"),
    "first step s": ("first_step_s", ".1f"),
    "idle": ("idle", ".1%"),
    "accuracy": ("accuracy", ".4f"),
}


class Failed(Exception):
    """A side did not train its twelve trials; the message ends with its last output."""


def sides(keys: Sequence[str], workers: Sequence[int], slots: int) -> dict[str, tuple[Contender, int]]:
    """Return each row's contender and its number of trials at a time, by the row's name."""
    rows: dict[str, tuple[Contender, int]] = {}
    for one in (contender for contender in CONTENDERS if contender.key in keys):
        match one.key:
            case "sweep":
                rows |= {f"{one.name}, {_count(number, 'worker')}": (one, number) for number in workers}
            case "plain":
                rows[one.name] = (one, 1)
            case _:
                rows[f"{one.name}, {_count(slots, 'slot')}"] = (one, slots)
    return rows


def race(key: str, terms: Terms) -> Figures:
    """Run a side once.

    Raises:
        Failed: not all twelve settings were trained.
    """
    folder = Path(terms.folder)
    env = {
        timer.FILE: str(folder / "timer"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "CUDA_VISIBLE_DEVICES": visible_gpus()[0].uuid if terms.device == "cuda" else "",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    watched = watch(command(key, terms), folder=folder, env=env, log=folder / "log.txt")
    try:
        if watched.code:
            raise ValueError(f"exit code {watched.code}")
        return figures(watched, timer.read(folder / "timer", len(GRID)), terms)
    except ValueError as error:
        raise Failed(f"{error}\n{(folder / 'log.txt').read_text(errors='replace')[-2000:]}") from None


def against(reference: str | None, found: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return the figures of a round, with each side's duration divided by that of the reference."""
    base = found.get(reference or "")
    return {name: replace(one, times=one.wall_s / base.wall_s) if base else one for name, one in found.items()}


def table(rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return the medians as a Markdown table."""
    found = Table(box=box.MARKDOWN)
    found.add_column("side", no_wrap=True)
    for name in _COLUMNS:
        found.add_column(name, justify="right", no_wrap=True)
    for side, row in rows.items():
        cells = [(row[figure], form) for figure, form in _COLUMNS.values()]
        found.add_row(side, *("-" if value is None else format(value, form) for value, form in cells))
    console = Console(width=_WIDTH, color_system=None)
    with console.capture() as text:
        console.print(found)
    return "\n".join(line.rstrip() for line in text.get().strip().splitlines())


def main() -> int:
    options = _options()
    device = options.device if options.device != "auto" else "cuda" if visible_gpus() else "cpu"
    everything = sides(options.only, options.workers, options.slots)
    there = {name: what for name, what in everything.items() if version(what[0].package)}
    reference = _reference(there)
    machine = describe(PACKAGES)
    print(machine)
    print(
        f"twelve trials, {_count(options.epochs, 'epoch')} of {options.samples:,} samples, on {device};"
        f" medians of {_count(options.rounds, 'round')}\n",
        flush=True,
    )
    for _ in datasets.fetch("fashion_mnist", datasets.cache_root()):
        pass
    for imports in dict.fromkeys(what.imports for what, _ in there.values()):
        subprocess.run([sys.executable, "-c", f"import {imports}"], check=True)
    rounds: list[dict[str, Figures]] = []
    failures: list[str] = []
    for number in range(1, options.rounds + 1):
        found: dict[str, Figures] = {}
        for name in random.sample(list(there), len(there)):
            contender, slots = there[name]
            # Short, since Ray keeps sockets in it, whose paths have a limit.
            with tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as folder:
                terms = Terms(folder=folder, epochs=options.epochs, samples=options.samples, slots=slots, device=device)
                try:
                    found[name] = race(contender.key, terms)
                except Failed as failure:
                    failures.append(name)
                    print(f"round {number}, {name}: FAILED: {failure}", flush=True)
                    continue
            one = found[name]
            left = f", {one.killed} processes left behind" if one.killed else ""
            print(f"round {number}, {name}: {one.wall_s:.1f} s, {one.samples_s:,.0f} samples/s{left}", flush=True)
        rounds.append(against(reference, found))
    per_side = {name: [found[name] for found in rounds if name in found] for name in there}
    middle = {name: medians(several) for name, several in per_side.items() if several}
    print(f"\n{table(middle)}")
    if reference:
        print(f"\ntimes: against {reference}")
    missing = [name for name in everything if name not in there]
    for name in missing:
        print(not_installed(name))
    overhead: dict[str, Any] = {}
    if not options.no_overhead:
        print(flush=True)
        packages = {contender.package for contender, _ in everything.values()}
        overhead = peers.overhead(options.overhead_trials, REFERENCE_WORKERS, options.rounds, packages)
    whole = {
        "machine": machine,
        "options": vars(options) | {"device": device},
        "reference": reference,
        "medians": {name: _rounded(row) for name, row in middle.items()},
        "rounds": [{name: _rounded(asdict(one)) for name, one in found.items()} for found in rounds],
        "missing": missing,
        "failed": failures,
        "overhead_ms": overhead,
    }
    print(json.dumps(whole), flush=True)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    keys = [contender.key for contender in CONTENDERS]
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="of sweep, a row for each number")
    parser.add_argument("--slots", type=int, default=min(2, cpu_cores()), help="trials at a time of the peers")
    parser.add_argument("--only", nargs="+", metavar="SIDE", choices=keys, default=keys, help=", ".join(keys))
    parser.add_argument("--samples", type=int, default=TRAINING_SAMPLES, help="the number of training samples")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--no-overhead", action="store_true", help="without the trivial trials")
    parser.add_argument("--overhead-trials", type=int, default=500, help="the number of trivial trials")
    options = parser.parse_args()
    if options.device == "cuda" and not visible_gpus():
        parser.error("there is no GPU that CUDA would see")
    if not 0 < options.samples <= TRAINING_SAMPLES:
        parser.error(f"--samples must be between 1 and {TRAINING_SAMPLES}")
    return options


def _reference(there: Mapping[str, tuple[Contender, int]]) -> str | None:
    ours = {number: name for name, (contender, number) in there.items() if contender.key == "sweep"}
    return ours.get(REFERENCE_WORKERS) or next(reversed(ours.values()), None)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _rounded(value) if isinstance(value, Mapping) else value for name, value in row.items()}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in kept.items()}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
