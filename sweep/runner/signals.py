"""How long-running commands react to signals."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


def handle(handler: Callable[[int, object], None], *numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Install a handler for signals; return the handlers that it replaced."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, previous in list(before.items()):
        # `nohup` ignores SIGHUP on purpose. An ignored SIGINT only means that a script started this in the background.
        # None: the handler is not Python's, so Python could not restore it.
        if previous is None or (number is signal.SIGHUP and previous is signal.SIG_IGN):
            del before[number]
        else:
            signal.signal(number, handler)
    return before


def stop_in_order(stop: Callable[[], None], received: list[int]) -> dict[signal.Signals, Any]:
    """Call `stop` on Ctrl-C, SIGTERM and SIGHUP, and append the signal to `received`; return the replaced handlers."""

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) > 2:
            raise KeyboardInterrupt  # something other than the runner's loop hangs
        stop()

    return handle(receive, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_termination() -> None:
    """Treat SIGTERM and SIGHUP like Ctrl-C."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    handle(stop, signal.SIGTERM, signal.SIGHUP)
