"""Measure what logging for TensorBoard's tabs adds to training, in %: studies/fashion.yaml with no panels, the default ones, all.

    python -m tests.benchmarks.panels [--epochs 5] [--rounds 1] [batch_size.values=[64] ...]

In each round the three kinds of the study run one after another. Where the machine is noisy, the difference of their times says
little, so the figure is the time that the workers spent logging, against that of training, as the study's own account has it
(`sweep status --json`); what the runner draws beside them is not in it, and the difference is printed too. So are the size of the
largest trial on the disk in MB and its number of event files.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from pathlib import Path

from sweep.storage.folder import CHECKPOINT
from sweep.study.spec import LogSpec
from sweep.study.trial import TrialState
from tests.benchmarks.machine import describe
from tests.conftest import REPOSITORY
from tests.support.command_line import run_sweep
from tests.support.reading import records

OFF = ", ".join(f"{field.name}: {0 if field.name == 'batches' else 'false'}" for field in dataclasses.fields(LogSpec))
KINDS = {"none": f"log={{{OFF}}}", "defaults": "log={}", "everything": "log={projector: true}"}


def cost(folder: Path, words: list[str]) -> dict[str, float]:
    """Run the study; return the trials' seconds, the share of logging, the largest trial's bytes and its event files."""
    study = REPOSITORY / "studies" / "fashion.yaml"
    assert run_sweep("run", str(study), f"output={folder}", *words, here=folder, timeout=7200).code == 0
    found = records(folder / "fashion")
    assert all(record.state is TrialState.COMPLETE for record in found)
    sizes, files = [], []
    for record in found:
        run = folder / "fashion" / record.folder
        sizes.append(sum(path.stat().st_size for path in run.rglob("*") if path.is_file() and path.name != CHECKPOINT))
        files.append(len(list(run.rglob("*tfevents*"))))
    time = run_sweep("status", str(folder / "fashion"), "--json", here=folder).json["time"]
    return {
        "seconds": sum(record.duration_s or 0.0 for record in found),
        "share": time["logging_s"] / time["training_s"],
        "bytes": max(sizes),
        "files": max(files),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="for a smaller study, such as batch_size.values=[64]")
    options = parser.parse_args()
    print(describe())
    costs: dict[str, list[float]] = {"defaults": [], "everything": []}
    for number in range(options.rounds):
        found = {}
        for kind, log in KINDS.items():
            with tempfile.TemporaryDirectory() as name:
                found[kind] = cost(Path(name), [f"epochs.value={options.epochs}", log, *options.overrides])
            one = found[kind]
            print(
                f"round {number + 1}, {kind}: {one['seconds']:.1f} s of trials, {one['share']:.2%} of training for logging; the"
                f" largest has {one['bytes'] / 1e6:.2f} MB and {one['files']:.0f} event file",
                flush=True,
            )
        for kind, values in costs.items():
            values.append(found[kind]["share"])
            print(f"{kind}: {found[kind]['seconds'] / found['none']['seconds'] - 1:+.1%} of the trials' time")
    medians = {kind: round(statistics.median(values), 4) for kind, values in costs.items()}
    print(json.dumps({"epochs": options.epochs} | medians))


if __name__ == "__main__":
    main()
