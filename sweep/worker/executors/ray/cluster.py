"""A Ray cluster as a source of slots: connect to it or start one here, count what it has room for, make workers.

Ray places each worker where what it asks for is free, and notices when a node joins or leaves; here is only counted. A slot whose
node has left waits until another one has room. An autoscaler, if there is one, is asked for room for all trials that are left.

Ray itself asks nobody for a password: whoever reaches its ports can run programs on every node.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.errors import EXIT_SOME_FAILED, SweepError
from sweep.storage.folder import StudyFolder
from sweep.study.spec import StudySpec, WorkersSpec
from sweep.worker.devices import THREAD_VARIABLES, Slot
from sweep.worker.executors.ray.code import package
from sweep.worker.executors.ray.connecting import connect, imported
from sweep.worker.protocol import Worker
from sweep.worker.versions import compared

_SIGN = ".ray-"
_LOOK_EVERY_S = 1.0
_SILENT_S = 30.0  # Ray itself ends a program at once that has had no answer from its cluster's head for 60 s
_SUSPENDED_S = 5.0
_MOST_SLOTS = 1000


class RayCluster:
    """A cluster that this process is connected to, as the slots that it has room for.

    Args:
        study: what is run.
        folder: the study's folder.
        get: returns the objective; None for the one that the study names.
        imports: what workers import before the study's code.
        variables: of each worker.
    """

    def __init__(
        self,
        study: StudySpec,
        folder: Path,
        get: Callable[[], Any] | None,
        imports: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.grows = True
        self._study, self._folder, self._get, self._imports, self._variables = study, folder, get, imports, dict(variables or {})
        self._notes: list[str] = []
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._capacity, self._given = 0, 0
        self._wanted: int | None = None
        self._looked = self._answered = time.monotonic()
        self._asked: dict[str, float] = {}
        self._sign = folder / f"{_SIGN}{secrets.token_hex(8)}", secrets.token_hex(16)

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Be connected while the block runs; a Ray that was started for it ends with it.

        Raises:
            SweepError: there is no Ray here, no cluster at the address, or the study's files are too many to send.
        """
        ray = imported()
        path, content = self._sign
        with contextlib.ExitStack() as undone:
            code = Path(undone.enter_context(tempfile.TemporaryDirectory()), "study.zip")
            size = package(Path(self._study.import_dir), self._folder.parent, code)
            self._note(f"each node gets the study's files: {size / 1e6:.1f} MB")
            connect(ray, self._study.workers.address, code)
            undone.callback(ray.shutdown)
            undone.callback(self._ask_for_nothing)
            for left in self._folder.glob(f"{_SIGN}*"):  # of a session that was killed
                left.unlink(missing_ok=True)
            path.write_text(content)
            undone.callback(path.unlink, missing_ok=True)
            self._count()
            undone.callback(self._ended.set)
            threading.Thread(target=self._keep_counting, daemon=True).start()
            yield

    def look(self, open_slots: int, wanted: int | None) -> tuple[list[Slot], list[str]]:
        """Return the slots to add, and what there is to say.

        Args:
            open_slots: how many there are.
            wanted: how many trials run and are left; None if that is open.

        Raises:
            SweepError: the cluster is gone.
        """
        self._check_head()
        with self._lock:
            self._wanted = wanted
            capacity = min(self._capacity, _MOST_SLOTS if wanted is None else wanted)
            notes, self._notes = self._notes, []
        added = [self._slot(self._given + i) for i in range(capacity - open_slots)]
        self._given += len(added)
        return added, notes

    def _check_head(self) -> None:
        """Raise the error of a cluster whose head does not answer any more; this process may have been suspended meanwhile."""
        now, before = time.monotonic(), self._looked
        self._looked = now
        if now - before > _SUSPENDED_S:
            self._answered = now
        if now - self._answered > _SILENT_S:
            folder = StudyFolder(root=self._folder)
            raise SweepError(
                "cluster-lost",
                f"the head of the Ray cluster has not answered for {_SILENT_S:.0f} s",
                where=self._study.workers.address,
                why="its machine or its process has ended, or the network between is cut; everything that was stored is intact",
                do=f"start the cluster again, then:  sweep resume {folder.word}",
                exit_code=EXIT_SOME_FAILED,
            )

    def make_worker(self, slot: Slot) -> Worker:
        """Return a slot's worker."""
        from sweep.worker.executors.ray.host import Order
        from sweep.worker.executors.ray.worker import RayWorker

        path, content = self._sign
        order = Order(study=self._study, get=self._get, imports=self._imports, slot=slot, sign=(str(path), content))
        others = {name: amount for name, amount in self._asked.items() if name not in ("CPU", "GPU")}
        options = {"num_cpus": self._asked["CPU"], "num_gpus": self._asked.get("GPU", 0), "resources": others}
        return RayWorker(order, options, self._check)

    def _slot(self, index: int) -> Slot:
        device, torch_device = ("gpu", "cuda") if "GPU" in self._asked else ("cpu", "cpu")
        threads = self._study.workers.threads or 1
        env = {**self._variables, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        return Slot(index=index, device=device, torch_device=torch_device, threads=threads, env=env)

    def _keep_counting(self) -> None:
        asked = None
        while not self._ended.wait(_LOOK_EVERY_S):
            try:
                self._count()
                count = min(_MOST_SLOTS, self._capacity if self._wanted is None else self._wanted)
                if count != asked:
                    self._ask_for(count)
                    asked = count
            except Exception as error:  # Ray's own, of many kinds, when its head is gone
                self._note(f"the cluster's head does not answer: {type(error).__name__}")

    def _ask_for(self, count: int) -> None:
        """Ask the autoscaler for room for so many trials at a time: what is asked stays until something else is asked."""
        from ray.autoscaler.sdk import request_resources

        with contextlib.suppress(Exception):  # a hint: without an autoscaler it is nothing
            request_resources(bundles=[self._asked] * count)

    def _ask_for_nothing(self) -> None:
        """Take back what was asked, if the head still answers: a call to one that does not lasts until Ray ends this process."""
        if time.monotonic() - self._answered < _SUSPENDED_S:
            self._ask_for(0)

    def _count(self) -> None:
        nodes: list[Any] = imported().nodes()
        self._answered = time.monotonic()
        alive = [dict(node["Resources"]) for node in nodes if node["Alive"]]
        asked = asked_for(self._study.workers, has_gpus=any(node.get("GPU", 0) > 0 for node in alive))
        with self._lock:
            self._asked = asked
            self._capacity = capacity(alive, asked, self._study.workers.per_device)
        if not self._capacity:
            self._note("no node of the cluster has room for a trial; the sweep waits for one")
        else:
            self._told = {text for text in self._told if not text.startswith("no node")}

    def _note(self, text: str) -> None:
        with self._lock:
            if text not in self._told:
                self._told.add(text)
                self._notes.append(text)

    def _check(self, joined: Any) -> str | None:
        """Return why a node cannot be used: another Python or another version of this program."""
        here = compared()
        for name, version in joined.versions.items():
            mine = here[name]
            if version == mine:
                continue
            text = f"node {joined.node} has {name} {version or 'not installed'}, this machine {mine}"
            if name == "torch" or (name == "python" and version.rpartition(".")[0] == str(mine).rpartition(".")[0]):
                self._note(f"{text}: digits may differ")
            else:
                return f"{text}; install the same on all nodes"
        return None


def asked_for(workers: WorkersSpec, *, has_gpus: bool) -> dict[str, float]:
    """Return what each worker asks of Ray: `CPU`, `GPU` where there are any, and the study's own resources by their names."""
    several = workers.devices_per_trial
    asked = {"CPU": float(workers.threads or 1)}
    if has_gpus and workers.devices != "cpu":
        asked["GPU"] = float(several) if several > 1 else 1 / (workers.per_device or 1)
    else:
        asked["CPU"] *= several
    return asked | dict(workers.resources)


def capacity(nodes: list[dict[str, float]], asked: Mapping[str, float], per_device: int | None) -> int:
    """Return how many workers fit on the nodes; `per_device` limits those of a node where they compute on its CPU."""
    total = 0
    for node in nodes:
        fits = min(int(node.get(name, 0) / each + 1e-9) for name, each in asked.items())
        total += fits if per_device is None or "GPU" in asked else min(fits, per_device)
    return total


def asked_text(workers: WorkersSpec) -> str:
    """Return what each worker asks for, for people, who know whether the cluster has GPUs."""
    plain, with_gpus = (", ".join(_amounts(asked_for(workers, has_gpus=has))) for has in (False, True))
    return plain if plain == with_gpus else f"{with_gpus}; without GPUs {plain}"


def _amounts(asked: Mapping[str, float]) -> list[str]:
    return [f"{amount:.3g} {name}" for name, amount in asked.items()]
