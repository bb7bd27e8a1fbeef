"""Signals, as what runs for long takes them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


def handle(handler: Callable[[int, object], None], *numbers: signal.Signals) -> dict[signal.Signals, Any]:
    """Have a function called for signals; return who was called before."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number, previous in list(before.items()):
        # `nohup` means it. An ignored SIGINT only says that some script started this in the background.
        # None: a handler that is not Python's, and that Python could not put back.
        if previous is None or (number is signal.SIGHUP and previous is signal.SIG_IGN):
            del before[number]
        else:
            signal.signal(number, handler)
    return before


def stop_in_order(stop: Callable[[], None], asked: list[int]) -> dict[signal.Signals, Any]:
    """Have Ctrl-C, SIGTERM and SIGHUP ask a runner to stop, and noted in `asked`; return who was called before."""

    def note(number: int, _frame: object) -> None:
        asked.append(number)
        if len(asked) > 2:
            raise KeyboardInterrupt  # it hangs in something that is not the runner's loop
        stop()

    return handle(note, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_on_termination() -> None:
    """Make SIGTERM and SIGHUP what Ctrl-C is."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    handle(stop, signal.SIGTERM, signal.SIGHUP)
