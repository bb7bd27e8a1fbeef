"""`sweep doctor --ray`: what it says of the nodes of a cluster, and asks of each."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sweep.cli import doctor_cluster
from sweep.cli.main import main
from sweep.worker.executors.ray.nodes import Node

HERE = {"Python": platform.python_version(), "sweep": metadata.version("sweep"), "torch": metadata.version("torch")}
GOOD = {"versions": HERE, "data": "FashionMNIST in /data, checked"}
ROOM = {"CPU": 8.0, "GPU": 2.0, "spot": 1.0, "memory": 1e10, "object_store_memory": 1e9, "node:10.0.0.2": 1.0}


def node(**changed: Any) -> Node:
    return Node(**{"name": "red/0a1b2c", "address": "127.0.0.1", "resources": ROOM, "answer": GOOD} | changed)


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Return a function that examines a cluster of these nodes, and returns the exit code and the lines."""

    def examine(*nodes: Node) -> tuple[int, list[str]]:
        monkeypatch.setattr(doctor_cluster, "ask_nodes", lambda _address, _question, _seconds: ("2.60.0", list(nodes)))
        code = main(["doctor", "--ray", "auto"])
        return code, [line.strip() for line in capsys.readouterr().out.splitlines()]

    return examine


def test_nodes_are_listed(examined: Callable[..., tuple[int, list[str]]]) -> None:
    """With their slots, versions and data; there is nothing to warn of where no other machine reaches them."""
    code, lines = examined(node(), node(name="blue/9f8e7d", resources={"CPU": 1.0}))
    assert code == 0
    assert "ok   cluster     2 nodes at auto, Ray 2.60.0" in lines
    assert "ok   node        red/0a1b2c at 127.0.0.1: 8 CPU, 2 GPU, 1 spot" in lines
    assert "ok   node        blue/9f8e7d at 127.0.0.1: 1 CPU" in lines
    assert lines.count("FashionMNIST in /data, checked") == 2
    assert lines[-1] == "ok   security    the nodes are reached from this machine only"


def test_a_difference_is_bad(examined: Callable[..., tuple[int, list[str]]]) -> None:
    """With what to install; a node without this program says so."""
    code, lines = examined(node(answer=GOOD | {"versions": HERE | {"torch": "2.1.0", "sweep": None}}), node())
    assert code == 1
    place = lines.index("BAD  node        red/0a1b2c at 127.0.0.1: 8 CPU, 2 GPU, 1 spot")
    assert lines[place + 1] == f"Python {HERE['Python']}, sweep is not installed, torch 2.1.0"
    assert lines[place + 3] == f"do: install there what is here: sweep {HERE['sweep']}, torch {HERE['torch']}"
    assert lines[place + 4] == f"pip install torch=={HERE['torch']}   on that node"


def test_a_node_that_does_not_answer_is_bad(examined: Callable[..., tuple[int, list[str]]]) -> None:
    """And stops no other."""
    code, lines = examined(node(answer=None, trouble="it has not answered within 60 s"), node(name="blue/9f8e7d"))
    assert code == 1
    assert "it has not answered within 60 s" in lines
    assert any(line.startswith("ok   node        blue/9f8e7d") for line in lines)


@pytest.mark.parametrize("mode", ["", "token"])
def test_what_others_can_do_is_said(
    mode: str, examined: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where other machines reach the nodes."""
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    _, lines = examined(node(address="10.0.0.2"))
    text = " ".join(lines)
    assert ("whoever reaches its ports can run any program on every node" in text) == (not mode)
    assert ("let only machines that you trust reach 10.0.0.2" in text) == (not mode)
    assert ("Ray asks for a token" in text) == bool(mode)


def test_what_each_node_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its versions, and whether the data set is in the folder that is named here."""
    monkeypatch.setenv("SWEEP_DATA", "/elsewhere")
    answer = doctor_cluster._question(str(tmp_path))()
    assert answer["versions"] == HERE
    assert str(tmp_path) in answer["data"]


def test_an_address_at_which_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    """Is found at once; without Ray that is said first."""
    assert main(["doctor", "--ray", "127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "[no-cluster]" in said or "[no-ray]" in said
