"""The same study on a Ray cluster of several nodes that do not see the study's folder: nothing differs from one machine."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sweep.study.trial import TrialState
from tests.conftest import REPOSITORY
from tests.support.clusters import Cluster, cluster
from tests.support.command_line import Running, run_sweep
from tests.support.interrupting import reached, without
from tests.support.reading import event_records, outcome, records
from tests.support.studies import study_text, write_objectives, write_study
from tests.support.waiting import alive, eventually

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
KEEPS_WORKERS = True  # the nodes
TIMINGS = ("time/epoch_s",)
SEED, KILLS = int(os.environ.get("RAY_SEED", "16")), int(os.environ.get("RAY_KILLS", "8"))
LEARNING: dict[str, Any] = {"objective": "mine:learn", "checkpoints": {"keep_best": 100}, "retries": 0}
EPOCHS = int(os.environ.get("RAY_EPOCHS", "1"))


@pytest.fixture(autouse=True)
def _no_node_left(nodes: Cluster) -> Iterator[None]:
    """End the nodes of each test, so that the next one has its own alone."""
    yield
    nodes.end_nodes()


@pytest.fixture
def study(here: Path) -> Path:
    """A study with checkpoints, beside its objectives."""
    write_objectives(here)
    (here / "runs").mkdir()
    return write_study(here, study_text({"x": [1, 2, 3, 4, 5, 6], "steps": 8, "sleep": 0.1}, **LEARNING))


def far(nodes: Cluster) -> list[str]:
    return ["name=far", "workers.engine=ray", f"workers.address={nodes.address}"]


def near(study: Path, here: Path) -> list[dict[str, Any]]:
    """Return what the study is on one machine."""
    done = run_sweep("run", str(study), "name=near", "workers.per_device=2", here=here)
    assert done.code == 0, done.out
    return outcome(here / "runs" / "near")


def test_two_nodes_without_a_shared_folder_give_what_one_machine_gives(nodes: Cluster, study: Path, here: Path) -> None:
    """Every number, point and weight; the folder is whole, and nothing is left on the nodes."""
    for _ in range(2):
        nodes.add(hidden=[here])
    done = run_sweep("run", str(study), *far(nodes), here=here)
    assert done.code == 0, done.out
    assert outcome(here / "runs" / "far") == near(study, here)
    devices = {record.device for record in records(here / "runs" / "far")}
    assert len(devices) == 2


def test_a_shared_folder_is_found_by_trying(nodes: Cluster, study: Path, here: Path) -> None:
    """A node that sees the study's folder writes there itself."""
    nodes.add()
    done = run_sweep("run", str(study), *far(nodes), here=here)
    assert done.code == 0, done.out
    assert outcome(here / "runs" / "far") == near(study, here)


def test_fashion_mnist_on_two_nodes(nodes: Cluster, here: Path) -> None:
    """The twelve trials, on nodes that have homes and caches of their own: each record of the event files is the same."""
    for name in ("one", "two"):
        nodes.add(hidden=[here], env={"HOME": str(nodes.disk / name)})
    words = [str(REPOSITORY / "studies" / "fashion.yaml"), f"epochs.value={EPOCHS}", "checkpoints.keep_best=12"]
    for extra in (far(nodes), ["name=near", "workers.devices=cpu", "workers.per_device=2"]):
        done = run_sweep("run", *words, *extra, here=here, timeout=1500)
        assert done.code == 0, done.out + done.err
    there, calm = here / "runs" / "far", here / "runs" / "near"
    assert outcome(there, timings=TIMINGS) == outcome(calm, timings=TIMINGS)
    for record in records(there):
        found, expected = (event_records(folder / record.folder, timings=TIMINGS) for folder in (there, calm))
        assert len(found) > 20 * EPOCHS
        assert any(b"predictions/confusion" in one for one in found)  # which the runner draws
        assert found == expected
    assert len({record.device for record in records(there)}) == 2


def test_random_kills_change_no_number(nodes: Cluster, study: Path, here: Path) -> None:
    """Of workers, of what hosts them, of Ray's own processes, of nodes and of the runner, until the study is done."""
    draws = random.Random(SEED)
    print(f"RAY_SEED={SEED}")
    study = write_study(here, study_text({"x": [*range(1, KILLS + 1)], "steps": 12, "sleep": 0.2}, **LEARNING))
    expected = near(study, here)
    alive = [nodes.add(hidden=[here]) for _ in range(2)]
    folder = here / "runs" / "far"
    kills: list[str] = []
    running = Running("run", str(study), *far(nodes), "retries=30", here=here)
    try:
        for _ in range(KILLS):
            if not running.running():
                break
            before = sum(record.step or 0 for record in records(folder)) if (folder / "study.db").exists() else 0
            with contextlib.suppress(AssertionError):
                running.wait_until(lambda: reached(folder, 1)() and total(folder) > before, 60)  # noqa: B023  # asked at once
            part = draws.choice(["worker", "host", "raylet", "node", "runner"])
            kills.append(part)
            node = draws.choice(alive)
            if part == "runner":
                running.send(signal.SIGKILL)
                running.end()
                running = Running("run", str(study), *far(nodes), "retries=30", here=here)
            elif part in ("node", "raylet"):
                for process in node.named("raylet") if part == "raylet" else []:
                    process.kill()
                node.kill()
                alive.remove(node)
                alive.append(nodes.add(hidden=[here]))
            else:
                name = {"worker": "sweep-slot", "host": "ray::Host"}[part]
                for process in node.named(name)[:1]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
        assert running.end(400) == 0, running.out
    finally:
        running.process.kill()
        running.end()
    print(len(kills), kills)
    assert len(kills) == KILLS
    assert outcome(folder) == expected


def total(folder: Path) -> int:
    return sum(record.step or 0 for record in records(folder))


def test_a_node_that_is_lost_uses_up_no_retry(nodes: Cluster, study: Path, here: Path) -> None:
    """The trial goes to the node that joins; the table says that it was put back."""
    expected = near(study, here)
    first = nodes.add(hidden=[here])
    folder = here / "runs" / "far"
    with Running("run", str(study), *far(nodes), here=here) as running:
        running.wait_until(reached(folder, 3), 60)
        first.kill()
        running.line("waits for room", 60)
        nodes.add(hidden=[here])
        assert running.end(120) == 0, running.out
    assert outcome(folder) == expected
    assert all(record.state is TrialState.COMPLETE for record in records(folder))


@pytest.mark.parametrize("seconds", [8, 40])
def test_a_node_that_does_not_answer_doubles_nothing(nodes: Cluster, study: Path, here: Path, seconds: int) -> None:
    """As when the network to it is cut: its trial waits for it, or is trained by the other; each number is there once."""
    expected = near(study, here)
    pair = [nodes.add(hidden=[here]) for _ in range(2)]
    folder = here / "runs" / "far"
    with Running("run", str(study), *far(nodes), here=here) as running:
        running.wait_until(reached(folder, 3), 60)
        frozen = pair[0].processes()
        for process in frozen:
            process.suspend()
        time.sleep(seconds)
        for process in filter(alive, frozen):
            process.resume()
        assert running.end(120) == 0, running.out
        print(running.out)
    eventually(nodes.processes_left, [], 10)
    assert outcome(folder) == expected
    assert all(record.state is TrialState.COMPLETE for record in records(folder))


def test_a_stop_while_a_node_is_lost_is_a_stop(nodes: Cluster, study: Path, here: Path) -> None:
    """Whatever is lost meanwhile, the session ends in order, and goes on elsewhere."""
    expected = near(study, here)
    pair = [nodes.add(hidden=[here]) for _ in range(2)]
    folder = here / "runs" / "far"
    with Running("run", str(study), *far(nodes), here=here) as running:
        running.wait_until(reached(folder, 3), 60)
        running.send(signal.SIGINT)
        pair[0].kill()
        assert running.end(60) == 130, running.out
    assert "Traceback" not in running.out
    eventually(nodes.processes_left, [], 10)
    done = run_sweep("run", str(study), *far(nodes), here=here)
    assert done.code == 0, done.out + done.err
    assert outcome(folder) == expected


def test_a_stop_while_slots_wait_for_room_is_a_stop(nodes: Cluster, study: Path, here: Path) -> None:
    """No node is there at all."""
    with Running("run", str(study), *far(nodes), here=here) as running:
        running.line("no node of the cluster has room", 60)
        running.send(signal.SIGINT)
        assert running.end(20) == 130, running.out
    node = nodes.add(hidden=[here])
    with Running("run", str(study), *far(nodes), here=here) as running:
        running.wait_until(reached(here / "runs" / "far", 2), 60)
        node.kill()
        running.line("waits for room", 60)
        running.send(signal.SIGINT)
        assert running.end(20) == 130, running.out
    assert "Traceback" not in running.out


def test_a_node_without_sweep_is_an_error(nodes: Cluster, study: Path, here: Path) -> None:
    """Which says what is missing there, and does not start its worker again and again."""
    (here / "broken" / "sweep").mkdir(parents=True)
    (here / "broken" / "sweep" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'sweep'\")")
    nodes.add(env={"PYTHONPATH": str(here / "broken")})
    done = run_sweep("run", str(study), *far(nodes), here=here)
    assert done.code == 2, done.out + done.err
    assert "No module named 'sweep'" in done.err
    assert "Traceback" not in done.err


def test_a_node_with_another_version_is_refused(nodes: Cluster, study: Path, here: Path) -> None:
    """By its name, before it trains anything."""
    other = here / "other" / "sweep-99.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: sweep\nVersion: 99.0\n")
    nodes.add(env={"PYTHONPATH": f"{other.parent}:{os.environ.get('PYTHONPATH', '')}"})
    done = run_sweep("run", str(study), *far(nodes), here=here)
    assert done.code == 2, done.out + done.err
    assert "has sweep 99.0, this machine" in done.err


def test_a_head_that_is_killed_ends_the_session_in_order(study: Path, here: Path) -> None:
    """Nothing is lost: on another cluster the study goes on from its checkpoints."""
    done = run_sweep("run", str(study), "name=near", "workers.per_device=2", "sleep.value=0", here=here)
    assert done.code == 0, done.out + done.err
    folder, words = here / "runs" / "far", ["sleep.value=12"]
    with cluster() as first:
        first.add(2, hidden=[here])
        with Running("run", str(study), *far(first), *words, here=here) as running:
            running.wait_until(reached(folder, 1), 60)
            began = time.monotonic()
            first.head.kill()
            code = running.end(200)
            print(f"the session ended with {code} after {time.monotonic() - began:.1f} s", running.out)
        assert code == 1, running.out
        assert "Traceback" not in running.out
        assert "sweep resume" in running.out
        eventually(first.processes_left, [], 30)
    with cluster() as second:
        second.add(2, hidden=[here])
        done = run_sweep("run", str(study), *far(second), "sleep.value=0.1", here=here)
        assert done.code == 0, done.out + done.err
    found, expected = ([without(one, "sleep") for one in outcome(here / "runs" / name)] for name in ("far", "near"))
    assert found == expected
