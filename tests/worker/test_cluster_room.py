"""What a cluster has room for, what a node gets, and which node is refused: all of it without Ray."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.errors import SweepError
from sweep.study.spec import WorkersSpec
from sweep.worker.executors.ray import code
from sweep.worker.executors.ray.cluster import RayCluster, asked_for, capacity
from sweep.worker.versions import version
from tests.support.studies import study_spec

GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def workers(**keys: Any) -> WorkersSpec:
    return replace(study_spec({"x": [1]}).workers, **({"devices": "auto", "per_device": None} | keys))


@pytest.mark.parametrize(
    ("keys", "gpus", "asked"),
    [
        ({}, False, {"CPU": 1}),
        ({"threads": 4}, False, {"CPU": 4}),
        ({"devices_per_trial": 2}, False, {"CPU": 2}),
        ({}, True, {"CPU": 1, "GPU": 1}),
        ({"per_device": 4}, True, {"CPU": 1, "GPU": 0.25}),
        ({"devices_per_trial": 2, "threads": 3}, True, {"CPU": 3, "GPU": 2}),
        ({"devices": "cpu"}, True, {"CPU": 1}),
        ({"resources": {"fast_disk": 0.5}}, True, {"CPU": 1, "GPU": 1, "fast_disk": 0.5}),
    ],
)
def test_what_a_worker_asks_for(keys: dict[str, Any], gpus: bool, asked: dict[str, float]) -> None:
    """From the keys of the study file: cores are threads, GPUs whole or in parts, and the study's own resources."""
    assert asked_for(workers(**keys), has_gpus=gpus) == asked


@pytest.mark.parametrize(
    ("nodes", "asked", "per_device", "count"),
    [
        ([], {"CPU": 1}, None, 0),
        ([{"CPU": 4}, {"CPU": 3}], {"CPU": 2}, None, 3),
        ([{"CPU": 8}, {"CPU": 1}], {"CPU": 1}, 2, 3),
        ([{"CPU": 8, "GPU": 1}], {"CPU": 1, "GPU": 0.25}, 4, 4),
        ([{"CPU": 2, "GPU": 1}], {"CPU": 1, "GPU": 0.25}, 4, 2),
        ([{"CPU": 8, "GPU": 1}], {"CPU": 1, "GPU": 1 / 3}, 3, 3),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 64}], {"CPU": 1, "GPU": 2}, None, 4),
        ([{"CPU": 4}, {"CPU": 4, "fast_disk": 1}], {"CPU": 1, "fast_disk": 0.5}, None, 2),
        ([{"CPU": 0}, {}], {"CPU": 1}, None, 0),
    ],
)
def test_how_many_workers_fit(nodes: list[dict[str, float]], asked: dict[str, float], per_device: int | None, count: int) -> None:
    """On each node by what it is shortest of; no worker on two nodes."""
    assert capacity(nodes, asked, per_device) == count


def test_ray_is_not_imported_for_that() -> None:
    """Who uses one machine needs no Ray."""
    lines = (
        "import sys, sweep.runner.session, sweep.worker.executors.ray.cluster, sweep.cli.main; assert 'ray' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0


def test_slots_are_added_as_nodes_join_and_not_more_than_there_are_trials(tmp_path: Path) -> None:
    """A node that leaves takes no slot away: it waits."""
    cluster = RayCluster(study_spec({"x": [1]}), tmp_path, None)
    cluster._asked, cluster._capacity = {"CPU": 1.0}, 2
    assert [slot.index for slot in cluster.look(0, None)[0]] == [0, 1]
    cluster._capacity = 5
    assert [slot.index for slot in cluster.look(2, 4)[0]] == [2, 3]
    cluster._capacity = 1
    assert cluster.look(4, 4) == ([], [])


def test_another_sweep_is_refused_and_another_torch_is_told(tmp_path: Path) -> None:
    """By the node's name, with both versions, once."""
    cluster = RayCluster(study_spec({"x": [1]}), tmp_path, None)
    mine = {name: version(name) for name in ("sweep", "torch")}
    here = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"

    def check(**versions: str | None) -> str | None:
        return cluster._check(SimpleNamespace(node="box/12", versions={"python": here, **mine, **versions}))

    assert check() is None
    assert cluster.look(0, 0)[1] == []
    why = check(sweep="9.9")
    assert why == f"node box/12 has sweep 9.9, this machine {mine['sweep']}; install the same on all nodes"
    assert "has sweep not installed" in (check(sweep=None) or "")
    assert "has python 2.7.1" in (check(python="2.7.1") or "")
    assert cluster.look(0, 0)[1] == []
    for _ in range(2):
        assert check(torch="1.0") is None
    assert check(python=f"{here.rpartition('.')[0]}.99") is None
    assert [text.partition(",")[0] for text in cluster.look(0, 0)[1]] == [
        "node box/12 has torch 1.0",
        f"node box/12 has python {here.rpartition('.')[0]}.99",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study's folder as it grows: code, data that is left out, results, hidden environments, a link."""
    whole = tmp_path / "study"
    for name, text in {
        "study.yaml": "s",
        "mine.py": "m",
        "deep/er/more.py": "d",
        ".gitignore": "data/\n*.bin\n",
        "data/large.txt": "x" * 1000,
        "weights.bin": "w",
        "runs/study/study.db": "r",
        "__pycache__/mine.pyc": "c",
        ".venv/lib/site-packages/torch.py": "t",
    }.items():
        (whole / name).parent.mkdir(parents=True, exist_ok=True)
        (whole / name).write_text(text)
    (whole / "link").symlink_to("/etc/passwd")
    return whole


def sent(folder: Path, target: Path) -> set[str]:
    size = code.package(folder, folder / "runs", target)
    with zipfile.ZipFile(target) as archive:
        assert sum(one.file_size for one in archive.infolist()) == size
        return set(archive.namelist())


@pytest.mark.parametrize("repository", ["none", "its own", "one around it", "no git at all"])
def test_a_node_gets_what_git_would_take(folder: Path, tmp_path: Path, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`.gitignore` counts without a repository too; results, environments, caches and links are never sent."""
    for name, value in GIT.items():
        monkeypatch.setenv(name, value)
    if repository in ("its own", "one around it"):
        subprocess.run(["git", "init", "-q", str(folder if repository == "its own" else tmp_path)], check=True)
    if repository == "no git at all":
        monkeypatch.setenv("PATH", "/nowhere")
    found = sent(folder, tmp_path / "code.zip")
    if repository == "no git at all":
        assert {"study.yaml", "mine.py", "deep/er/more.py"} <= found
        assert not any(name.startswith((".venv", "runs/", "__pycache__", "link")) for name in found)
    else:
        assert found == {"study.yaml", "mine.py", "deep/er/more.py", ".gitignore"}


def test_too_much_is_an_error_that_names_what_it_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way out; the limit is 200 MB."""
    assert code.MOST_BYTES == 200 << 20
    monkeypatch.setattr(code, "MOST_BYTES", 1 << 20)
    (folder / "films").mkdir()
    (folder / "films" / "one.mp4").write_bytes(b"0" * (1 << 20))
    with pytest.raises(SweepError) as caught:
        code.package(folder, folder / "runs", tmp_path / "code.zip")
    assert caught.value.id == "code-too-large"
    assert "most of it in films" in caught.value.what
    assert f"echo films >> {folder}/.gitignore" in str(caught.value.do)
    (folder / ".gitignore").write_text("films\n*.bin\ndata\n")
    assert "films/one.mp4" not in sent(folder, tmp_path / "code.zip")


def test_an_empty_folder_is_sent_too(tmp_path: Path) -> None:
    """A function by value needs no file."""
    (tmp_path / "empty").mkdir()
    assert sent(tmp_path / "empty", tmp_path / "code.zip") == {"empty"}
