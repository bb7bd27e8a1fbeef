"""The worker's end of `sweep.worker.script.client`: after the token, each line is a request in JSON, and so is its answer.

    6f1e...                                                  (the token)
    {"do": "report", "step": 3, "metrics": {...}}   ──►  {"answer": null}
                                                         {"end": "pruned" | "stopped"}
                                                         {"refused": ["ValueError", "..."]}

It is a socket of this machine, not an inherited pipe: launchers such as torchrun close pipes that they do not know, and a command
may be a chain of programs. `listen` makes a socket in a folder that only this user can enter, or listens on a port, which every
user can reach. So nothing is read as a request before the token, there are limits, and a stranger costs the trial nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from typing import Any

from sweep.worker.script.lines import LONGEST, Splitter

_STRANGER_S = 5.0  # until the token
_ANSWER_S = 10.0  # until the script reads an answer
_MOST_STRANGERS, _MOST_CALLERS = 64, 512
_LONGEST_PATH = 100  # bytes of a socket's path; macOS allows 103

Answer = dict[str, Any]


def refusal(error: Exception) -> Answer:
    """Return the answer to a request that is wrong; the client raises the error."""
    kinds = ("MetricNotFinite", "TypeError")
    kind = next((name for name in kinds if name in (base.__name__ for base in type(error).__mro__)), "ValueError")
    return {"refused": [kind, str(error)]}


def listen(folder: Path) -> tuple[socket.socket, dict[str, Any]]:
    """Listen in a private folder, or on a port if there are no such sockets or `SWEEP_TRIAL_PORT` asks; say where."""
    path = str(folder / "socket")
    if hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= _LONGEST_PATH and not os.environ.get("SWEEP_TRIAL_PORT"):
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(path)
            listener.listen()
            return listener, {"socket": path}
        except OSError:  # the file system has no sockets
            listener.close()
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, {"port": listener.getsockname()[1]}


@dataclass(eq=False)
class _Caller:
    """A connection; what it sent before the token is known is held back."""

    line: socket.socket
    since: float = field(default_factory=time.monotonic)
    held: bytes = b""
    known: bool = False
    splitter: Splitter = field(default_factory=Splitter)


class Connections:
    """Take connections, and give the requests of those that know the token to a function.

    Args:
        folder: a private one.
        selector: calls what is registered with it when there is something to read.
        answer: returns the answer to a request.

    Attributes:
        facts: what the script needs to connect.
        used: the script is connected.
    """

    def __init__(self, folder: Path, selector: BaseSelector, answer: Callable[[Any], Answer]) -> None:
        self._selector, self._answer = selector, answer
        self._listener, where = listen(folder)
        self._listener.setblocking(False)
        token = secrets.token_hex(16)
        self._token = f"{token}\n".encode()
        self.facts = {"token": token, **where}
        self.used = False
        self._callers: list[_Caller] = []  # the oldest first
        self._told = False
        selector.register(self._listener, EVENT_READ, self._accept)

    def close(self) -> None:
        """Close the sockets."""
        for line in (self._listener, *(caller.line for caller in self._callers)):
            line.close()

    def expire(self) -> None:
        """Close the connections that did not send the token in time."""
        while (strangers := self._strangers()) and time.monotonic() - strangers[0].since > _STRANGER_S:
            self._turn_away(strangers[0])

    def _strangers(self) -> list[_Caller]:
        return [caller for caller in self._callers if not caller.known]

    def _accept(self) -> None:
        try:
            line, _ = self._listener.accept()
        except OSError:  # it is closed already, or this process has too many descriptors
            for stranger in self._strangers():
                self._turn_away(stranger)
            return
        line.settimeout(_ANSWER_S)
        if line.family != getattr(socket, "AF_UNIX", None):
            with contextlib.suppress(OSError):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller = _Caller(line)
        self._callers.append(caller)
        self._selector.register(line, EVENT_READ, functools.partial(self._read, caller))
        if len(strangers := self._strangers()) > _MOST_STRANGERS:
            self._turn_away(strangers[0])

    def _read(self, caller: _Caller) -> None:
        if caller not in self._callers:
            return  # closed since the selector found it
        try:
            data = caller.line.recv(1 << 16)
        except OSError:
            data = b""
        if not caller.known:
            caller.held += data
            if len(caller.held) < len(self._token) and data and b"\n" not in caller.held:
                return
            given, data = caller.held[: len(self._token)], caller.held[len(self._token) :] if data else b""
            if not secrets.compare_digest(given, self._token):
                self._turn_away(caller)
                return
            if len(self._callers) - len(self._strangers()) >= _MOST_CALLERS:
                self._reply(caller, refusal(ValueError(f"the script has {_MOST_CALLERS} connections to its trial already")))
                self._close(caller)
                return
            self.used = caller.known = True
            caller.held = b""
            if not data:
                return
        if not data:  # what is left is an unfinished request
            self._close(caller)
            return
        for piece in caller.splitter.take(data):
            if not piece.ends:
                self._reply(caller, refusal(ValueError(f"a request may have {LONGEST} characters")))
                self._close(caller)
                return
            self._reply(caller, self._answered(piece.text))

    def _answered(self, text: str) -> Answer:
        try:
            return self._answer(json.loads(text))
        except (ValueError, RecursionError):
            return refusal(ValueError("a request must be a JSON object in one line"))

    def _reply(self, caller: _Caller, answer: Answer) -> None:
        try:
            caller.line.sendall(f"{json.dumps(answer)}\n".encode())
        except OSError:  # the script has ended, or does not read
            self._close(caller)

    def _turn_away(self, caller: _Caller) -> None:
        if not self._told:
            self._told = True
            text = "sweep: a connection without the trial's token was closed (another program of this machine tried)"
            print(text, file=sys.stderr, flush=True)
        self._close(caller)

    def _close(self, caller: _Caller) -> None:
        if caller in self._callers:
            self._callers.remove(caller)
            self._selector.unregister(caller.line)
            caller.line.close()
