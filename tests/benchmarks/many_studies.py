"""Measure the verbs that are typed every day where there is much, in seconds from the command to its end.

    python -m tests.benchmarks.many_studies [--studies 1000] [--trials 10000] [--rounds 5]

One study of twelve trials is run and copied, for `sweep list`. Then a study of many trials, made without training: `sweep logs`,
and the completion of a trial's number. Each figure is the median of several rounds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.storage.folder import StudyFolder
from sweep.storage.store import StudyStore
from sweep.study.file.writing import write_study as text_of
from sweep.study.record import Span, now_text, planned_record
from sweep.study.trial import Scalar, TrialState
from tests.benchmarks.machine import describe
from tests.support.command_line import run_sweep
from tests.support.studies import study_spec, study_text, write_study

TOY: dict[str, Any] = {
    "objective": "sweep.objectives.toy:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "method": "random",
}
DOMAINS = {name: {"min": 0.0, "max": 1.0} for name in ("x", "y")}
BAR, LARGE_BAR = 1.5, 1.0


def copies(folder: Path, count: int) -> None:
    """Run one study in a folder, and make copies of it until there are so many."""
    write_study(folder, study_text(DOMAINS, name="0000", budget={"trials": 12}, **TOY))
    assert run_sweep("run", "study.yaml", here=folder).code == 0
    for number in range(1, count):
        shutil.copytree(folder / "runs" / "0000", folder / "runs" / f"{number:04d}")
    os.sync()  # else the disk is busy while `list` is measured


def large(folder: Path, count: int) -> None:
    """Make a study of so many complete trials, the last of which has a log, without training any."""
    spec = study_spec(DOMAINS, name="large", budget={"trials": count}, **TOY)
    own = StudyFolder(root=folder / "runs" / "large")
    own.root.mkdir(parents=True)
    own.study_file.write_text(text_of(spec))
    own.environment.write_text("{}")
    with contextlib.closing(StudyStore(own, spec)) as store:
        for number in range(count):
            now = now_text()
            params: dict[str, Scalar] = {"x": number / count, "y": 0.5}
            run = replace(planned_record(spec, number, params), state=TrialState.RUNNING, attempts=1, started=now)
            own.trial_dir(run.folder).mkdir()
            store.start(run)
            spans = (Span(slot=0, started=now, ended=now, how="complete"),)
            run = replace(
                run, state=TrialState.COMPLETE, value=0.5, metrics={"loss": 0.5}, ended=now, duration_s=1.0, spans=spans
            )
            store.finish(run)
    (own.trial_dir(run.folder) / "log.txt").write_text("a line\n" * 100_000)


def measure(folder: Path, *words: str, rounds: int, bar: float | None = None, env: dict[str, str] | None = None) -> None:
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        done = run_sweep(*words, here=folder, env=env)
        seconds.append(time.perf_counter() - began)
        assert (done.code, bool(done.out)) == (0, True), done.err
    seconds.pop(0)  # from the disk, as the files were just written
    middle = statistics.median(seconds)
    verdict = "" if bar is None else f"   bar {bar:g}: {'held' if middle <= bar else 'MISSED'}"
    print(
        f"  {' '.join(words) or 'completion':<32} {middle:>6.2f} s, {min(seconds):.2f} to {max(seconds):.2f}{verdict}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        folder, rounds = Path(name), options.rounds
        copies(folder, options.studies)
        print(f"\n{options.studies:,} studies of twelve trials")
        measure(folder, "list", rounds=rounds, bar=BAR)
        measure(folder, "list", "--json", rounds=rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large(folder, options.trials)
        last = str(options.trials - 1)
        print(f"\na study of {options.trials:,} trials")
        measure(folder, "logs", "runs/large", last, "--tail", "3", rounds=rounds, bar=LARGE_BAR)
        measure(folder, "logs", "runs/large", last, rounds=rounds, bar=LARGE_BAR)
        words = f"sweep logs runs/large {last}"
        env = {"_SWEEP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
        measure(folder, rounds=rounds, bar=LARGE_BAR, env=env)


if __name__ == "__main__":
    main()
