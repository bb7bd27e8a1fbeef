"""Objectives that leave something behind in their process. A test copies this file beside a study file, as the module `mine`.

Each trial first writes down what it finds, and trains; then it leaves what its parameter `leaves` says.
"""

from __future__ import annotations

import _thread
import asyncio
import builtins
import collections
import contextlib
import contextvars
import copy
import datetime
import decimal
import faulthandler
import gc
import importlib
import itertools
import json
import locale
import logging
import multiprocessing
import operator
import os
import pickle
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch as _torch

from sweep import Trial

torch: Any = _torch  # half of what is called here has no annotations
nn: Any = torch.nn

counter, flag, text, share = 0, False, "a", 0.5
cache: Any = None
grown: dict[str, Any] = {}
options: dict[str, Any] = {"lr": 0.1, "inner": {"deep": 1}}
numbers = [1, 2, 3]
own_random, own_numpy, own_torch = random.Random(1), numpy.random.default_rng(1), torch.Generator().manual_seed(1)
old_numpy = numpy.random.RandomState(1)
model = nn.Linear(2, 1)
nn.init.constant_(model.weight, 0.5)
weights = torch.ones(2)
ids = itertools.count()
space = types.SimpleNamespace(width=1)
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
generator: Any = (number for number in range(9))
in_turn, pairs, items = itertools.cycle([1, 2, 3]), zip(range(9), range(9), strict=True), iter([1, 2, 3])
lines = Path(__file__).open()  # noqa: SIM115  # it stays open
sequence, table, raw = numpy.random.SeedSequence(1), numpy.ones(2), bytearray(b"a")
deep: Any = {"a": {"b": {"c": {"d": 1}}}, "rows": ([1], {"e": 1})}
waiting, chosen = collections.deque([1, 2]), {1, 2}
regular = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
rate = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(regular.parameters(), lr=0.1), 1)
loader = torch.utils.data.DataLoader(torch.arange(4), shuffle=True, generator=torch.Generator().manual_seed(1))
logger = logging.getLogger("mine")
kept: list[Any] = []  # what would end with its last reference


class Options:
    """Options as a class, and as an object."""

    depth = 1

    def __init__(self) -> None:
        self.rate = 0.1


instance: Any = Options()
instance.inner = Options()  # as options are often made
instance.inner.inner = Options()


class Child(Options):
    """A class that inherits a method, and an object without a dict."""


class Slots:
    """An object without a dict."""

    __slots__ = ("width",)

    def __init__(self) -> None:
        self.width = 1


slots = Slots()


def counted(function: Callable[[], float]) -> Callable[[], int]:
    """Count the calls of a function."""
    calls = 0

    def inner() -> int:
        nonlocal calls
        calls += 1
        return calls

    return inner


@counted
def called() -> float:
    """Be counted."""
    return 1.0


def _coming() -> list[Any]:
    """Return what comes next, of copies that share nothing."""
    return [next(pickle.loads(pickle.dumps(one))) for one in (in_turn, pairs)]  # noqa: S301  # of this process


def _calls() -> list[int]:
    return [cell.cell_contents for cell in called.__closure__ or () if isinstance(cell.cell_contents, int)]


def with_default(*, kept_here: Any = {"calls": 0}) -> None:  # noqa: B006  # what is to be found
    """Count in a default."""
    kept_here["calls"] += 1


def helper() -> float:
    """Be replaced by a trial."""
    return 1.0


def _found() -> dict[str, Any]:
    """Return what this process is like, as code would notice it."""
    lazily = importlib.import_module("lazily")

    one = torch.ones(2)
    hooked: list[int] = []
    layer = nn.Linear(2, 2)
    with contextlib.suppress(Exception):
        hooked.append(int(layer(torch.ones(1, 2)).sum().numel()))
    matplotlib = sys.modules.get("matplotlib")
    lowered = sum((torch.tensor([1e-310], dtype=torch.float64) * 1.0).tolist()) > 0
    new_file = os.open("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", os.O_RDONLY)  # noqa: S108  # only opened
    os.close(new_file)
    return {
        "gradient": (torch.ones(1, requires_grad=True) * 2).requires_grad,
        "inference": one.is_inference(),
        "tensor": [str(one.dtype), str(one.device), str(torch.ones(1, 1).mm(torch.ones(1, 1)).dtype)],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "deterministic": [torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()],
        "flags": [
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.mkldnn.enabled,
            torch.backends.mkldnn.deterministic,
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.is_warn_always_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.is_anomaly_enabled(),
            lowered,
        ],
        "hooks": [hooked, len(repr(torch.tensor([1 / 3]))), torch.multiprocessing.get_sharing_strategy()],
        "functions": [
            nn.functional.relu(torch.tensor([-1.0])).tolist() if one.device.type == "cpu" else None,
            type(random.random()).__name__,
            type(numpy.random.random()).__name__,
            float(numpy.mean([1, 3])),
            time.time() > 1e9,
            json.dumps(1),
            type(torch.rand(1)).__name__,
            helper(),
        ],
        "numpy": [dict(numpy.geterr()), repr(numpy.array([1 / 3])), numpy.geterrcall() is None],
        "folder": str(Path.cwd()),
        "umask": [mask := os.umask(0o022), os.umask(mask)][0],
        "environment": {k: v for k, v in os.environ.items() if k.startswith("LEFT") or k == "HOME"},
        "path": [entry for entry in [*sys.path, *sys.argv] if "left" in entry],
        "importers": len(sys.meta_path),
        "streams": [sys.stdin.closed, sys.stdout.closed, sys.stderr.closed, type(sys.stdout).__name__],
        "signals": [signal.getsignal(n) in (0, 1) for n in (signal.SIGUSR1, signal.SIGALRM, signal.SIGCHLD)],
        "interrupt": getattr(signal.getsignal(signal.SIGINT), "__name__", ""),
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0],
        "locale": locale.setlocale(locale.LC_ALL),
        "zone": time.strftime("%H", time.localtime(0)),
        "decimal": str(decimal.Decimal(1) / 3),
        "limits": [sys.getrecursionlimit(), sys.get_int_max_str_digits(), round(sys.getswitchinterval(), 4)],
        "gc": [gc.isenabled(), gc.get_threshold()],
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "nice": os.nice(0),
        "cores": len(os.sched_getaffinity(0)),
        "sys": [sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.gettrace() is None],
        "profile": [sys.getprofile() is None, threading.gettrace() is None, faulthandler.is_enabled()],
        "socket": socket.getdefaulttimeout(),
        "loop": type(asyncio.get_event_loop_policy()).__name__,
        "start": multiprocessing.get_start_method(),
        "warnings": [entry[0] for entry in warnings.filters if entry[0] == "error"],
        "logging": [logging.root.level, len(logging.root.handlers), logging.root.manager.disable, logging.root.disabled],
        "running": [thread.name for thread in threading.enumerate() if thread.name.startswith("left")],
        "raw": _thread._count() - threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")) > 200,  # noqa: PTH208  # a count
        "matplotlib": [matplotlib.rcParams["lines.linewidth"], str(matplotlib.rcParams["axes.grid"])]
        if matplotlib
        else [1.5, "False"],
        "figures": len(sys.modules["matplotlib.pyplot"].get_fignums()) if "matplotlib.pyplot" in sys.modules else 0,
        "module": [counter, flag, text, share, options, numbers, space.width, Options.depth, instance.rate, repr(ids)],
        "own random": [repr(own_random.getstate()), repr(own_numpy.bit_generator.state), repr(old_numpy.get_state())],
        "torch's own random": bytes(own_torch.get_state().numpy()).hex(),
        "model": [model.weight.tolist(), weights.tolist(), getattr(train, "calls", 0), lazily.counter, variable.get()],
        "positions": [generator.gi_frame.f_lasti, *_coming(), lines.tell()],
        "inside": [operator.length_hint(items), sequence.n_children_spawned, table.tolist(), bytes(raw), deep, list(waiting)],
        "further": [
            instance.inner.inner.rate,
            sorted(chosen),
            slots.width,
            Child().rate,
            _calls(),
        ],
        "defaults": str(with_default.__kwdefaults__),
        "training": [regular[1].p, regular[1].training, regular[0].weight.requires_grad, rate.last_epoch],
        "loader": bytes(loader.generator.get_state().numpy()).hex(),
        "logger": [logger.level, len(logger.handlers), logger.propagate, len(logging.getLogger("new").handlers)],
        "classes": [_layers(), type(torch.optim.SGD(regular.parameters())).__name__, float(numpy.linalg.norm([3, 4]))],
        "batches": [batch.tolist() for batch in torch.utils.data.DataLoader([1, 2])] if one.device.type == "cpu" else None,
        "checks": [torch.distributions.Distribution._validate_args, torch.jit._state._enabled.enabled],
        "more flags": [torch._C._is_multithreading_enabled(), torch._C._check_sparse_tensor_invariants()],
        "python": [tempfile.gettempdir(), copy.deepcopy([1]), datetime.datetime.__name__, tracemalloc.is_tracing()],
        "text": [sys.stdout.encoding, sys.stdout.errors],
        "children": multiprocessing.active_children() == [],
    }


def _layers() -> list[Any]:
    """Return what layers compute that inherit what they do."""
    torch.manual_seed(1)
    with contextlib.suppress(Exception):
        return [nn.BatchNorm1d(2)(torch.ones(2, 2)).tolist(), nn.Dropout(0.5)(torch.ones(4)).tolist()]
    return []


def train(trial: Trial) -> None:
    """Write down what is found, train a little, and leave something."""
    found = _found()
    (trial.dir / "found.json").write_text(builtins.str(json.dumps(found, default=str)))
    (trial.dir / "pid").write_text(str(os.getpid()))
    layer = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for step in trial.steps(2):
        loss = (layer(torch.rand(16, 4)) - random.random() - numpy.random.random()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(step, {"score": loss.item(), "bytes": float(loss.element_size())})
    LEAVES[trial.params["leaves"]](trial)


def _enter(manager: Any) -> None:
    kept.append(manager)
    manager.__enter__()


def _set(**values: Any) -> None:
    globals().update(values)


def _raise_in(manager: Any, error: BaseException) -> None:
    manager.__enter__()
    kept.append(manager)
    raise error


def _alarm(_trial: Trial) -> None:
    def ring(*_: object) -> None:
        raise TimeoutError("too late")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)


def _thread_left(name: str, *, daemon: bool = True) -> None:
    threading.Thread(target=time.sleep, args=(600,), daemon=daemon, name=name).start()


def _daemon(trial: Trial) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            (trial.dir / "child").write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.wait()


def _child(trial: Trial, **how: Any) -> None:
    child = subprocess.Popen(["sleep", "600"], **how)
    kept.append(child)
    (trial.dir / "child").write_text(str(child.pid))


def _fork_that_returns(trial: Trial) -> None:
    if os.fork() == 0:
        return
    os.wait()


def _fork_that_exits(trial: Trial) -> None:
    if os.fork() == 0:
        sys.exit(0)
    os.wait()


def _fork_that_raises(trial: Trial) -> None:
    if os.fork() == 0:
        raise RuntimeError("in the copy")
    os.wait()


def _fork_that_reports(trial: Trial) -> None:
    if os.fork() == 0:
        trial.report(3, {"score": 1000.0, "bytes": 1.0})
    os.wait()


def _fork_that_keeps_pipes(trial: Trial) -> None:
    if (child := os.fork()) == 0:
        time.sleep(600)
    (trial.dir / "child").write_text(str(child))


def _group(trial: Trial) -> None:
    importlib.import_module("torch.distributed")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)


def _figures(trial: Trial) -> None:
    import matplotlib.pyplot

    matplotlib.pyplot.plot([1, 2])


def _rc(trial: Trial) -> None:
    import matplotlib as mpl

    mpl.rcParams["lines.linewidth"] = 9
    mpl.rcParams["axes.grid"] = True


def _train_model(trial: Trial) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def _lazily(trial: Trial) -> None:
    lazily: Any = importlib.import_module("lazily")
    lazily.counter += 1


def _policy(trial: Trial) -> None:
    class Other(asyncio.DefaultEventLoopPolicy):
        pass

    asyncio.set_event_loop_policy(Other())


def _many_files(trial: Trial) -> None:
    kept.extend(open(os.devnull) for _ in range(700))  # noqa: SIM115, PTH123  # left open


def _time_zone(trial: Trial) -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def _error_elsewhere(trial: Trial) -> None:
    os.chdir("/")
    raise ZeroDivisionError("elsewhere")


def _close_all(trial: Trial) -> None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def _bad_path(trial: Trial) -> None:
    folder = trial.dir / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()


class _Mode(_torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Dispatch(_torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]  # unannotated
    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Finder:
    def find_spec(self, *_: Any) -> None:
        return None


def _limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, resource.getrlimit(which)[1]))


def _collate() -> Any:
    return torch.utils.data._utils.collate.default_collate_fn_map


LEAVES: dict[str, Callable[[Trial], object]] = {
    "nothing": lambda t: None,
    "nothing again": lambda t: None,
    # torch
    "gradient mode off": lambda t: torch.set_grad_enabled(False),
    "no_grad entered": lambda t: _enter(torch.no_grad()),
    "inference mode entered": lambda t: _enter(torch.inference_mode()),
    "float64 as default": lambda t: torch.set_default_dtype(torch.float64),
    "default tensor type": lambda t: torch.set_default_tensor_type(torch.DoubleTensor),
    "meta as default device": lambda t: torch.set_default_device("meta"),
    "a device entered": lambda t: _enter(torch.device("meta")),
    "three threads": lambda t: torch.set_num_threads(3),
    "threads between operations": lambda t: torch.set_num_interop_threads(3),
    "deterministic algorithms": lambda t: torch.use_deterministic_algorithms(True, warn_only=True),
    "cudnn.benchmark": lambda t: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda t: setattr(torch.backends.cudnn, "deterministic", True),
    "mkldnn off": lambda t: torch.backends.mkldnn.set_flags(False),
    "precision of products": lambda t: torch.set_float32_matmul_precision("medium"),
    "attention": lambda t: torch.backends.cuda.enable_flash_sdp(False),
    "denormal numbers": lambda t: torch.set_flush_denormal(True),
    "memory not filled": lambda t: setattr(torch.utils.deterministic, "fill_uninitialized_memory", False),
    "anomaly mode": lambda t: torch.autograd.set_detect_anomaly(True),
    "autocast entered": lambda t: _enter(torch.autocast("cpu", dtype=torch.bfloat16)),
    "warn always": lambda t: torch.set_warn_always(True),
    "a hook of all modules": lambda t: nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2),
    "hooks of saved tensors": lambda t: _enter(torch.autograd.graph.saved_tensors_hooks(lambda x: x * 2, lambda x: x)),
    "torch's print options": lambda t: torch.set_printoptions(precision=2),
    "a function mode": lambda t: _enter(_Mode()),
    "a dispatch mode": lambda t: _enter(_Dispatch()),  # type: ignore[no-untyped-call]  # unannotated
    "sharing strategy": lambda t: torch.multiprocessing.set_sharing_strategy("file_system"),
    "relu replaced": lambda t: setattr(nn.functional, "relu", lambda x: x),
    "rand replaced": lambda t: setattr(torch, "rand", lambda *a, **k: [0.5]),
    "Linear.forward replaced": lambda t: setattr(nn.Linear, "forward", lambda self, x: x),
    "Module.__call__ replaced": lambda t: setattr(nn.Module, "__call__", lambda self, *a: torch.zeros(())),
    "a process group": _group,
    # NumPy and matplotlib
    "NumPy's errors": lambda t: numpy.seterr(all="raise"),
    "NumPy's print options": lambda t: numpy.set_printoptions(precision=2),
    "numpy.mean replaced": lambda t: setattr(numpy, "mean", lambda x: 0.0),
    "numpy.random replaced": lambda t: setattr(numpy.random, "random", lambda: "no number"),
    "figures": _figures,
    "matplotlib's parameters": _rc,
    # Python
    "random.random replaced": lambda t: setattr(random, "random", lambda: 1),
    "time.time replaced": lambda t: setattr(time, "time", lambda: 0.0),
    "print replaced": lambda t: setattr(builtins, "print", lambda *a, **k: None),
    "json.dumps replaced": lambda t: setattr(json, "dumps", lambda *a, **k: "{}"),
    "stdout closed": lambda t: sys.stdout.close(),
    "stderr closed": lambda t: sys.stderr.close(),
    "stdin closed": lambda t: sys.stdin.close(),
    "all streams closed": _close_all,
    "stdout replaced": lambda t: setattr(sys, "stdout", open(os.devnull, "w")),  # noqa: SIM115, PTH123  # left open
    "stdout is None": lambda t: setattr(sys, "stdout", None),
    "descriptor 1 closed": lambda t: os.close(1),
    "descriptors 0 to 2 closed": lambda t: os.closerange(0, 3),
    "a warning is an error": lambda t: warnings.simplefilter("error"),
    "logging": lambda t: logging.basicConfig(level=logging.DEBUG),
    "logging off": lambda t: logging.disable(logging.CRITICAL),
    "decimal": lambda t: setattr(decimal.getcontext(), "prec", 3),
    "recursion limit": lambda t: sys.setrecursionlimit(3000),
    "digits of int": lambda t: sys.set_int_max_str_digits(0),
    "switch interval": lambda t: sys.setswitchinterval(0.1),
    "gc off": lambda t: gc.disable(),
    "gc threshold": lambda t: gc.set_threshold(7),
    "tracing": lambda t: sys.settrace(lambda *a: None),
    "profiling": lambda t: sys.setprofile(lambda *a: None),
    "tracing of threads": lambda t: threading.settrace(lambda *a: None),
    "excepthook": lambda t: setattr(sys, "excepthook", lambda *a: None),
    "displayhook": lambda t: setattr(sys, "displayhook", lambda *a: None),
    "faulthandler": lambda t: faulthandler.disable() if faulthandler.is_enabled() else faulthandler.enable(file=2),
    "a traceback that ends the process": lambda t: faulthandler.dump_traceback_later(0.05, exit=True, file=2),
    "an importer": lambda t: sys.meta_path.append(_Finder()),
    "sys.path": lambda t: sys.path.insert(0, "/left"),
    "sys.path is another list": lambda t: setattr(sys, "path", ["/left", *sys.path]),
    "sys.argv": lambda t: sys.argv.append("left"),
    "socket timeout": lambda t: socket.setdefaulttimeout(0.01),
    "event loop policy": _policy,
    "start method": lambda t: multiprocessing.set_start_method("spawn", force=True),
    "a context variable": lambda t: variable.set(5),
    # The process
    "working directory": lambda t: os.chdir("/"),
    "a working directory that is gone": _bad_path,
    "umask": lambda t: os.umask(0o077),
    "a variable": lambda t: os.environ.__setitem__("LEFT", "1"),
    "no variables": lambda t: os.environ.clear(),
    "time zone": _time_zone,
    "locale": lambda t: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    "a handler of SIGUSR1": lambda t: signal.signal(signal.SIGUSR1, lambda *a: None),
    "a handler of SIGINT": lambda t: signal.signal(signal.SIGINT, signal.default_int_handler),
    "SIGCHLD ignored": lambda t: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "signals blocked": lambda t: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)),
    "an alarm that rings": _alarm,
    "few open files": lambda t: _limit(resource.RLIMIT_NOFILE, 64),
    "no core files": lambda t: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    "niceness": lambda t: os.nice(3),
    "one core": lambda t: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "many open files": _many_files,
    "a thread": lambda t: _thread_left("left"),
    "a thread that is no daemon": lambda t: _thread_left("left", daemon=False),
    "a thread without a name": lambda t: _thread.start_new_thread(time.sleep, (600,)),
    "a child": _child,
    "a child in a session of its own": lambda t: _child(t, start_new_session=True),
    "a child without variables": lambda t: _child(t, start_new_session=True, env={"PATH": "/usr/bin:/bin"}),
    "a daemon": _daemon,
    "a zombie": lambda t: kept.append(subprocess.Popen(["true"])),
    "a copy that returns": _fork_that_returns,
    "a copy that exits": _fork_that_exits,
    "a copy that raises": _fork_that_raises,
    "a copy that reports": _fork_that_reports,
    "a copy that keeps the pipes": _fork_that_keeps_pipes,
    # The study's modules
    "a counter": lambda t: _set(counter=counter + 1),
    "a flag": lambda t: _set(flag=True),
    "a text": lambda t: _set(text="b"),
    "a share": lambda t: _set(share=share / 2),
    "another type": lambda t: _set(counter=0.0),
    "a new name": lambda t: _set(new_name=1),
    "an option": lambda t: options.update(lr=1.0),
    "an option further in": lambda t: options["inner"].update(deep=2),
    "an item": lambda t: numbers.__setitem__(0, 7),
    "an item less": lambda t: numbers.pop(),
    "an attribute of a namespace": lambda t: setattr(space, "width", 2),
    "an attribute of a class": lambda t: setattr(Options, "depth", 2),
    "an attribute of an object": lambda t: setattr(instance, "rate", 0.2),
    "an attribute of the function": lambda t: setattr(train, "calls", 1),
    "a function of the module": lambda t: _set(helper=lambda: 2.0),
    "a model": _train_model,
    "a tensor": lambda t: weights.mul_(2),
    "a module imported in a trial": _lazily,
    "random numbers of Python": lambda t: own_random.random(),
    "random numbers of NumPy": lambda t: own_numpy.random(),
    "random numbers of NumPy's old kind": lambda t: old_numpy.rand(),
    "random numbers of torch": lambda t: torch.rand(1, generator=own_torch),
    "numbers in turn": lambda t: next(ids),
    "an attribute of a nested object": lambda t: setattr(instance.inner.inner, "rate", 5),
    "an attribute without a dict": lambda t: setattr(slots, "width", 5),
    "a method that was inherited": lambda t: setattr(Child, "__init__", lambda self: setattr(self, "rate", 7)),
    "an option far inside": lambda t: deep["a"]["b"]["c"].update(d=2),
    "an option in a tuple": lambda t: deep["rows"][1].update(e=2),
    "an item of a queue": lambda t: waiting.popleft(),
    "an item of a set": lambda t: chosen.discard(1),
    "a byte": lambda t: raw.append(1),
    "a number of an array": lambda t: table.__imul__(2),
    "a spawned seed": lambda t: sequence.spawn(1),
    "a generator function": lambda t: next(generator),
    "a circle": lambda t: next(in_turn),
    "pairs": lambda t: next(pairs),
    "an iterator of a list": lambda t: next(items),
    "lines of a file": lambda t: lines.read(5),
    "a variable of a decorator": lambda t: called(),
    "a default that counts": lambda t: with_default(),
    "a layer's rate": lambda t: setattr(regular[1], "p", 0.9),
    "a layer that evaluates": lambda t: regular[1].eval(),
    "frozen layers": lambda t: regular.requires_grad_(False),
    "a scheduler": lambda t: rate.step(),
    "the order of a loader": lambda t: list(loader),
    "a module of another kind": lambda t: sys.modules.__setitem__("lazily", types.SimpleNamespace(counter=5)),  # type: ignore[assignment]
    # What is replaced or set in libraries
    "a logger": lambda t: logger.addHandler(logging.NullHandler()),
    "a level of a logger": lambda t: logger.setLevel(10),
    "a new logger": lambda t: logging.getLogger("new").addHandler(logging.NullHandler()),
    "a logger that keeps to itself": lambda t: setattr(logger, "propagate", False),
    "BatchNorm1d.forward replaced": lambda t: setattr(nn.BatchNorm1d, "forward", lambda self, x: x * 5),
    "Dropout.forward replaced": lambda t: setattr(nn.Dropout, "forward", lambda self, x: x),
    "optim.SGD replaced": lambda t: setattr(torch.optim, "SGD", torch.optim.Adam),
    "DataLoader replaced": lambda t: setattr(torch.utils.data.DataLoader, "__iter__", lambda self: iter([])),
    "linalg.norm replaced": lambda t: setattr(numpy.linalg, "norm", lambda x: 0.0),
    "deepcopy replaced": lambda t: setattr(copy, "deepcopy", lambda x: 0),
    "datetime replaced": lambda t: setattr(datetime, "datetime", types.SimpleNamespace),
    "how batches are made": lambda t: _collate().__setitem__(int, lambda batch, **how: torch.zeros(1)),
    "checks of distributions": lambda t: torch.distributions.Distribution.set_default_validate_args(False),
    "checks of sparse tensors": lambda t: torch.sparse.check_sparse_tensor_invariants.enable(),
    "no scripts": lambda t: torch.jit._state.disable(),
    "gradients in one thread": lambda t: torch._C._set_multithreading_enabled(False),
    "the temporary folder": lambda t: setattr(tempfile, "tempdir", "/"),
    "tracemalloc": lambda t: tracemalloc.start(),
    "stdout's encoding": lambda t: sys.stdout.reconfigure(encoding="ascii"),  # type: ignore[union-attr]
    # Ends
    "an error": lambda t: _raise_in(torch.no_grad(), RuntimeError("boom")),
    "an exit": lambda t: _raise_in(torch.inference_mode(), SystemExit(3)),
    "an interrupt": lambda t: _raise_in(torch.autocast("cpu", dtype=torch.bfloat16), KeyboardInterrupt()),
    "an error in another folder": _error_elsewhere,
}
