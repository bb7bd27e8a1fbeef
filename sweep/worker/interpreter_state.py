"""The parts of a process's state that belong to Python and the system: see `process_state`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of
import _thread
import asyncio
import builtins
import decimal
import faulthandler
import gc
import json
import locale
import logging
import math
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from operator import is_
from types import ModuleType
from typing import Any

from sweep.storage.regular import identity
from sweep.worker import processes

State = tuple[str, Callable[[], Any], Callable[[Any], object] | None]
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")
_SIGNALS = tuple(sorted(map(int, signal.valid_signals())))
_STREAMS = ("stdin", "stdout", "stderr")


def parts() -> Iterator[State]:
    """Yield each part's name, how it is read, and how it is put back (None if it cannot be).

    The first two are put back as soon as the objective has ended: a timer could interrupt what follows, and that prints.
    """
    running = [timer for timer in _TIMERS if _runs(timer)]  # this may be the user's own process
    started = [timer for timer in _TIMERS if timer not in running]
    yield "a timer", lambda: any(map(_runs, started)), lambda _: [signal.setitimer(timer, 0) for timer in started]
    yield "stdin, stdout, stderr", _streams, _set_streams
    yield "faulthandler", faulthandler.is_enabled, lambda on: faulthandler.enable() if on else faulthandler.disable()
    yield "a delayed traceback", faulthandler.cancel_dump_traceback_later, None
    yield "signal handlers", _handlers, _set_handlers
    yield "the signal mask", lambda: frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ())), _set_mask
    yield "tracing", lambda: (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()), _set_tracing
    yield "working directory", os.getcwd, os.chdir
    yield "umask", _umask, os.umask
    yield "environment", _environment, _set_environment
    yield "time zone", lambda: (time.tzname, time.timezone, time.daylight), lambda _: time.tzset()
    yield "locale", lambda: locale.setlocale(locale.LC_ALL), lambda text: locale.setlocale(locale.LC_ALL, text)
    yield from map(_list_of, ("path", "argv", "meta_path", "path_hooks"))
    yield "sys hooks", lambda: (*(getattr(sys, name) for name in _HOOKS), threading.excepthook), _set_hooks
    yield "warnings", lambda: (list(warnings.filters), warnings.showwarning), _set_warnings
    yield "logging", _logging, _set_logging
    yield "decimal", lambda: repr(decimal.getcontext()), lambda _: decimal.setcontext(decimal.DefaultContext.copy())
    yield "recursion limit", sys.getrecursionlimit, sys.setrecursionlimit
    yield "switch interval", sys.getswitchinterval, sys.setswitchinterval
    yield "digits of int", sys.get_int_max_str_digits, sys.set_int_max_str_digits
    yield "gc", lambda: (gc.isenabled(), gc.get_threshold(), gc.get_debug()), _set_gc
    yield "resource limits", lambda: tuple(map(resource.getrlimit, _LIMITS)), _set_limits
    yield "niceness", lambda: os.getpriority(os.PRIO_PROCESS, 0), lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice)
    if hasattr(os, "sched_getaffinity"):
        yield "cores", lambda: frozenset(os.sched_getaffinity(0)), lambda cores: os.sched_setaffinity(0, cores)
    yield "socket timeout", socket.getdefaulttimeout, socket.setdefaulttimeout
    yield "start method", lambda: multiprocessing.get_start_method(allow_none=True), _set_start_method
    yield "event loop policy", _event_loop_policy, asyncio.set_event_loop_policy
    yield "threads' stack", threading.stack_size, threading.stack_size
    for module in (builtins, random, math, time, os, json):
        yield functions_of(module)
    yield "a thread that is still alive", _new_threads(), None
    yield "a process that has not ended", _new_children(), None
    yield "open files", _many_files, None


def functions_of(owner: ModuleType | type, name: str = "") -> State:
    """Return the state of what can be called in a module or class, which a trial may have replaced."""
    own = isinstance(owner, type)  # what begins with _ is replaced in classes only
    names = tuple(key for key, value in vars(owner).items() if callable(value) and (own or not key.startswith("_")))
    before = [vars(owner)[key] for key in names]
    seen = list(vars(owner).values())

    def read() -> bool:
        nonlocal seen
        if _same(now := list(vars(owner).values()), seen):
            return True  # in a fifth of the time that asking for each name takes
        if all(map(is_, map(vars(owner).get, names), before)):
            seen = now
            return True
        return False

    def restore(_: object) -> None:
        for key, function in zip(names, before, strict=True):
            if vars(owner).get(key) is not function:
                setattr(owner, key, function)

    return f"functions of {name or owner.__name__}", read, restore


def _same(now: list[Any], seen: list[Any]) -> bool:
    try:
        return now == seen
    except Exception:  # a value that is new and cannot be compared, such as an array
        return False


def _list_of(name: str) -> State:
    def restore(before: tuple[list[Any], list[Any]]) -> None:
        before[0][:] = before[1]
        setattr(sys, name, before[0])

    return f"sys.{name}", lambda: (getattr(sys, name), list(getattr(sys, name))), restore


def _runs(timer: int) -> bool:
    return signal.getitimer(timer) != (0.0, 0.0)


def _handlers() -> tuple[Any, ...]:
    return tuple(map(_signal.getsignal, _SIGNALS))  # `signal.getsignal` makes enumerations, which takes 100 times as long


def _set_handlers(handlers: tuple[Any, ...]) -> None:
    for number, before, now in zip(_SIGNALS, handlers, _handlers(), strict=True):
        if before is not now:
            signal.signal(number, before)


def _set_mask(mask: frozenset[signal.Signals]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _set_tracing(functions: tuple[Any, ...]) -> None:
    for restore, function in zip(
        (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile), functions, strict=True
    ):
        restore(function)


def _streams() -> list[Any]:
    streams = [getattr(sys, name) for name in _STREAMS]
    return [*streams, *(getattr(stream, "closed", True) for stream in streams), *map(_open_file, range(3))]


def _open_file(descriptor: int) -> tuple[int, int] | None:
    try:
        return identity(os.fstat(descriptor))
    except OSError:
        return None


def _set_streams(before: list[Any]) -> None:
    for number, name in enumerate(_STREAMS):
        if getattr(before[number], "closed", False):  # a new one on the same descriptor takes its place
            before[number] = os.fdopen(number, "w" if number else "r", buffering=1, errors="backslashreplace", closefd=False)
            before[3 + number] = False
        setattr(sys, name, before[number])
    if _open_file(0) != before[6]:  # the others are put back with the trial's log
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.close(nothing)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _environment() -> dict[bytes, bytes]:
    data: dict[bytes, bytes] = os.environb._data  # type: ignore[attr-defined]  # through the mapping it takes 10 times as long
    return data.copy()


def _set_environment(before: dict[bytes, bytes]) -> None:
    for name in set(os.environb) - set(before):
        del os.environb[name]
    os.environb.update(before)
    time.tzset()


def _set_hooks(hooks: tuple[Any, ...]) -> None:
    for name, hook in zip(_HOOKS, hooks, strict=False):
        setattr(sys, name, hook)
    threading.excepthook = hooks[-1]


def _set_warnings(before: tuple[list[Any], Any]) -> None:
    warnings.filters[:], warnings.showwarning = before  # type: ignore[index]  # typed as a sequence; it is a list
    warnings._filters_mutated()  # type: ignore[attr-defined]  # what `warnings.simplefilter` calls


def _logging() -> tuple[Any, ...]:
    return logging.root.level, list(logging.root.handlers), logging.root.disabled, logging.root.manager.disable


def _set_logging(before: tuple[Any, ...]) -> None:
    level, handlers, logging.root.disabled, logging.root.manager.disable = before
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def _set_gc(before: tuple[bool, tuple[int, int, int], int]) -> None:
    enabled, thresholds, debug = before
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*thresholds)
    gc.set_debug(debug)


def _set_limits(before: tuple[tuple[int, int], ...]) -> None:
    for limit, values in zip(_LIMITS, before, strict=True):
        if resource.getrlimit(limit) != values:
            resource.setrlimit(limit, values)


def _set_start_method(name: str | None) -> None:
    multiprocessing.set_start_method(name, force=True)


def _event_loop_policy() -> Any:
    return getattr(asyncio.events, "_event_loop_policy", None)  # the public function would make one


def _new_threads() -> Callable[[], bool]:
    """Return a function that says whether there is a new thread of Python; native libraries have pools of their own."""
    known, unnamed = set(threading.enumerate()), _thread._count() - threading.active_count()
    native = _native_threads()

    def read() -> bool:
        nonlocal native
        if (now := _native_threads()) > native:  # Python counts a thread without a name when it begins to run
            native = now
            time.sleep(0.005)
        # tqdm keeps one thread in each process that has drawn a progress bar.
        new = [one for one in threading.enumerate() if one not in known and not type(one).__module__.startswith("tqdm.")]
        return bool(new) or _thread._count() - threading.active_count() > unnamed

    return read


def _native_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208  # a count
    except OSError:
        return 0


def _new_children() -> Callable[[], bool]:
    """Return a function that says whether there is a child process that is not there now, or one that nobody has waited for."""
    known = processes.children()

    def read() -> bool:
        if processes.childless():
            return False
        subprocess._cleanup()  # type: ignore[attr-defined]  # waits for those whose Popen is gone, as the next Popen would
        multiprocessing.active_children()  # waits for those that have ended
        return not processes.children() <= known

    return read


def _many_files() -> bool:
    """Return whether half of the files are open that this process may open: some trial has left its files open."""
    try:
        return len(os.listdir("/proc/self/fd")) > resource.getrlimit(resource.RLIMIT_NOFILE)[0] / 2  # noqa: PTH208  # a count
    except OSError:
        return False
