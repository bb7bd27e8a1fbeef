"""Signals, as the verbs that run for long take them."""

from __future__ import annotations

import signal
from collections.abc import Callable


def handle(handler: Callable[[int, object], None], *numbers: signal.Signals) -> None:
    """Have a function called for signals."""
    for number in numbers:
        # `nohup` means it. An ignored SIGINT only says that some script started this in the background.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def raise_on_termination() -> None:
    """Make SIGTERM and SIGHUP what Ctrl-C is."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    handle(stop, signal.SIGTERM, signal.SIGHUP)
