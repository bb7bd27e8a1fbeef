"""The parts of a process's state that belong to Python and the system: see `process_state`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of
import _thread
import asyncio
import decimal
import faulthandler
import gc
import locale
import logging
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from sweep.storage.regular import identity
from sweep.worker import processes

State = tuple[str, Callable[[], Any], Callable[[Any], object] | None]
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook")
_SIGNALS = tuple(sorted(map(int, signal.valid_signals())))
_SETTINGS = attrgetter("level", "disabled", "propagate", "handlers", "filters")
_NEW_LOGGER: tuple[Any, ...] = (logging.NOTSET, False, True, [], [])
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
    yield _logging()
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
    yield "temporary folder", lambda: tempfile.tempdir, lambda folder: setattr(tempfile, "tempdir", folder)
    yield "tracemalloc", tracemalloc.is_tracing, lambda on: tracemalloc.start() if on else tracemalloc.stop()
    yield "a thread that is still alive", _new_threads(), None
    yield "a process that has not ended", _new_children(), None
    yield "open files", _many_files, None


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
    text = [(getattr(one, "encoding", None), getattr(one, "errors", None)) for one in streams]
    return [*streams, *(getattr(one, "closed", True) for one in streams), *map(_open_file, range(3)), *text]


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
        setattr(sys, name, stream := before[number])
        encoding, errors = before[9 + number]
        if encoding is not None and (stream.encoding, stream.errors) != (encoding, errors) and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding=encoding, errors=errors)
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


def _logging() -> State:
    """Return the state of all loggers; a trial may make new ones, and so may a library when a trial imports it first."""
    manager = logging.root.manager

    def loggers() -> list[logging.Logger]:
        return [logging.root, *(one for one in manager.loggerDict.values() if isinstance(one, logging.Logger))]

    known, disabled = loggers(), manager.disable
    made: tuple[int, list[logging.Logger]] = len(manager.loggerDict), []
    before = [(*_SETTINGS(one)[:3], one.handlers[:], one.filters[:]) for one in known]

    def new() -> list[logging.Logger]:
        nonlocal made
        if len(manager.loggerDict) != made[0]:
            old = set(known)
            made = len(manager.loggerDict), [one for one in loggers() if one not in old and not _is_library(one.name)]
        return [one for one in made[1] if _SETTINGS(one) != _NEW_LOGGER]

    def read() -> bool:
        return manager.disable == disabled and list(map(_SETTINGS, known)) == before and not new()

    def restore(_: object) -> None:
        manager.disable = disabled
        for logger, settings in [*zip(known, before, strict=True), *((one, _NEW_LOGGER) for one in new())]:
            level, logger.disabled, logger.propagate, handlers, filters = settings
            logger.setLevel(level)
            logger.handlers[:], logger.filters[:] = handlers, filters

    return "logging", read, restore


def _is_library(name: str) -> bool:
    module = sys.modules.get(name.partition(".")[0])
    return "site-packages" in str(getattr(module, "__file__", None))


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
