"""The cases of `test_values`, one function for each; the tests copy this file beside a study file."""

from __future__ import annotations

import contextlib
import decimal
import enum
import fractions
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch

from sweep import Trial

CASES: dict[str, Callable[[Trial], Any]] = {}


def case(function: Callable[[Trial], Any]) -> Callable[[Trial], Any]:
    """Add a case."""
    CASES[function.__name__] = function
    return function


class Level(enum.IntEnum):
    """A class that the runner cannot import."""

    THIRD = 3


class Tag(enum.StrEnum):
    """A class that the runner cannot import."""

    SCORE = "score"


class Celsius(float):
    """A class that the runner cannot import."""


class Text(str):
    """A class that the runner cannot import."""

    __slots__ = ()


class Metrics(dict[str, Any]):
    """A class that the runner cannot import."""


class Silent(RuntimeError):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class Odd(RuntimeError):
    """An error whose text is of a class of its own."""

    def __str__(self) -> str:
        return Text("odd words")


class Unreadable(RuntimeError):
    """An error whose class does not want to be looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__notes__", "exceptions"):
            raise RuntimeError("no")
        return super().__getattribute__(name)


class Floats:
    """A number in its own words."""

    def __float__(self) -> float:
        return 0.5


class BadFloat:
    """A number that gives none."""

    def __float__(self) -> float:
        return "x"  # type: ignore[return-value]  # the case itself


def reports(value: Any) -> Callable[[Trial], None]:
    """Return an objective that reports a value made by a function."""
    return lambda trial: trial.report(1, {"score": value()})


def returns(value: Any) -> Callable[[Trial], Any]:
    """Return an objective that returns a value made by a function."""
    return lambda _trial: value()


VALUES: dict[str, Callable[[], Any]] = {
    "int": lambda: 3,
    "float": lambda: 0.5,
    "float32": lambda: np.float32(0.5),
    "float64": lambda: np.float64(0.5),
    "float16": lambda: np.float16(0.5),
    "longdouble": lambda: np.longdouble(0.5),
    "int64": lambda: np.int64(3),
    "uint8": lambda: np.uint8(3),
    "array0": lambda: np.array(0.5),
    "array1": lambda: np.array([0.5]),
    "tensor": lambda: torch.tensor(0.5),
    "tensor1": lambda: torch.tensor([0.5]),
    "tensor_of_ints": lambda: torch.tensor(3),
    "tensor_with_grad": lambda: torch.tensor(0.5, requires_grad=True) * 1,
    "parameter": lambda: torch.nn.Parameter(torch.tensor(0.5)),
    "bfloat16": lambda: torch.tensor(0.5, dtype=torch.bfloat16),
    "int_enum": lambda: Level.THIRD,
    "float_subclass": lambda: Celsius(0.5),
    "decimal": lambda: decimal.Decimal("0.5"),
    "fraction": lambda: fractions.Fraction(1, 2),
    "own_float": Floats,
    "large_int": lambda: 10**300,
    "uint64": lambda: np.uint64(2**64 - 1),
    "bool": lambda: True,
    "numpy_bool": lambda: np.True_,
    "tensor_bool": lambda: torch.tensor(True),
    "text": lambda: "0.5",
    "numpy_text": lambda: np.str_("0.5"),
    "nothing": lambda: None,
    "complex": lambda: 1j,
    "list": lambda: [0.5],
    "tensor2": lambda: torch.tensor([0.5, 0.5]),
    "array2": lambda: np.array([0.5, 0.5]),
    "masked": lambda: np.ma.masked,
    "masked_array": lambda: np.ma.array(0.5, mask=True),
    "unmasked_array": lambda: np.ma.array([0.5], mask=[False]),
    "meta": lambda: torch.empty((), device="meta"),
    "bad_float": BadFloat,
    "object": object,
    "nan": lambda: float("nan"),
    "infinite": lambda: torch.tensor(float("-inf")),
    "numpy_nan": lambda: np.float32("nan"),
    "decimal_nan": lambda: decimal.Decimal("nan"),
    "huge_int": lambda: 10**400,
    "huge_decimal": lambda: decimal.Decimal("1e999"),
}
for _name, _value in VALUES.items():
    CASES[f"report {_name}"] = reports(_value)
    CASES[f"return {_name}"] = returns(_value)

STEPS: dict[str, Callable[[], Any]] = {
    "int64": lambda: np.int64(7),
    "tensor": lambda: torch.tensor(7),
    "int_enum": lambda: Level.THIRD,
    "largest": lambda: 2**63 - 1,
    "negative": lambda: -7,
    "too_large": lambda: 2**63,
    "of_700_digits": lambda: 10**700,
    "float": lambda: 7.0,
    "text": lambda: "7",
    "bool": lambda: True,
    "nothing": lambda: None,
    "nan": lambda: float("nan"),
}
for _name, _value in STEPS.items():
    CASES[f"step {_name}"] = lambda trial, step=_value: trial.report(step(), {"score": 1})  # type: ignore[misc]  # bound now

NAMES: dict[str, Any] = {
    "numpy": np.str_("other"),
    "enum": Tag.SCORE,
    "subclass": Text("other"),
    "unicode": "Größe 損失",
    "spaces": "a b/c",
    "int": 3,
    "none": None,
    "bytes": b"other",
    "empty": "",
    "newline": "a\nb",
    "escape": "\x1b[31mred",
    "nul": "a\0",
    "surrogate": "\udce9",
    "long": "x" * 10_000,
}
for _name, _value in NAMES.items():
    CASES[f"name {_name}"] = lambda trial, name=_value: trial.report(1, {"score": 1, name: 2})  # type: ignore[misc]  # bound now


def killed_once(trial: Trial) -> None:
    """Kill the worker, the first time."""
    if trial.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def resumes(prepare: Callable[[Trial, int], Any]) -> Callable[[Trial], None]:
    """Return an objective that does something at each step, with a checkpoint, and is killed after the second."""

    def train(trial: Trial) -> None:
        assert trial.attempt == 1 or trial.state == {"at": 2}, "the checkpoint could not be read"
        for step in trial.steps(np.int64(3)):  # type: ignore[arg-type]  # what a user may do
            prepare(trial, step)
            trial.report(np.int64(step), {"score": np.float32(step)}, {"at": step})  # type: ignore[arg-type]  # as above
            if step == 2:
                killed_once(trial)

    return train


CASES |= {
    "resume steps": resumes(lambda _trial, _step: None),
    "resume add_scalar": resumes(lambda trial, step: trial.writer.add_scalar("m", 0.5, np.int64(step))),
    "resume add_scalar tensor": resumes(lambda trial, step: trial.writer.add_scalar("m", 0.5, torch.tensor(step))),
    "resume tag": resumes(lambda trial, step: trial.writer.add_scalar(np.str_("m"), 0.5, step)),
    "resume enum tag": resumes(lambda trial, step: trial.writer.add_scalar(Text("m"), Celsius(0.5), Level.THIRD + step)),
    "resume add_scalars": resumes(lambda trial, step: trial.writer.add_scalars(np.str_("m"), {np.str_("a"): 1}, np.int64(step))),
    "resume batch": resumes(lambda trial, step: trial.panels.batch(cast("int", np.int64(step)), {np.str_("m"): np.float32(1)})),
    "resume add_hparams": resumes(lambda trial, step: trial.writer.add_hparams({"x": 1}, {"m": 1}, global_step=np.int64(step))),
    "resume layout": resumes(
        lambda trial, _step: trial.writer.add_custom_scalars({np.str_("c"): {np.str_("t"): ["Multiline", [np.str_("m")]]}})
    ),
    "resume bad step": resumes(lambda trial, step: trial.writer.add_scalar("m", 0.5, 2**70 + step)),
    "resume float step": resumes(lambda trial, step: trial.writer.add_scalar("m", 0.5, step + 0.5)),
    "resume bad tag": resumes(lambda trial, step: trial.writer.add_scalar("\udce9", 0.5, step)),
    "resume own score": resumes(lambda trial, step: trial.writer.add_scalar("score", np.float32(step), np.int64(step))),
    "resume own metrics": resumes(lambda trial, step: trial._metrics.update(mine=2.0 * step)),
    "resume own params": resumes(lambda trial, step: trial.params.update(mine=Celsius(step))),
    "resume event file": resumes(lambda trial, _step: (trial.dir / "events.out.tfevents.ä").touch()),
}


@case
def metrics_of_a_class(trial: Trial) -> Any:
    trial.report(1, Metrics(score=1))
    return Metrics(score=Celsius(2))


@case
def not_a_dict(trial: Trial) -> None:
    trial.report(1, 0.5)  # type: ignore[arg-type]  # the case itself


@case
def optunas_order(trial: Trial) -> None:
    trial.report(0.5, 1)  # type: ignore[arg-type]  # the case itself


@case
def negative_total(trial: Trial) -> None:
    list(trial.steps(-1))


@case
def huge_total(trial: Trial) -> None:
    list(trial.steps(10**700))


@case
def total_is_a_float(trial: Trial) -> None:
    list(trial.steps(3.0))  # type: ignore[arg-type]  # the case itself


@case
def error_without_text(trial: Trial) -> None:
    raise Silent


@case
def error_with_an_odd_text(trial: Trial) -> None:
    raise Odd


@case
def error_that_hides(trial: Trial) -> None:
    raise Unreadable("hidden words")


@case
def error_of_10_mb(trial: Trial) -> None:
    raise RuntimeError("x" * 10_000_000)


@case
def error_with_surrogates(trial: Trial) -> None:
    raise RuntimeError(os.fsdecode(b"caf\xe9.csv"))


@case
def error_with_notes(trial: Trial) -> None:
    error = RuntimeError("noted")
    error.add_note("a note")
    raise error


@case
def error_from_itself(trial: Trial) -> None:
    error = RuntimeError("circle")
    error.__cause__ = error
    raise error


@case
def error_group(trial: Trial) -> None:
    raise ExceptionGroup("several", [Silent(), Odd(), ExceptionGroup("inner", [ValueError("deep")])])


@case
def error_with_objects(trial: Trial) -> None:
    raise KeyError(Level.THIRD, np.float32(1), torch.ones(2), object())


@case
def error_of_failed_trial(trial: Trial) -> None:
    from sweep.worker.endings import TrialFailed

    raise TrialFailed(Text("my words"))


@case
def recursion(trial: Trial) -> None:
    recursion(trial)


@case
def exits_with_an_object(trial: Trial) -> None:
    sys.exit(Celsius(3))  # type: ignore[arg-type]  # the case itself


@case
def writes_the_metric(trial: Trial) -> None:
    for step in range(1, 4):
        trial.writer.add_scalar(np.str_("score"), torch.tensor([3.0, 5.0, 4.0][step - 1]), np.int64(step))


@case
def writes_text(trial: Trial) -> None:
    trial.writer.add_scalar("score", "0.5", 1)


@case
def refused_then_right(trial: Trial) -> None:
    for wrong in ({"score": "1"}, {"score": None}, {"score": 1, "": 1}, 7):
        with contextlib.suppress(TypeError, ValueError):
            trial.report(1, wrong)  # type: ignore[arg-type]  # the case itself
    trial.report(1, {"score": 1})


@case
def from_a_thread(trial: Trial) -> None:
    for step in range(1, 51):
        thread = threading.Thread(target=trial.report, args=(step, {"score": step}))
        thread.start()
        thread.join()


@case
def from_many_threads(trial: Trial) -> None:
    lock = threading.Lock()
    steps = iter(range(1, 201))

    def work() -> None:
        for _ in range(25):
            with lock:
                step = next(steps)
                trial.report(step, {"score": step})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@case
def thread_that_outlives(trial: Trial) -> None:
    """A thread of this trial waits for its end, then reports and writes while later trials of the worker run."""

    def work() -> None:
        with contextlib.suppress(RuntimeError):
            while True:
                trial.steps(1)
        for step in range(11, 5000):
            with contextlib.suppress(RuntimeError):
                trial.writer.add_scalar("late", 1002.0, step)
            with contextlib.suppress(RuntimeError):
                trial.report(step, {"score": 1002.0}, {"late": step})

    trial.report(1, {"score": 1})
    threading.Thread(target=work, daemon=True).start()


KEPT: list[Trial] = []


@case
def keeps_its_handle(trial: Trial) -> None:
    KEPT.append(trial)
    trial.report(1, {"score": 1})


@case
def uses_an_old_handle(trial: Trial) -> None:
    KEPT[0].report(50, {"score": 1002.0})


@case
def forks_and_reports(trial: Trial) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trial.report(1, {"score": 1002.0})
        except RuntimeError:
            code = 17
        finally:
            os._exit(code)
    trial.report(1, {"score": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def train(trial: Trial) -> Any:
    """Run the case."""
    return CASES[str(trial.params["case"])](trial)
