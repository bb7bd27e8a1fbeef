"""The worker's end of `sweep.worker.script.client`: each request is one JSON line, and so is its answer.

    {"do": "report", "token": ..., "step": 3, "metrics": {...}}   ──►  {"answer": null}
                                                                       {"end": "pruned" | "stopped"}
                                                                       {"refused": ["ValueError", "..."]}

It is a socket of this machine, not an inherited pipe: launchers such as torchrun close pipes that they do not know, and a command
may be a chain of programs. Only the user's own processes can read the token; requests without it are refused.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from typing import Any

from sweep.worker.handle import MetricNotFinite, Trial, TrialPruned, TrialStopped
from sweep.worker.script.process import line_reader
from sweep.worker.script.reports import Reports

_Reason = Callable[[], BaseException | None]


class Connections:
    """Listen for the script, and answer it.

    Args:
        trial, reports: the handle, and where its reports go.
        selector: calls what is registered with it when there is something to read.
        reason: returns the exception that the script is being ended for, None while it runs.
        end: is called with what the handle raised.

    Attributes:
        facts: what the script needs to connect.
        used: the script is connected: its `trial.report` ends it.
        stopping: the sweep is being stopped; the next report is the last.
        refused: the metric that was no number, if nothing was reported since.
    """

    def __init__(
        self, trial: Trial, reports: Reports, selector: BaseSelector, reason: _Reason, end: Callable[[BaseException], None]
    ) -> None:
        self._trial, self._reports, self._selector, self._reason, self._end = trial, reports, selector, reason, end
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.facts = {"port": self._listener.getsockname()[1], "token": secrets.token_hex(16)}
        self._lines: list[socket.socket] = []
        self._steps: Iterator[int] = iter(())
        self._saves = False
        self.used = self.stopping = False
        self.refused: MetricNotFinite | None = None
        selector.register(self._listener, EVENT_READ, self._accept)

    def close(self) -> None:
        """Close the sockets."""
        for line in (self._listener, *self._lines):
            line.close()

    def _accept(self) -> None:
        line, _ = self._listener.accept()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines.append(line)

        def answer(text: str) -> None:
            try:
                request = json.loads(text)
                trusted = secrets.compare_digest(str(request.pop("token")), self.facts["token"])
            except (ValueError, KeyError, AttributeError):
                trusted = False
            if not trusted:  # another program of this machine
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
                return
            self.used = True
            with contextlib.suppress(OSError):  # the script has ended
                line.sendall(f"{json.dumps(self._answer(**request))}\n".encode())

        line_reader(self._selector, line, answer)

    def _answer(self, *, do: str, **words: Any) -> dict[str, Any]:
        if self._reason() is None:
            try:
                return {"answer": getattr(self, f"_do_{do}")(**words)}
            except (TypeError, ValueError) as error:
                self.refused = error if isinstance(error, MetricNotFinite) else self.refused
                return {"refused": [type(error).__name__, str(error)]}
            except BaseException as error:  # TrialPruned and a write that failed as well
                self._end(error)
        return {"end": "pruned" if isinstance(self._reason(), TrialPruned) else "stopped"}

    def _do_report(self, step: Any, metrics: dict[str, Any], state: str | None) -> None:
        self._reports.connected(step, metrics, self._unpacked(state))
        self.refused = None
        if self.stopping and not self._saves:
            raise TrialStopped

    def _do_save(self, state: str) -> None:
        self._reports.save(self._unpacked(state) or {})

    def _do_state(self) -> str | None:
        from sweep.worker import checkpoint

        state = (self._trial.state or {}).get("script")
        if state is None:
            return None
        path = self._trial.dir / ".state"
        checkpoint.write_state(path, state)
        return str(path)

    def _do_stop_requested(self) -> bool:
        self._saves = True  # it asks in order to save
        return self._trial.stop_requested

    def _do_steps(self, total: int) -> int | None:
        self._steps = self._trial.steps(total)
        return next(self._steps, None)

    def _do_next(self) -> int | None:
        return next(self._steps, None)

    def _unpacked(self, path: str | None) -> dict[str, Any] | None:
        if path is None:
            return None
        from sweep.worker import checkpoint

        self._saves = True
        return checkpoint.take_state(Path(path))
