"""The comparison with the peers measures what it says, and names the peers that are not installed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from sweep.worker.versions import version
from tests.benchmarks import timer
from tests.benchmarks.compare import against, sides, table
from tests.benchmarks.contenders import CONTENDERS, command
from tests.benchmarks.figures import figures, medians
from tests.benchmarks.machine import not_installed
from tests.benchmarks.terms import GRID, TRAINING_SAMPLES, Terms, tag, unpacked
from tests.benchmarks.watching import Watched, watch
from tests.conftest import REPOSITORY
from tests.support.waiting import alive, wait_for

TERMS = Terms(folder="folder", epochs=2, samples=100, slots=2, device="cpu")
WATCHED = Watched(
    code=0, started=1000.0, seconds=40.0, cpu_s=60.0, peak_mb=900.0, peaks_mb={7: 100.0, 8: 300.0, 9: 400.0}, root=7, left=0,
    watching_cpu_s=0.1,
)  # fmt: skip


def write_script(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text))


@pytest.mark.parametrize(
    ("spans", "slots", "share"),
    [
        ([(0, 10), (10, 20), (20, 99)], 1, 0.0),
        ([(0, 10), (15, 20), (20, 30)], 1, 0.25),  # five of the first twenty seconds
        ([(0, 10), (0, 6), (10, 20)], 2, 0.2),  # only the time before the last start counts
        ([(0, 10)], 2, 0.0),  # there was only one trial
        ([(0, 10), (10, 20)], 4, 0.75),
    ],
)
def test_the_idle_share_is_the_slots_time_without_a_trial(spans: list[tuple[float, float]], slots: int, share: float) -> None:
    """From the first trial's start to the last one's."""
    assert timer.idle_share(spans, slots) == pytest.approx(share)


def test_a_run_becomes_a_row(tmp_path: Path) -> None:
    """From what was recorded and measured of two trials."""
    lines = [
        {"what": "start", "at": 1010, "pid": 8, "setting": "a"},
        {"what": "start", "at": 1012, "pid": 9, "setting": "b"},
        {"what": "step", "at": 1013, "pid": 9},
        {"what": "step", "at": 1014, "pid": 8},
        {"what": "end", "at": 1020, "pid": 8, "setting": "a", "accuracy": 0.25},
        {"what": "end", "at": 1021, "pid": 9, "setting": "b", "accuracy": 0.75},
    ]
    (tmp_path / "timer").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recorded = timer.read(tmp_path / "timer", 2)
    assert list(recorded.spans) == [(1010, 1020), (1012, 1021)]
    found = figures(WATCHED, recorded, TERMS)
    assert (found.samples_s, found.first_step_s, found.accuracy) == (2 * 100 * 2 / 40, 13.0, 0.5)
    assert (found.peak_mb, found.worker_mb, found.root_mb) == (900.0, 400.0, 100.0)
    assert found.accuracies == {"a": 0.25, "b": 0.75}
    with pytest.raises(ValueError, match="of 12 trials 2 started, 2 ended"):
        timer.read(tmp_path / "timer", 12)
    with pytest.raises(ValueError, match="0 started"):
        timer.read(tmp_path / "nothing", 12)


def test_ratios_are_taken_within_a_round() -> None:
    """Then the medians over the rounds; a figure that no round has is a dash in the table."""
    one = figures(WATCHED, timer.Recorded(spans=((0, 1),), first_step=1001, accuracies={"a": 0.5}, pids=frozenset([8])), TERMS)
    seconds = [(10.0, 30.0), (20.0, 20.0), (40.0, 80.0)]  # ours, theirs: the machine became slower
    rounds = [against("ours", {"ours": replace(one, wall_s=a), "theirs": replace(one, wall_s=b)}) for a, b in seconds]
    theirs = medians([found["theirs"] for found in rounds])
    assert (theirs["wall_s"], theirs["times"]) == (30.0, 2.0)
    alone = against(None, {"theirs": replace(one, peak_mb=None)})
    text = table({"theirs": theirs, "alone": medians([alone["theirs"]])})
    assert [line.count("|") for line in text.splitlines()] == [12] * 4
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert cells[0][:5] == ["side", "wall s", "times", "samples/s", "CPU s"]
    assert cells[2][:3] == ["theirs", "30.0", "2.00"]
    assert (cells[3][2], cells[3][5]) == ("-", "-")


def test_every_side_has_a_row_and_a_command() -> None:
    """Ours has one for each number of workers; all train the twelve settings of the built-in study."""
    rows = sides([one.key for one in CONTENDERS], [1, 4], 2)
    assert next(iter(rows)) == "plain loop"
    assert list(rows)[-2:] == ["sweep, 1 worker", "sweep, 4 workers"]
    assert [slots for _, slots in rows.values()] == [1, 2, 2, 2, 2, 1, 4]
    assert max(map(len, rows)) < 50  # the table has to fit
    assert "parameters.train_samples.value=100" in command("sweep", TERMS)
    assert not any("samples" in word for word in command("sweep", replace(TERMS, samples=TRAINING_SAMPLES)))
    assert unpacked(command("ray", TERMS)[-1]) == TERMS
    assert len({tag(setting) for setting in GRID}) == 12


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")
def test_the_watcher_sees_a_whole_tree_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    """A daemon in a session of its own, which computes, has 60 MB and would outlive its parent."""
    write_script(
        tmp_path / "child.py",
        """
        import time
        held, ends = bytearray(b"x") * 60_000_000, time.process_time() + 0.6
        while time.process_time() < ends:
            pass
        open("computed", "w").close()
        time.sleep(600)
        """,
    )
    write_script(
        tmp_path / "parent.py",
        """
        import os, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "child.py"], start_new_session=True)
        while not os.path.exists("computed"):
            time.sleep(0.05)
        time.sleep(0.6)  # for another reading
        print(child.pid, os.environ["GIVEN"], flush=True)
        os._exit(3)
        """,
    )
    log = tmp_path / "log.txt"
    found = watch([sys.executable, "parent.py"], folder=tmp_path, env={"GIVEN": "yes"}, log=log, grace_s=0.1)
    pid, given = log.read_text().split()
    assert (found.code, found.left, given) == (3, 1, "yes")
    assert 0.6 <= found.cpu_s < 5
    assert found.peak_mb is not None
    assert found.peak_mb >= found.peaks_mb[int(pid)] > 60
    assert found.root in found.peaks_mb
    assert found.seconds > 1
    assert ended(int(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc")
def test_a_command_that_is_interrupted_leaves_nothing_either(tmp_path: Path) -> None:
    """Also when it is interrupted once more while it ends its processes."""
    write_script(
        tmp_path / "parent.py",
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print(child.pid, flush=True)
        time.sleep(600)
        """,
    )
    write_script(
        tmp_path / "watching.py",
        """
        import sys
        from pathlib import Path
        from tests.benchmarks.watching import watch
        watch([sys.executable, "parent.py"], folder=Path(), env={}, log=Path("log.txt"))
        """,
    )
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "watching.py"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    log = tmp_path / "log.txt"
    pid = int(wait_for(lambda: log.exists() and log.read_text().endswith("\n") and log.read_text()))
    process.send_signal(signal.SIGINT)
    time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    wait_for(lambda: ended(pid), 10)  # a killed process needs a moment to be gone


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or not alive(psutil.Process(pid))


@pytest.mark.slow
def test_the_comparison_runs(fashion_data: Path) -> None:
    """The sides that need no extra, and a line for each of the others that is not installed."""
    missing = [one for one in CONTENDERS if version(one.package) is None]
    keys = ["plain", "sweep", "optuna", *(one.key for one in missing)]
    words = ["--epochs", "1", "--samples", "500", "--rounds", "1", "--workers", "1", "--overhead-trials", "20", "--only", *keys]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.compare", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d, .* cores, .*Python 3\.\d+\.\d+, torch \d", lines[0])
    whole = json.loads(lines[-1])
    names = [name for name in sides(keys, [1], 2) if name not in whole["missing"]]
    assert list(whole["medians"]) == names
    assert len(names) == 3
    assert [sum(line.startswith(f"| {name} ") for line in lines) for name in names] == [1, 1, 1]
    assert all(not_installed(name) in lines for name in whole["missing"])
    assert len(whole["missing"]) == len(missing)
    for row in whole["rounds"][0].values():
        assert len(row["accuracies"]) == 12
        assert 0 < row["first_step_s"] < row["wall_s"]
        assert row["killed"] == 0
    assert whole["medians"]["sweep, 1 worker"]["times"] == 1.0
    assert {"sweep", "Optuna, journal"} <= set(whole["overhead_ms"])
