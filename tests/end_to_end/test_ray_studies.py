"""What a study can be, and how it can be stopped, is on a Ray cluster what it is on one machine; two nodes, no shared folder."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.tensorboard.columns import FRONT
from tests.support.clusters import Cluster
from tests.support.command_line import COMMAND, Done, Running, run_sweep
from tests.support.interrupting import interrupt, reached
from tests.support.reading import outcome, records
from tests.support.studies import study_text, write_objectives, write_study
from tests.support.waiting import eventually, wait_for
from tests.test_lightning import OBJECTIVE, STUDY, numbers

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
KEEPS_WORKERS = True  # the nodes
SIX = {"x": [1, 2, 3, 4, 5, 6], "steps": 8, "sleep": 0.1}


@pytest.fixture(scope="module")
def pair(nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes of one core that see no folder of the tests."""
    added = [nodes.add(hidden=[tmp_path_factory.getbasetemp()]) for _ in range(2)]
    yield nodes
    for node in added:
        node.end()


def far(cluster: Cluster) -> list[str]:
    return ["workers.engine=ray", f"workers.address={cluster.address}"]


def write(here: Path, parameters: dict[str, Any], **keys: Any) -> Path:
    write_objectives(here)
    return write_study(here, study_text(parameters, **keys))


def learning(here: Path) -> Path:
    """A study with checkpoints, beside its objectives."""
    return write(here, SIX, objective="mine:learn", checkpoints={"keep_best": 100}, retries=0)


def good(*words: str, here: Path) -> Done:
    done = run_sweep("run", "study.yaml", *words, here=here)
    assert done.code == 0, done.out + done.err
    return done


def assert_equal(here: Path, *ignored: str) -> None:
    """Compare the study `far` with the same one on this machine, which is run now."""
    good("name=near", "workers.per_device=2", here=here)
    there, calm = (outcome(here / "runs" / name) for name in ("far", "near"))
    for one in (*there, *calm):  # which trials are marked when depends on the order in which they end
        if FRONT in one["points"]:
            one["points"][FRONT] = one["points"][FRONT][-1][1]
    for one, other in zip(there, calm, strict=True):
        assert {key: (one[key], other[key]) for key in other if key not in ignored and one[key] != other[key]} == {}


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "twice", "SIGKILL"])
def test_a_stopped_study_leaves_nothing_on_the_nodes(pair: Cluster, here: Path, how: str) -> None:
    """After 10 s no process, nor a file unless the runner was killed; it goes on here and gives the same numbers."""
    learning(here)
    folder = here / "runs" / "far"
    interrupt("run", "study.yaml", "name=far", *far(pair), here=here, when=reached(folder, 3), how=how)
    eventually(pair.processes_left if how in ("SIGKILL", "twice") else pair.left, [], 10)
    states = {str(record.state) for record in records(folder)}
    assert "failed" not in states
    if how in ("SIGINT", "SIGTERM"):
        begun = [record for record in records(folder) if str(record.state) == "waiting" and record.step]
        assert begun
        for record in begun:
            assert (folder / record.folder / "checkpoint.pt").exists()
    good("name=far", "workers.per_device=2", here=here)
    assert_equal(here)


def test_sweep_stop_stops_it(pair: Cluster, here: Path) -> None:
    """Also a trial that computes without a report; what was begun on one machine goes on on the cluster."""
    learning(here)
    folder = here / "runs" / "far"
    interrupt("run", "study.yaml", "name=far", "workers.per_device=2", here=here, when=reached(folder, 3))
    with Running("run", "study.yaml", "name=far", *far(pair), here=here) as running:
        running.wait_until(reached(folder, 8, trials=3))
        assert run_sweep("stop", "runs/far", here=here).code == 0
        assert running.end(30) == 143, running.out
    eventually(pair.left, [], 10)
    good("name=far", *far(pair), here=here)
    assert_equal(here)


def test_pruning_and_repeats(pair: Cluster, here: Path) -> None:
    """Each decision is made at the same report."""
    parameters = {"x": [1, 2, 3, 4], "steps": 4, "sleep": 0}
    write(here, parameters, repeats=2, pruner={"type": "threshold", "lower": 0.8})
    good("name=far", *far(pair), here=here)
    assert {str(record.state) for record in records(here / "runs" / "far")} == {"complete", "pruned"}
    assert_equal(here)


def test_several_metrics_by_a_script(pair: Cluster, here: Path) -> None:
    """A `command:`, which finds its own modules and data beside the study file, and resumes."""
    (here / "parts").mkdir()
    (here / "parts" / "__init__.py").write_text("FACTOR = 3\n")
    (here / "data.json").write_text("[10]")
    (here / "script.py").write_text(
        textwrap.dedent("""
        import json, time
        from parts import FACTOR
        from sweep import trial
        x, base = trial.params["x"], json.load(open("data.json"))[0]
        for step in trial.steps(6):
            time.sleep(0.1)
            trial.report(step, {"score": base + x * FACTOR / step, "cost": x + step / 10}, {"x": x})
        """)
    )
    metrics = [{"name": "score", "goal": "maximize"}, {"name": "cost", "goal": "minimize"}]
    keys: dict[str, Any] = {"objective": None, "metric": None, "metrics": metrics, "command": "python script.py ${args}"}
    write_study(here, study_text({"x": [1, 2, 3]}, **keys))
    folder = here / "runs" / "far"
    interrupt("run", "study.yaml", "name=far", *far(pair), here=here, when=reached(folder, 2))
    eventually(pair.left, [], 10)
    good("name=far", *far(pair), here=here)
    assert_equal(here, "weights")  # which hold the random numbers of the script's process, that nobody seeds


OWN = """
import os, time, torch

def train(trial):
    weights = torch.rand(7_500_000)  # 30 MB
    if trial.state is not None:
        weights = trial.state["weights"]
    for step in trial.steps(3):
        (trial.dir / "mine").mkdir(exist_ok=True)
        (trial.dir / "mine" / f"step{step}.txt").write_text(str(step))
        print("computing step", step, flush=True)
        if step == 3 and not (trial.dir / "waited").exists():
            (trial.dir / "waited").touch()
            time.sleep(10)
        weights = weights + trial.params["x"]
        trial.report(step, {"score": weights.mean()}, {"weights": weights})

def prepare(params):
    print("prepared", params)
    with open(os.path.join(os.environ["TMPDIR"], "prepared"), "a") as file:
        file.write(f"{os.getppid()}\\n")

train.prepare = prepare
"""


def test_own_files_large_checkpoints_the_log_and_prepare(pair: Cluster, here: Path) -> None:
    """Files of the trial's own come along, 30 MB too; the log while it computes; each node is prepared once."""
    (here / "own.py").write_text(OWN)
    write_study(here, study_text({"x": [1, 2, 3, 4]}, objective="own:train", checkpoints={"keep_best": 100}))
    folder = here / "runs" / "far"
    prepared = pair.disk / "prepared"
    prepared.unlink(missing_ok=True)
    with Running("run", "study.yaml", "name=far", *far(pair), here=here) as running:
        running.wait_until(reached(folder, 2, trials=2))
        first = records(folder)[0]
        log = folder / first.folder / "log.txt"
        running.wait_until(lambda: "computing step 3" in log.read_text(), 8)
        assert records(folder)[0].step == 2
        assert running.end(120) == 0, running.out
    assert len(prepared.read_text().splitlines()) == 2, prepared.read_text()
    for record in records(folder):
        mine = folder / record.folder / "mine"
        assert {path.name: path.read_text() for path in mine.iterdir()} == {f"step{n}.txt": str(n) for n in (1, 2, 3)}
        assert (folder / record.folder / "checkpoint.pt").stat().st_size > 30e6
    eventually(pair.left, [], 10)
    good("name=far", *far(pair), here=here)  # nothing is left to do
    os.environ["TMPDIR"], before = str(here), os.environ.get("TMPDIR")
    try:
        assert_equal(here)
    finally:
        os.environ.pop("TMPDIR")
        os.environ.update({"TMPDIR": before} if before else {})


def test_a_second_round(pair: Cluster, here: Path) -> None:
    """The parents' checkpoints come to the nodes; their trials go on with the same numbers as here."""
    write(here, {"x": [1, 2, 3], "steps": 3, "recent": 1}, objective="mine:learn", checkpoints={"keep_best": 100})
    good("name=first", here=here)
    words = ["--from", "runs/first", "--top", "3", "steps.value=6", "x.values=[4, 5]"]
    done = good("name=far", *words, *far(pair), here=here)
    assert done.out.count("goes on after step 3") == 6
    good("name=near", *words, here=here)
    there, calm = (outcome(here / "runs" / name) for name in ("far", "near"))
    assert there == calm


def test_a_function_by_value(pair: Cluster, here: Path) -> None:
    """A lambda of a script, which uses a module beside it."""
    (here / "beside.py").write_text("FACTOR = 3\n")
    study = {
        "name": "far",
        "metric": {"name": "score", "goal": "maximize"},
        "method": "grid",
        "parameters": {"x": {"values": [1, 2, 3]}},
        "workers": {"engine": "ray", "address": pair.address},
    }
    script = f"""
        import sweep
        import beside
        if __name__ == "__main__":
            found = sweep.run({study!r}, lambda trial: float(trial.params["x"] * beside.FACTOR))
            print([trial.value for trial in found.trials])
    """
    (here / "script.py").write_text(textwrap.dedent(script))
    done = run_sweep(here=here, command=[sys.executable, "script.py"])
    assert done.code == 0, done.out + done.err
    assert "[3.0, 6.0, 9.0]" in done.out


def test_a_lightning_training(pair: Cluster, here: Path) -> None:
    """Whose worker is killed on its node in the middle of an epoch, and goes on from its checkpoint."""
    pytest.importorskip("lightning", reason="Lightning is not installed: pip install '.[test]'")
    (here / "mine.py").write_text(OBJECTIVE)
    write_study(here, STUDY)
    good("name=far", "kill.values=['no', 'epoch 2 batch 1']", *far(pair), here=here)
    good("name=near", "kill.values=['no', 'epoch 2 batch 1']", here=here)
    assert numbers(here / "runs" / "far") == numbers(here / "runs" / "near")


def test_an_objective_that_cannot_be_imported_on_a_node(pair: Cluster, here: Path) -> None:
    """The error names what is missing there."""
    (here / ".gitignore").write_text("data/\n")
    (here / "data").mkdir()
    (here / "data" / "words.txt").write_text("one")
    (here / "reads.py").write_text("WORDS = open('data/words.txt').read()\ndef train(trial):\n    return 1.0\n")
    write_study(here, study_text({"x": [1]}, objective="reads:train"))
    done = run_sweep("run", "study.yaml", *far(pair), here=here)
    assert done.code == 2, done.out + done.err
    assert "[objective-not-importable]" in done.err
    assert "data/words.txt" in done.err
    assert "reads.py" in done.err


def test_a_study_folder_that_cannot_be_written(pair: Cluster, here: Path) -> None:
    """Ends the session with the message that it has on one machine; with room it goes on."""
    learning(here)
    words = ["parameters.state_kb.value=300", "name=far", *far(pair)]
    command = f"ulimit -f 200; {shlex.join([*COMMAND, 'run', 'study.yaml', *words])}"
    done = subprocess.run(["bash", "-c", command], cwd=here, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: the session ended because a file could not be written"), done.stderr
    assert "Traceback" not in done.stderr
    assert all(str(record.state) != "failed" for record in records(here / "runs" / "far"))
    eventually(pair.left, [], 10)
    good(*words, here=here)
    good("name=near", "parameters.state_kb.value=300", "workers.per_device=2", here=here)
    assert outcome(here / "runs" / "far") == outcome(here / "runs" / "near")


def test_two_sweeps_share_a_cluster(pair: Cluster, here: Path) -> None:
    """Trials of the second wait for room that the first gives back."""
    learning(here)
    with Running("run", "study.yaml", "name=far", *far(pair), here=here) as first:
        first.wait_until(reached(here / "runs" / "far", 1))
        good("name=other", *far(pair), here=here)
        assert first.end(60) == 0, first.out
    assert outcome(here / "runs" / "other") == outcome(here / "runs" / "far")
    assert_equal(here)


def test_a_ray_of_its_own_ends_with_the_run(here: Path) -> None:
    """Without an address; Ctrl-C in a terminal, which reaches every process of the group, leaves checkpoints."""
    learning(here)
    folder = here / "runs" / "far"
    # Ray makes a token for what it starts by itself, in the home folder.
    env = {**os.environ, "HOME": str(here / "home")}
    env.pop("RAY_AUTH_MODE", None)
    process = subprocess.Popen(
        [*COMMAND, "run", "study.yaml", "name=far", "workers.engine=ray"], cwd=here, start_new_session=True, env=env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for(lambda: process.poll() is not None or ((folder / "study.db").exists() and reached(folder, 3)()), 90)
    assert process.poll() is None, process.communicate()[0]
    everything = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False).stdout.split()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in everything), 10)
    waiting = [record for record in records(folder) if str(record.state) == "waiting" and record.step]
    assert waiting
    assert all((folder / record.folder / "checkpoint.pt").exists() for record in waiting), json.dumps(out)
    done = run_sweep("run", "study.yaml", "name=far", "workers.engine=ray", here=here, env={"HOME": str(here / "home")})
    assert done.code == 0, done.out + done.err
    assert_equal(here)
