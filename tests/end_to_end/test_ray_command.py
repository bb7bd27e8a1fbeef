"""A Ray cluster from the command line: the option, the doctor, what waits, and the recipes as they are written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.support.clusters import Cluster, cluster
from tests.support.command_line import Running, run_sweep
from tests.support.interrupting import reached
from tests.support.reading import records
from tests.support.studies import study_text, write_objectives, write_study
from tests.support.waiting import wait_for

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
KEEPS_WORKERS = True  # the nodes
RECIPES = REPOSITORY / "studies" / "cluster"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A cluster with a head and one node with one core."""
    with cluster() as found:
        found.add(1)
        yield found


@pytest.fixture
def study(here: Path) -> Path:
    write_objectives(here)
    keys: dict[str, Any] = {"objective": "mine:learn", "workers": {"devices": "cpu"}}
    return write_study(here, study_text({"x": [1, 2], "steps": 8, "sleep": 0.1}, **keys))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the PATH with `sweep` and `ray`; other programs may be written there."""
    folder = tmp_path / "programs"
    folder.mkdir()
    write_program(folder / "sweep", f'exec {sys.executable} -m sweep "$@"')
    write_program(folder / "ray", f'exec {sys.executable} -m ray.scripts.scripts "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# What an autoscaler reads.
ASKED = """
import sys, ray
from ray.experimental.internal_kv import _internal_kv_get
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
print((_internal_kv_get("autoscaler_resource_request") or b"none").decode())
"""


def test_an_autoscaler_is_asked_for_room(nodes: Cluster, study: Path, here: Path) -> None:
    """For all trials that run or are left while the session runs, and for nothing afterwards."""

    def asked() -> Any:
        words = [sys.executable, "-c", ASKED, nodes.address]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        return json.loads(done.stdout.splitlines()[-1])

    with Running("run", str(study), "x.values=[1, 2, 3]", "steps.value=200", "--ray", nodes.address, here=here) as running:
        running.wait_until(reached(here / "runs" / "study", 1), 60)
        running.wait_until(lambda: len(asked()) == 3, 30)
        assert all(one.get("resources", one) == {"CPU": 1.0} for one in asked())
        running.send(signal.SIGINT)
        assert running.end(60) == 130, running.out
    assert asked() == []


def test_the_doctor_asks_each_node(nodes: Cluster, here: Path) -> None:
    """What it has, and that other machines may reach it or not."""
    done = run_sweep("doctor", "--ray", nodes.address, here=here)
    assert done.code == 0, done.out + done.err
    found = [line for line in done.out.splitlines() if line.startswith("ok   node ")]
    assert sorted(line.rpartition(": ")[2] for line in found) == ["0 CPU", "1 CPU"]
    assert done.out.count("FashionMNIST ") == 2
    assert done.out.count("torch ") == 3
    assert "security" in done.out


def test_what_waits_for_room_is_shown(nodes: Cluster, study: Path, here: Path) -> None:
    """The second sweep's slot waits until the first one is over; the device of each trial is its node."""
    words = ["run", str(study), "--ray", nodes.address, "x.values=[1]"]
    with Running(*words, "name=first", "steps.value=60", here=here) as first:
        first.wait_until(reached(here / "runs" / "first", 1), 60)
        with Running(*words, "name=second", here=here) as second:
            second.wait_until(lambda: status(here, "second").get("waiting_slots") == 1, 60)
            text = run_sweep("status", "runs/second", here=here).out
            assert "slots 1 slot waits for room on the cluster" in text
            assert f"on the Ray cluster at {nodes.address}" in text
            assert first.end(120) == 0
            assert second.end(120) == 0
    assert status(here, "second")["waiting_slots"] == 0
    assert all(" on " in (record.device or "") for record in records(here / "runs" / "second"))


def status(here: Path, name: str) -> dict[str, Any]:
    done = run_sweep("status", f"runs/{name}", "--json", here=here)
    return done.json if done.code == 0 else {}


def test_without_an_address_a_ray_is_started(study: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the session, and leaves nothing in the home folder."""
    home = here / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    done = run_sweep("run", str(study), "--ray", here=here)
    assert done.code == 0, done.out + done.err
    assert len(records(here / "runs" / "study")) == 2
    assert not (home / ".ray").exists()


def test_two_workstations(programs: Path, study: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are this machine here."""
    monkeypatch.setenv("PORT", str(free_port()))
    script = ["sh", str(RECIPES / "two_workstations.sh")]
    assert (
        "sh studies/cluster/two_workstations.sh head"
        in subprocess.run(script, capture_output=True, text=True, check=False).stderr
    )
    machines = []
    try:
        for words in (["head"], ["join", "127.0.0.1"]):
            log = here / f"{words[0]}.log"
            with log.open("wb") as output:
                machines.append(subprocess.Popen([*script, *words], stdout=output, stderr=output, stdin=subprocess.DEVNULL))
            wait_for(lambda: "Ray runtime started" in log.read_text(), 60)  # noqa: B023  # asked at once
        done = subprocess.run([*script, "run", "127.0.0.1", str(study)], capture_output=True, text=True, timeout=200, check=False)
    finally:
        for machine in machines[::-1]:
            machine.send_signal(signal.SIGINT)
            machine.wait(40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(records(here / "runs" / "study")) == 2


def test_a_job_of_slurm(programs: Path, study: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs in the place of SLURM's that start the same on this machine; a SIGTERM stops the sweep in order."""
    write_program(programs / "scontrol", "echo 127.0.0.1; echo other")
    write_program(programs / "srun", 'while [[ $1 == --* ]]; do shift; done\nexec "$@"')
    for name, value in {"JOB_NODELIST": "a,b", "JOB_NUM_NODES": "2", "CPUS_PER_TASK": "1", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    script = shutil.copy(RECIPES / "slurm.sh", here)  # SLURM runs a copy
    folder = here / "runs" / "study"
    for again in (False, True):
        monkeypatch.setenv("PORT", str(free_port()))
        with (here / f"job-{again}.log").open("wb") as output:
            job = subprocess.Popen(
                ["bash", script, str(study), "steps.value=40"], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
            try:
                if not again:
                    wait_for(reached(folder, 3), 120)
                    job.terminate()
                code = job.wait(200)
            finally:
                job.terminate()
                job.wait(40)
        assert code == (0 if again else 143), (here / f"job-{again}.log").read_text()
    assert [record.step for record in records(folder)] == [40, 40]
