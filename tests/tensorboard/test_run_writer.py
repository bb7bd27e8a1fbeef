"""What the program writes itself, without torch: the records are those of torch's `SummaryWriter`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard.summary import custom_scalars

from sweep.tensorboard import charts, event_files
from sweep.tensorboard.run_writer import RunWriter
from sweep.tensorboard.writer import TrialWriter


@pytest.mark.parametrize(("value", "step"), [(0.1, 3), (np.float32(0.1), None), (float("nan"), 0), (7, 2**40)])
def test_a_point_is_the_same_record(tmp_path: Path, value: float, step: int | None) -> None:
    """Of every kind of number, with and without a step."""
    run = RunWriter(tmp_path)
    run.add_scalar("loss/ä", value, step, 1.5)
    TrialWriter(run).add_scalar("loss/ä", value, step, 1.5)
    run.close()
    (path,) = tmp_path.iterdir()
    with path.open("rb") as file:
        places = list(event_files.records(file))
    contents = [path.read_bytes()[start : start + length] for start, length in places]
    ours, torchs = contents[-2:]
    assert ours == torchs


def test_charts_are_the_same_record() -> None:
    """Those of several curves, and those of a curve and its margin."""
    layout: charts.Layout = {"a": {"b": ["Multiline", ["x", "y"]], "c": ["Margin", ["x", "low", "high"]]}, "d": {}}
    assert charts.record(layout).SerializeToString() == custom_scalars(layout).SerializeToString()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    with pytest.raises(ValueError, match="three tags"):
        charts.record({"a": {"b": ["Margin", ["x"]]}})


def test_nothing_of_it_imports_torch(tmp_path: Path) -> None:
    """A whole run: its row, a point, charts, a panel that needs no tensor."""
    program = f"""
import sys
from sweep.study.spec import LogSpec
from sweep.tensorboard import trial_log, script_events
from sweep.tensorboard.panels import Panels
from sweep.tensorboard.run_writer import RunWriter
run = RunWriter({str(tmp_path)!r})
panels = Panels(run, LogSpec(batches=1), first=True)
run.describe({{}}, ["loss"])
run.start_session({{"x": 1}}, {{}})
run.add_scalar("loss", 1.0, 1)
run.charts_of(["a/loss", "b/loss"])
panels.batch(1, {{"loss": 1}})
panels.reported(1)
run.end_session(success=True)
run.close()
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
