"""What a trial does to its process, and what it starts: the next trial finds nothing of it, and no number changes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.worker.marks import VARIABLE, mark_of
from tests.hostile import leaving
from tests.support.command_line import COMMAND, Running, run_sweep
from tests.support.studies import make_study, study_text, write_study
from tests.support.waiting import alive, wait_for, wait_until_gone

pytestmark = pytest.mark.slow
CASES = [name for name in leaving.LEAVES if not name.startswith("nothing")]
FAIL = {"an error", "an exit", "an interrupt", "an error in another folder"}


class Left:
    """A study in which each trial leaves something, and is followed by one that leaves nothing.

    Attributes:
        trials: as `sweep trials` prints them, by what they leave.
    """

    def __init__(self, folder: Path, names: list[str], workers: int) -> None:
        (folder / "mine.py").write_text(Path(leaving.__file__).read_text())
        (folder / "lazily.py").write_text("counter = 0\n")
        text = study_text(
            {"leaves": names}, workers={"devices": "cpu", "per_device": workers}, stop_after_failures=1000, timeout="60s"
        )
        few = ("bash", "-c", 'ulimit -n 1024 && exec "$@"', "-", *COMMAND)  # so that a trial can leave too many files open
        done = run_sweep("run", str(write_study(folder, text)), here=folder, command=few)
        self.out = done.out + done.err
        assert "Traceback" not in done.err, self.out
        self.code = done.code
        found: Any = run_sweep("trials", "runs/study", "--format", "json", here=folder).json
        self.trials = {trial["params"]["leaves"]: trial for trial in found}
        self.order = [trial["params"]["leaves"] for trial in sorted(found, key=lambda trial: trial["number"])]

    def file(self, name: str, file: str) -> str:
        """Return the text of a trial's file, empty if there is none."""
        path = Path(self.trials[name]["dir"], file)
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """All of them one after another, in one worker."""
    return Left(tmp_path_factory.mktemp("one"), ["nothing", *CASES, "nothing again"], 1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """In the opposite order, four at a time."""
    return Left(tmp_path_factory.mktemp("other"), [*CASES[::-1], "nothing"], 4)


@pytest.mark.parametrize("name", CASES)
def test_the_next_trial_finds_nothing_of_it(one: Left, name: str) -> None:
    """It finds what the very first trial found."""
    following = one.order[one.order.index(name) + 1]
    assert json.loads(one.file(following, "found.json")) == json.loads(one.file("nothing", "found.json")), one.out


@pytest.mark.parametrize("name", CASES)
def test_its_result_is_the_same_in_any_order_and_with_any_number_of_workers(one: Left, other: Left, name: str) -> None:
    """All trials have one seed and train alike, so all have the same numbers; those that fail fail in both."""
    state = "failed" if name in FAIL else "complete"
    assert (one.trials[name]["state"], one.trials[name]["attempts"]) == (state, 1), one.trials[name]["error"]
    for trial in (one.trials[name], other.trials[name]):
        assert (trial["state"], trial["metrics"]) == (state, one.trials["nothing"]["metrics"])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("a child", "a daemon", "a copy that keeps"))])
def test_what_it_started_ends_with_it(one: Left, other: Left, name: str) -> None:
    """In whatever session it is."""
    for study in (one, other):
        pid = int(study.file(name, "child"))
        assert not psutil.pid_exists(pid) or not alive(psutil.Process(pid))


ESCAPING = """
import os, subprocess, time

def _in_a_session(trial):
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

def _daemon(trial):
    if (first := os.fork()) == 0:
        os.setsid()
        if (pid := os.fork()) == 0:
            time.sleep(600)
        (trial.dir / "daemon").write_text(str(pid))
        os._exit(0)
    os.waitpid(first, 0)
    return int((trial.dir / "daemon").read_text())

def _restarts(trial):
    code = "trap '' TERM; setsid sleep 600 & setsid sleep 600 & wait"
    return subprocess.Popen(["bash", "-c", code], start_new_session=True).pid

def _torchrun(trial):
    import sys
    (trial.dir / "t.py").write_text("import time; time.sleep(600)")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=1", str(trial.dir / "t.py")]
    return subprocess.Popen(words, start_new_session=True).pid

def train(trial):
    pid = globals()["_" + trial.params["how"]](trial)
    (trial.dir / "child").write_text(str(pid))
    trial.report(1, {"score": 1.0})
    end = trial.params["end"]
    if end == "dies":
        os._exit(1)
    while end != "ends":
        time.sleep(0.02)
"""
HOWS = ("in_a_session", "daemon", "restarts", "torchrun")


def _escaping(here: Path, how: str, end: str, **keys: Any) -> Path:
    (here / "mine.py").write_text(ESCAPING)
    return write_study(here, study_text({"how": how, "end": end}, **({"retries": 0} | keys)))


def _child(here: Path) -> psutil.Process | None:
    """Return the process that the trial has started, None if there is none yet."""
    for path in here.glob("runs/study/0*/child"):
        with contextlib.suppress(psutil.NoSuchProcess, ValueError):
            return psutil.Process(int(path.read_text()))
    return None


def _of_this_study(here: Path) -> list[psutil.Process]:
    """Return every process that has the mark of the study that runs here."""
    found = []
    mark = mark_of(here / "runs" / "study")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if alive(process) and process.environ().get(VARIABLE, "").startswith(mark):
                found.append(process)
    return found


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("end", ["ends", "dies", "takes too long"])
def test_what_left_its_session_ends_with_its_trial(here: Path, how: str, end: str) -> None:
    """However the trial ends."""
    done = run_sweep("run", str(_escaping(here, how, end, timeout="4s" if end == "takes too long" else None)), here=here)
    assert done.code == (0 if end == "ends" else 1), done.out + done.err
    wait_for(lambda: not _of_this_study(here), seconds=5)
    child = _child(here)
    assert child is None or not alive(child)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("killed", ["the runner", "the runner and the guardian", "the template", "the worker"])
def test_what_left_its_session_ends_when_others_are_killed(here: Path, how: str, killed: str) -> None:
    """At once where somebody is left who can, else when the study is run the next time, which says so."""
    study = _escaping(here, how, "waits")
    with Running("run", str(study), here=here) as running:
        running.wait_until(lambda: _child(here))
        child = _child(here)
        assert child is not None
        guardians = [process for process in running.processes("python") if "-I" in process.cmdline()]
        victims = {"the template": "sweep-template", "the worker": "sweep-slot"}
        if killed in victims:
            running.processes(victims[killed])[0].kill()
            assert running.end() == 1
        else:
            for process in [psutil.Process(running.process.pid), *(guardians if "guardian" in killed else ())]:
                process.kill()
            running.process.wait(10)
        if killed == "the runner and the guardian":
            assert alive(child)
            (here / "mine.py").write_text(ESCAPING.replace('!= "ends"', '== "never"'))
            _run_again(here, study)
        wait_until_gone([child], seconds=10)


def _run_again(here: Path, study: Path) -> None:
    """Run the study to its end, beside a process that only looks as if it was the study's."""
    bystander = subprocess.Popen(["sleep", "600"], env={**os.environ, VARIABLE: "f" * 32, "OTHER": f"{VARIABLE}={'a' * 32}"})
    try:
        done = run_sweep("run", str(study), here=here)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert "that an earlier session had left behind" in done.out, done.out + done.err


@pytest.mark.parametrize("name", ["random", "json", "types", "torch", "numpy", "signal", "queue", "typing", "copy"])
def test_a_file_with_the_name_of_a_module_that_is_needed_is_named(here: Path, name: str) -> None:
    """Nothing runs, and nothing of ours breaks."""
    (here / f"{name}.py").write_text("broken = 1\n")
    study = make_study(here, {"x": 1, "steps": 1})
    code = "import sys; from sweep.cli.main import main; sys.exit(main())"
    done = run_sweep("run", str(study), here=here, command=(sys.executable, "-P", "-c", code))  # as the program `sweep` does
    assert done.code == 2, done.out + done.err
    assert f"{here / name}.py has the name of" in done.err
    assert "rename it" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["test", "profile", "code", "cmd", "statistics", "site_packages"])
def test_a_file_with_another_name_of_python_is_the_users_own(here: Path, name: str) -> None:
    """It is imported as in any program."""
    (here / f"{name}.py").write_text("value = 3.0\n")
    (here / "mine.py").write_text(f"import {name}\ndef train(trial):\n    trial.report(1, {{'score': {name}.value}})\n")
    done = run_sweep("run", str(write_study(here, study_text({"x": 1}))), here=here)
    assert done.code == 0, done.out + done.err


def test_a_broken_torch_says_why(here: Path) -> None:
    """With the text of its own error, though the template imported it first."""
    (here / "broken" / "torch").mkdir(parents=True)
    (here / "broken" / "torch" / "__init__.py").write_text("import sys\nraise ImportError('libcudart.so.12: cannot open it')\n")
    path = os.pathsep.join([str(here / "broken"), os.environ.get("PYTHONPATH", "")])
    (here / "mine.py").write_text("import torch\ndef train(trial):\n    trial.report(1, {'score': 1.0})\n")
    study = write_study(here, study_text({"x": 1}, objective="mine:train"))
    done = run_sweep("run", str(study), here=here, env={"PYTHONPATH": path})
    assert done.code == 2
    assert "importing it raised ImportError: libcudart.so.12: cannot open it" in done.err


@pytest.mark.parametrize("files", [9, 12, 15, 18, 21, 24, 32, 64])
def test_too_few_open_files_are_named(here: Path, files: int) -> None:
    """Either there are enough, or the message says what to raise; the study can go on afterwards."""
    study = make_study(here, {"x": 1, "steps": 1})
    command = ("bash", "-c", f'ulimit -n {files} && exec "$@"', "-", *COMMAND)
    done = run_sweep("run", str(study), here=here, command=command)
    assert done.code == 0 or "Too many open files" in done.err, done.out + done.err
    assert "vanished" not in done.out + done.err
    assert run_sweep("run", str(study), here=here).code == 0


@pytest.mark.parametrize("inherited", ["SIGCHLD ignored", "all signals blocked", "SIGTERM ignored"])
def test_what_the_program_inherits_reaches_no_trial(here: Path, inherited: str) -> None:
    """Trials find the signals as a fresh program does, and their children's exit codes."""
    (here / "mine.py").write_text(
        "import signal, subprocess\ndef train(trial):\n"
        "    assert subprocess.run(['false']).returncode == 1\n"
        "    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "    trial.report(1, {'score': float(signal.getsignal(signal.SIGCHLD))})\n"
    )
    prepare = {
        "SIGCHLD ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "all signals blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))",
        "SIGTERM ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    }[inherited]
    code = f"import os, signal, sys; {prepare}; os.execv(sys.argv[1], sys.argv[1:])"
    study = write_study(here, study_text({"x": [1, 2]}, workers={"devices": "cpu", "per_device": 2}))
    done = run_sweep("run", str(study), here=here, command=(sys.executable, "-c", code, *COMMAND))
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize("count", [1, 4])
def test_a_cache_stays_in_its_process(here: Path, count: int) -> None:
    """What a module keeps for the next trial is loaded once for each worker."""
    (here / "mine.py").write_text(
        "import functools, os, pathlib\ndata = None\nby_name = {}\nrows = []\n@functools.lru_cache\ndef load(): return object()\n"
        "def train(trial):\n    global data\n    if data is None:\n        data = [1] * 1000\n"
        "        with open(trial.dir.parent / 'loads', 'a') as file: print(os.getpid(), file=file)\n"
        "    by_name[trial.number] = load(); rows.append(trial.number)\n    trial.report(1, {'score': 1.0})\n"
    )
    run = study_text({"x": list(range(20))}, workers={"devices": "cpu", "per_device": count})
    assert run_sweep("run", str(write_study(here, run)), here=here).code == 0
    assert len((here / "runs" / "study" / "loads").read_text().split()) <= count


@pytest.mark.parametrize(
    "left", ["torch.set_default_dtype(torch.float64)", "threading.Thread(target=time.sleep, args=(60,)).start()"]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_preparation_leaves_reaches_no_trial(here: Path, left: str, workers: int) -> None:
    """It runs in one of the workers, and all trials are alike."""
    (here / "mine.py").write_text(
        "import threading, time, torch\ndef train(trial):\n"
        "    score = float(torch.ones(1).element_size() + threading.active_count())\n    trial.report(1, {'score': score})\n"
        f"def prepare(params):\n    {left}\ntrain.prepare = prepare\n"
    )
    study = study_text({"x": list(range(4))}, workers={"devices": "cpu", "per_device": workers})
    done = run_sweep("run", str(write_study(here, study)), here=here)
    assert done.code == 0, done.out + done.err
    trials = run_sweep("trials", "runs/study", "--format", "json", here=here).json
    assert len({trial["value"] for trial in trials}) == 1
    assert trials[0]["value"] < 8


def test_two_hundred_trials_that_fail_keep_their_process(here: Path) -> None:
    """An error alone is no reason for a new process, which would take seconds in all."""
    (here / "mine.py").write_text(
        "import os, torch\ndef train(trial):\n    (trial.dir / 'pid').write_text(str(os.getpid()))\n"
        "    with torch.no_grad():\n        raise RuntimeError('boom')\n"
    )
    run_sweep("run", str(write_study(here, study_text({"x": list(range(200))}, stop_after_failures=1000))), here=here)
    pids = [path.read_text() for path in here.glob("runs/study/0*/pid")]
    assert (len(pids), len(set(pids))) == (200, 1)
