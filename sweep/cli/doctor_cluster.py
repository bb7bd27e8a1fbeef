"""`sweep doctor --ray`: the nodes of a Ray cluster, each asked what it has."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

from sweep.cli.doctor import print_result
from sweep.worker.executors.ray.nodes import Node, ask_nodes
from sweep.worker.versions import COMPARED, version

_ANSWER_S = 60.0  # a node's first process imports Ray from its disk
_UNPROTECTED = "unless Ray was set up to ask for a token, whoever reaches its ports can run any program on every node"


def examine_cluster(address: str) -> bool:
    """Check the nodes of the cluster at an address; print the results, return whether all are ok.

    Raises:
        SweepError: Ray is not installed, or there is no cluster.
    """
    ray_version, nodes = ask_nodes(address, _question(os.environ.get("SWEEP_DATA")), _ANSWER_S)
    print_result("cluster", f"{len(nodes)} node{'s' * (len(nodes) != 1)} at {address}, Ray {ray_version}")
    mine = {"Python": platform.python_version(), **{name: version(name) for name in COMPARED}}
    all_ok = print_result("here", _versions_text(mine))
    for node in nodes:
        all_ok &= _check(node, mine)
    _tell_security(nodes)
    return all_ok


def _check(node: Node, mine: dict[str, str | None]) -> bool:
    what = f"{node.name} at {node.address}: {_slots_text(node)}"
    if node.answer is None:
        return print_result("node", f"{what}\n{node.trouble}", "ray status   shows what the cluster knows of it")
    found: dict[str, str | None] = node.answer["versions"]
    what += f"\n{_versions_text(found)}\n{node.answer['data']}"
    differ = [name for name, mine_is in mine.items() if found.get(name) != mine_is]
    if not differ:
        return print_result("node", what)
    wanted = [f"{name}=={mine[name]}" for name in differ if name not in ("Python", "sweep") and mine[name]]
    do = [f"install there what is here: {', '.join(f'{name} {mine[name]}' for name in differ)}"]
    do += [f"    pip install {' '.join(wanted)}   on that node"] if wanted else []
    return print_result("node", what, "\n".join(do))


def _versions_text(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {found or 'is not installed'}" for name, found in versions.items())


def _slots_text(node: Node) -> str:
    """Return what a node has room for: cores, GPUs, and what else its owner gave a name."""
    own = {name: amount for name, amount in node.resources.items() if not name.startswith(("node:", "memory", "object_store"))}
    amounts = {"CPU": 0.0, **own}
    return ", ".join(f"{amount:g} {name}" for name, amount in sorted(amounts.items()))


def _tell_security(nodes: Sequence[Node]) -> None:
    reached = sorted({node.address for node in nodes if node.open_to_others})
    if not reached:
        print_result("security", "the nodes are reached from this machine only")
    elif os.environ.get("RAY_AUTH_MODE") == "token":
        print_result("security", "Ray asks for a token (RAY_AUTH_MODE=token); what is sent is not encrypted")
    else:
        print_result("security", f"{_UNPROTECTED}\nlet only machines that you trust reach {', '.join(reached)}")


def _question(data: str | None) -> Callable[[], dict[str, Any]]:
    """Return the function that each node is asked with; it is sent as it is, and needs nothing of this program there.

    Args:
        data: the folder of the data sets, if it is given here; else it is the node's.
    """
    names = COMPARED

    def ask() -> dict[str, Any]:
        import os
        import platform
        from importlib import metadata

        versions: dict[str, str | None] = {"Python": platform.python_version()}
        for name in names:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                versions[name] = None
        if data is not None:
            os.environ["SWEEP_DATA"] = data
        try:
            from sweep.objectives.datasets import data_text

            text = data_text()
        except ImportError:
            text = "whether FashionMNIST is there is not known: sweep cannot be imported there"
        return {"versions": versions, "data": text}

    return ask
