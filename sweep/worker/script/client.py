"""The client of the worker's socket, in a script: `from sweep import trial`, then `trial.report(step, {"loss": 0.1})`.

    script                                     worker (sweep.worker.script)
    trial.report(...) ── one JSON line ══ socket ══► the handle's report(...): scalars, checkpoint, decision
    returns, or raises ◄═ one JSON line ══════════

The worker passes each request to its own handle (`sweep.worker.handle.Trial`) and sends back what that returns or raises, so
the handle's documentation holds here too; a state is sent through a file. `SWEEP_TRIAL` in the environment, JSON, says which
trial this is and where the worker listens. Without it the script runs by hand: parameters are empty, `report` prints, nothing
is stopped.

This file works alone, with nothing but Python's standard library, in an environment without sweep:
`sweep docs client > sweep_client.py` writes it, and the script has `from sweep_client import trial`. Only states need sweep,
which is imported when one is given or read; nothing else here is heavy.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import operator
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsFloat

try:
    from sweep.worker.endings import TrialPruned, TrialStopped
    from sweep.worker.handle import MetricNotFinite
except ImportError:  # this file alone

    class MetricNotFinite(ValueError):  # type: ignore[no-redef]  # noqa: D101
        pass

    class TrialPruned(BaseException):  # type: ignore[no-redef]  # noqa: D101
        pass

    class TrialStopped(BaseException):  # type: ignore[no-redef]  # noqa: D101
        pass


VARIABLE = "SWEEP_TRIAL"
_REFUSALS = {"MetricNotFinite": MetricNotFinite, "TypeError": TypeError, "ValueError": ValueError}


class _Pruned(TrialPruned, SystemExit):
    """End the script without a traceback: the trial is pruned."""


class _Stopped(TrialStopped, SystemExit):
    """End the script without a traceback: the sweep is being stopped, or the worker is gone."""


class ScriptTrial:
    """The trial that this process was started for; in a script that is run by hand, one that only prints.

    If a script has several processes, only one may report.

    Attributes:
        params: every parameter of this trial; an empty dict in a script run by hand.
        number: the trial's number.
        seed: the seed; the script seeds its generators with it itself.
        attempt: 1 for the first attempt at the trial, one more for each further one.
        dir: the run folder; the working directory in a script run by hand.
        logdir: the folder for the script's own `SummaryWriter`; `runs` in a script run by hand.
    """

    def __init__(self) -> None:
        self._facts = _facts()
        self._lock = threading.Lock()
        self._lines: dict[int, Any] = {}  # by process
        self.params: dict[str, Any] = self._facts.get("params", {})
        self.number: int = self._facts.get("number", 0)
        self.seed: int = self._facts.get("seed", 0)
        self.attempt: int = self._facts.get("attempt", 1)
        self.dir = Path(self._facts.get("dir", "."))
        self.logdir = Path(self._facts.get("logdir", "runs"))

    @property
    def device(self) -> str:
        """Return the device to train on: `cuda` or `cpu`."""
        if "device" in self._facts:
            return str(self._facts["device"])
        if importlib.util.find_spec("torch") is None:
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def state(self) -> Any:
        """Return the state to resume from, None if the trial starts; see `sweep.worker.handle.Trial.state`."""
        name = self._ask("state")
        if name is None:
            return None
        _check_states()
        from sweep.worker import checkpoint, randomness

        found = checkpoint.take_state(Path(name))
        randomness.restore_random_states(found["randomness"])
        return found["state"]

    @property
    def stop_requested(self) -> bool:
        """Return whether the sweep is being stopped: time for `trial.save(state)`."""
        return bool(self._ask("stop_requested"))

    def steps(self, total: int) -> Iterator[int]:
        """Iterate over those steps from 1 to `total` that are not done yet; the live view shows the progress."""
        if not self._facts:
            yield from range(1, total + 1)
            return
        step = self._ask("steps", total=operator.index(total))
        while step is not None:
            yield step
            step = self._ask("next")

    def report(self, step: int, metrics: Mapping[str, SupportsFloat], state: Mapping[str, Any] | None = None) -> None:
        """Report metrics, as `sweep.worker.handle.Trial.report` does; the script ends here if the trial is pruned or stopped."""
        numbers = {str(name): _plain(value) for name, value in metrics.items()}
        if not self._facts:
            pairs = numbers.items()
            shown = "  ".join(f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in pairs)
            print(f"step {step}  {shown}", flush=True)
            return
        self._ask("report", step=_plain(step), metrics=numbers, state=self._packed(state))

    def save(self, state: Mapping[str, Any]) -> None:
        """Make a checkpoint between two reports; the script ends here if the sweep is being stopped."""
        if self._facts:
            self._ask("save", state=self._packed(state))

    def _line(self) -> Any:
        """Return the connection of this process; one that was made before a fork is the other process's."""
        number = os.getpid()
        if number not in self._lines:
            try:
                line = self._connected()
            except OSError as error:
                text = (
                    f"the worker of this trial cannot be reached: {error}; in a container, set SWEEP_TRIAL_PORT=1 for `sweep run`"
                )
                raise RuntimeError(text) from None
            file = line.makefile("rw", encoding="utf-8", newline="\n")
            file.write(f"{self._facts['token']}\n")
            self._lines[number] = file
        return self._lines[number]

    def _connected(self) -> socket.socket:
        if "socket" in self._facts:
            line = socket.socket(socket.AF_UNIX)
            line.connect(self._facts["socket"])
        else:
            line = socket.create_connection(("127.0.0.1", self._facts["port"]))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line

    def _ask(self, what: str, **words: Any) -> Any:
        if not self._facts:
            return None
        with self._lock:
            try:
                line = self._line()
                line.write(json.dumps({"do": what, **words}) + "\n")
                line.flush()
                answer = line.readline()
            except OSError:
                answer = ""
        if not answer:
            raise _Stopped  # the worker is gone
        told = json.loads(answer)
        if "end" in told:
            raise _Pruned if told["end"] == "pruned" else _Stopped
        if "refused" in told:
            kind, message = told["refused"]
            raise _REFUSALS[kind](message)
        return told["answer"]

    def _packed(self, state: Mapping[str, Any] | None) -> str | None:
        """Write a state, with this process's random number generators, into a file for the worker."""
        if state is None:
            return None
        _check_states()
        from sweep.worker import checkpoint, randomness
        from sweep.worker.state import checked

        state = checked(state)
        path = self.dir / f".state.{os.getpid()}"
        checkpoint.write_state(path, {"state": state, "randomness": randomness.random_states()})
        return str(path)


def _check_states() -> None:
    if importlib.util.find_spec("sweep") is None:
        text = "a state needs sweep in the script's own environment; without it, save a file in trial.dir, and let the command"
        raise RuntimeError(f"{text} name ${{step}}, the last reported step, to continue from (sweep docs own-code)")


def _facts() -> dict[str, Any]:
    """Return what the sweep says of the trial; nothing in a script run by hand, and where the variable is somebody else's."""
    try:
        found = json.loads(os.environ.get(VARIABLE, "{}"))
    except (ValueError, RecursionError):
        return {}
    ours = isinstance(found, dict) and "token" in found and all(isinstance(found.get(name), str) for name in ("dir", "logdir"))
    return found if ours else {}


def _plain(value: Any) -> Any:
    item = value.item() if hasattr(value, "item") else value
    with contextlib.suppress(TypeError):
        json.dumps(item)
        return item
    return repr(item)  # the worker raises the error


trial = ScriptTrial()
