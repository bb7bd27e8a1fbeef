"""Ask each node of a Ray cluster something, without a study."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.worker.executors.ray.connecting import connect, imported


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node, and what it has answered.

    Attributes:
        name: its machine's name, and the beginning of Ray's id.
        address: of the machine.
        resources: what there is of Ray's resources, by name.
        answer: what the function has returned there; None if it did not in time.
        trouble: why there is no answer, or empty.
    """

    name: str
    address: str
    resources: dict[str, float]
    answer: Any = None
    trouble: str = ""

    @property
    def open_to_others(self) -> bool:
        """Return whether other machines may reach it."""
        try:
            return not ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return True


def ask_nodes(address: str, question: Callable[[], Any], seconds: float) -> tuple[str, list[Node]]:
    """Call a function on each node; return Ray's version, and the nodes with the answers.

    Args:
        address: of the cluster.
        question: the function; one that was defined in a function is sent as it is, so that the nodes need not have its module.
        seconds: after which a node is given up.

    Raises:
        SweepError: Ray is not installed, or there is no cluster at the address.
    """
    ray = imported()
    connect(ray, address)
    try:
        alive = [node for node in ray.nodes() if node["Alive"]]
        return ray.__version__, _answers(ray, alive, question, seconds)
    finally:
        ray.shutdown()


def _answers(ray: Any, nodes: Sequence[dict[str, Any]], question: Callable[[], Any], seconds: float) -> list[Node]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask(node: dict[str, Any]) -> Any:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(question).remote()

    asked = [ask(node) for node in nodes]
    done = set(ray.wait(asked, num_returns=len(asked), timeout=seconds)[0]) if asked else set()
    found = []
    for node, answer in zip(nodes, asked, strict=True):
        name = f"{node['NodeManagerHostname']}/{node['NodeID'][:6]}"
        told: dict[str, Any] = {"trouble": f"it has not answered within {seconds:.0f} s"}
        if answer in done:
            try:
                told = {"answer": ray.get(answer)}
            except Exception as error:  # of the function, or of Ray
                lines = str(error).strip().splitlines() or [type(error).__name__]
                told = {"trouble": lines[-1]}
        found.append(Node(name=name, address=node["NodeManagerAddress"], resources=dict(node["Resources"]), **told))
    return found
