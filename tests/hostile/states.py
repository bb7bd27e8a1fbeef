"""The states of `test_states`, one function for each; the tests copy this file beside a study file."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import os
import pathlib
import random
import signal
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy
import torch
from torch import nn

from sweep import Trial

warnings.simplefilter("ignore")
MADE: dict[str, Callable[[], Any]] = {}


def case(make: Callable[[], Any]) -> Callable[[], Any]:
    """Add a case: a function that makes the same state each time."""
    MADE[make.__name__] = make
    return make


def add(**cases: Callable[[], Any]) -> None:
    """Add short cases."""
    MADE.update(cases)


# ---------------------------------------------------------------- what comes back

add(
    none=lambda: {"v": None},
    bools=lambda: {"v": [True, False]},
    ints=lambda: {"v": [0, -1, 255, 256, 65536, 2**31, -(2**31), 2**63, -(2**63) - 1, 2**64]},
    int_of_600_digits=lambda: {"v": [10**600, -(10**600)]},
    floats=lambda: {"v": [0.1, 1e-320, 1.7e308, -1.5]},
    nan=lambda: {"v": float("nan")},
    infinities=lambda: {"v": [float("inf"), float("-inf")]},
    minus_zero=lambda: {"v": -0.0},
    complex=lambda: {"v": 1 - 2j},
    text=lambda: {"v": "ä 損失 \0 \n \x1b[31m 🙂"},
    surrogates=lambda: {"v": "caf\udce9.csv"},
    long_text=lambda: {"v": "x" * 5_000_000},
    bytes=lambda: {"v": bytes(range(256))},
    bytearray=lambda: {"v": bytearray(range(256))},
    empty=lambda: {},
    tuples=lambda: {"v": (1, (2,), (), (3, 4, 5, 6))},
    sets=lambda: {"v": {1, "a", (2, 3), None}},
    ordered_dict=lambda: {"v": collections.OrderedDict(b=1, a=2)},
    counter=lambda: {"v": collections.Counter("hello")},
    odd_keys=lambda: {"v": {1: 1, None: 2, False: 3, 2.5: 4, 1j: 5, b"k": 6, torch.float32: 7}},
    nan_key=lambda: {"v": {float("nan"): 1}},
    tuple_key=lambda: {"v": {(1, ("a", None)): 1}},
    size=lambda: {"v": torch.Size([2, 3])},
    dtype=lambda: {"v": [torch.float32, torch.bfloat16, torch.bool]},
    device=lambda: {"v": [torch.device("cpu"), torch.device("cuda:3")]},
    parameter=lambda: {"v": nn.Parameter(torch.arange(3.0))},
    requires_grad=lambda: {"v": torch.arange(3.0).requires_grad_()},
    non_leaf=lambda: {"v": torch.arange(3.0).requires_grad_() * 2},
    buffer=lambda: {"v": nn.Buffer(torch.arange(3.0))},
    zero_size=lambda: {"v": torch.zeros(0, 3)},
    zero_dim=lambda: {"v": torch.tensor(3.5)},
    not_contiguous=lambda: {"v": torch.arange(12.0).reshape(3, 4).t()[1:]},
    storage_of_the_right_size=lambda: {"v": resized(torch.ones(4, 4).t()[:, :2], 32)},
    expanded=lambda: {"v": torch.ones(1).expand(10**12)},
    view_of_a_large_one=lambda: {"v": torch.arange(100_000.0)[50:60]},
    channels_last=lambda: {"v": torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)},
    conj=lambda: {"v": torch.tensor([1 + 2j]).conj()},
    neg=lambda: {"v": torch.tensor([1 + 2j]).conj().imag},
    complex_tensor=lambda: {"v": torch.tensor([1 + 2j, 3j])},
    bfloat16=lambda: {"v": torch.tensor([1.5, float("nan"), float("inf")], dtype=torch.bfloat16)},
    float8=lambda: {"v": torch.tensor([1.5, 2.0]).to(torch.float8_e4m3fn)},
    sparse_coo=lambda: {"v": torch.eye(3).to_sparse()},
    sparse_csr=lambda: {"v": torch.eye(3).to_sparse_csr()},
    quantized=lambda: {"v": torch.quantize_per_tensor(torch.arange(3.0), 0.1, 2, torch.quint8)},
    quantized_per_channel=lambda: {
        "v": torch.quantize_per_channel(torch.ones(2, 2), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8)
    },
    nested_tensor=lambda: {"v": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])},
    batch_norm=lambda: {"v": trained().state_dict()},
    whole_state_dict=lambda: trained().state_dict(),
    large=lambda: {"v": torch.arange(5_000_000)},
    many_small=lambda: {"v": {f"layer.{number}": torch.full((2,), float(number)) for number in range(3000)}},
    a_million_numbers=lambda: {"v": list(range(300_000))},
)


@case
def nested_100() -> Any:
    value: Any = 1
    for _ in range(97):
        value = [value]
    return {"v": value}


@case
def shared_list() -> Any:
    one = [1, 2]
    return {"v": [one, one, {"again": one}]}


@case
def wide_dag() -> Any:
    value: Any = [1]
    for _ in range(20):
        value = [value, value]
    return {"v": value}


@case
def every_dtype() -> Any:
    kinds: tuple[torch.dtype, ...] = (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.complex64,
        torch.complex128,
        torch.bool,
    )
    kinds += (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64)
    return {"v": [torch.tensor([0, 1]).to(kind) for kind in kinds]}


@case
def shared_storage() -> Any:
    one = torch.arange(6.0)
    return {"v": [one, one[2:], one.reshape(2, 3)]}


@case
def views_of_one_another() -> Any:
    model = trained()
    return {"flat": nn.utils.parameters_to_vector(model.parameters()).detach(), "parts": [p.detach() for p in model.parameters()]}


def trained() -> nn.Module:
    """Return a small model after some steps, the same each time."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    for _ in range(3):
        model(torch.rand(5, 3)).sum().backward()
    return model


def optimizer_of(kind: Any, **options: Any) -> Any:
    """Return an optimizer after some steps, the same each time."""
    model = trained()
    optimizer = kind(model.parameters(), **options)
    for _ in range(3):

        def closure() -> Any:
            loss: Any = sum(p.square().sum() for p in model.parameters())
            loss.backward()
            return loss

        optimizer.step(closure)
    return optimizer


def scheduled(kind: Any, *args: Any, **options: Any) -> Any:
    """Return the states of an optimizer and its scheduler."""
    optimizer = optimizer_of(torch.optim.SGD, lr=0.1, momentum=0.9)
    scheduler = kind(optimizer, *args, **options)
    scheduler.step(*([0.5] if kind is torch.optim.lr_scheduler.ReduceLROnPlateau else []))
    return {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


add(
    adam=lambda: {"v": optimizer_of(torch.optim.AdamW, lr=0.01, amsgrad=True).state_dict()},
    sgd=lambda: {"v": optimizer_of(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True).state_dict()},
    lbfgs=lambda: {"v": optimizer_of(torch.optim.LBFGS, max_iter=2).state_dict()},
    scheduler=lambda: scheduled(torch.optim.lr_scheduler.MultiStepLR, [2, 4, 4]),
    one_cycle=lambda: scheduled(torch.optim.lr_scheduler.OneCycleLR, 0.5, total_steps=10),
    plateau=lambda: scheduled(torch.optim.lr_scheduler.ReduceLROnPlateau),
    scaler=lambda: {"v": torch.amp.GradScaler("cpu").state_dict()},
)


@case
def random_states() -> Any:
    generator = torch.Generator().manual_seed(3)
    return {"python": random.Random(3).getstate(), "torch": generator.get_state()}


@case
def hooked() -> Any:
    weights = torch.ones(3, requires_grad=True)
    weights.register_hook(lambda gradient: gradient * 2)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    return {"v": weights.detach()}


# ---------------------------------------------------------------- what is refused


class Level(enum.Enum):
    """An enum."""

    LOW = 1


class IntLevel(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1


class Named(NamedTuple):
    """A named tuple."""

    a: int


@dataclasses.dataclass
class Data:
    """A dataclass."""

    a: int = 1


class Mine(torch.Tensor):
    """A subclass of a tensor."""


class Text(str):
    """A subclass."""

    __slots__ = ()


class Real(float):
    """A subclass."""


class Whole(int):
    """A subclass."""


class Names(dict[str, int]):
    """A subclass."""


class Items(list[int]):
    """A subclass."""


class Raises(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("boom")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def with_attribute(value: Any, attribute: Any) -> Any:
    """Return a value with an attribute of its own."""
    value.extra = attribute
    return value


def resized(tensor: torch.Tensor, size: int) -> torch.Tensor:
    """Return a tensor whose memory has another size, as FSDP makes them."""
    tensor.untyped_storage().resize_(size)
    return tensor


add(
    numpy_scalar=lambda: {"lr": numpy.float64(0.1)},
    numpy_array=lambda: {"v": numpy.arange(3)},
    numpy_objects=lambda: {"v": numpy.array([object(), 1], dtype=object)},
    numpy_state=lambda: {"v": {**numpy.random.MT19937(1).state}},
    np_str=lambda: {"v": numpy.str_("a")},
    int_of_700_digits=lambda: {"v": 10**700},
    tensor_subclass=lambda: {"v": torch.ones(2).as_subclass(Mine)},
    jagged=lambda: {"v": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)},
    uninitialized=lambda: {"v": nn.parameter.UninitializedParameter()},
    lazy_module=lambda: {"v": nn.LazyLinear(3).state_dict()},
    meta=lambda: {"v": torch.empty(3, device="meta")},
    mkldnn=lambda: {"v": torch.ones(3, 3).to_mkldnn()},
    zero_tensor=lambda: {"v": torch._efficientzerotensor((3,))},
    tensor_with_a_class=lambda: {"v": with_attribute(torch.ones(2), Data())},
    module=lambda: {"v": nn.Linear(1, 1)},
    optimizer=lambda: {"v": torch.optim.SGD(nn.Linear(1, 1).parameters())},
    function=lambda: {"v": trained},
    lambda_=lambda: {"v": lambda: 1},
    generator=lambda: {"v": (number for number in range(3))},
    iterator=lambda: {"v": iter([1])},
    open_file=lambda: {"v": open(os.devnull)},  # noqa: PTH123, SIM115  # the case itself
    lock=lambda: {"v": threading.Lock()},
    enum_member=lambda: {"v": Level.LOW},
    int_enum=lambda: {"v": IntLevel.LOW},
    named_tuple=lambda: {"v": Named(1)},
    dataclass=lambda: {"v": Data()},
    str_subclass=lambda: {"v": Text("a")},
    float_subclass=lambda: {"v": [1.0, Real(1)]},
    int_subclass=lambda: {"v": {"a": Whole(1)}},
    dict_subclass=lambda: {"v": Names(a=1)},
    list_subclass=lambda: {"v": Items([1])},
    default_dict=lambda: {"v": collections.defaultdict(list)},
    frozen_set=lambda: {"v": frozenset([1])},
    deque=lambda: {"v": collections.deque([1])},
    range_=lambda: {"v": range(3)},
    slice_=lambda: {"v": slice(3)},
    path=lambda: {"v": pathlib.Path("a")},
    date=lambda: {"v": datetime.datetime(2020, 1, 1)},  # any date
    decimal_=lambda: {"v": decimal.Decimal("0.1")},
    fraction=lambda: {"v": fractions.Fraction(1, 3)},
    type_=lambda: {"v": int},
    module_object=lambda: {"v": json},
    exception=lambda: {"v": ValueError("x")},
    weak_reference=lambda: {"v": weakref.ref(Data)},
    tensor_key=lambda: {"v": {torch.ones(1): 1}},
    frozen_key=lambda: {"v": {frozenset([1]): 1}},
    object_key=lambda: {"v": {Level.LOW: 1}},
    counter_with_attributes=lambda: {"v": with_attribute(collections.Counter("a"), 1)},
    metadata_with_a_class=lambda: {"v": with_attribute(collections.OrderedDict(a=1), Data())},
    storage=lambda: {"v": torch.ones(2).untyped_storage()},
    torch_generator=lambda: {"v": torch.Generator()},
    whole_list=lambda: [1, 2],
    whole_tensor=lambda: torch.ones(2),
    whole_text=lambda: "state",
    mapping_that_raises=Raises,
    freed_storage=lambda: {"v": resized(torch.ones(10), 0)},
    storage_too_small=lambda: {"v": resized(torch.ones(10), 36)},
    storage_too_small_for_a_view=lambda: {"v": resized(torch.ones(4, 4).t()[1:], 48)},
    proxy_of_a_class=lambda: types.MappingProxyType({"v": Data()}),
    memory=lambda: {"v": memoryview(b"abc")},
)


@case
def itself() -> Any:
    state: dict[str, Any] = {}
    state["v"] = state
    return {"v": state}


@case
def itself_by_a_list() -> Any:
    inner: list[Any] = [1]
    inner.append((inner,))
    return {"v": inner}


@case
def nested_5000() -> Any:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    return {"v": value}


# ---------------------------------------------------------------- the trial


def difference(one: Any, other: Any, where: str = "state") -> str | None:
    """Return the first place where two states differ, None if they are the same bit for bit."""
    if type(one) is not type(other):
        return f"{where}: {type(one)} is not {type(other)}"
    if isinstance(one, torch.Tensor):
        facts = [
            (t.dtype, t.layout, t.requires_grad, t.is_conj(), t.is_neg(), t.is_nested, None if t.is_nested else t.shape)
            for t in (one, other)
        ]
        if facts[0] != facts[1]:
            return f"{where}: {facts}"
        if one.layout is torch.strided and not one.is_nested and one.stride() != other.stride():
            return f"{where}: strides"
        if one.is_nested:
            return difference(list(one.unbind()), list(other.unbind()), where)
        if one.numel() > 10**9:  # expanded
            one, other = one[:5], other[:5]
        if one.is_quantized:
            one, other = one.dequantize(), other.dequantize()
        parts = [
            t.detach().to_dense().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format) for t in (one, other)
        ]
        bits = [t.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8) for t in parts]
        return None if torch.equal(*bits) else f"{where}: values"
    if isinstance(one, dict):
        if [repr(key) for key in one] != [repr(key) for key in other]:
            return f"{where}: keys"
        found = [difference(a, b, f"{where}[{k!r}]") for (k, a), b in zip(one.items(), other.values(), strict=True)]
        found += [difference(vars(one), vars(other), f"{where}.__dict__")] if hasattr(one, "__dict__") else []
        return next((text for text in found if text), None)
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return f"{where}: length"
        if len(one) == 2 and one[0] is one[1]:
            return None if other[0] is other[1] and not difference(one[0], other[0]) else f"{where}: not shared"
        return next((text for a, b in zip(one, other, strict=True) if (text := difference(a, b, where))), None)
    return None if _text(one) == _text(other) else f"{where}: {one!r:.80} is not {other!r:.80}"


def _text(value: Any) -> str:
    # Equal sets may have another order in another process.
    return str(sorted(map(repr, value))) if isinstance(value, set) else repr(value)


def contents(trial: Trial) -> dict[str, bytes]:
    """Return the files of the run folder that a report or a checkpoint changes."""
    trial.writer.flush()
    return {path.name: path.read_bytes() for path in trial.dir.iterdir() if path.name != "log.txt" and path.suffix != ".found"}


def train(trial: Trial) -> None:
    """Report with the state, be killed, and compare."""
    kind = trial.params["kind"]
    sound = {"kind": kind, "weights": torch.arange(4.0)}
    found = trial.state
    if found is not None:
        reported = 1 if (trial.dir / "refused.found").exists() else 2
        expected = sound if reported == 1 else dict(MADE[kind]())
        (trial.dir / "resumed.found").write_text(json.dumps({"step": reported, "difference": difference(found, expected)}))
        trial.report(3, {"score": 3})
        return
    trial.report(1, {"score": 1}, sound)
    state, before = MADE[kind](), contents(trial)
    try:
        trial.report(2, {"score": 2}, state)
    except BaseException as error:
        after = contents(trial)
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        result = {"error": type(error).__name__, "message": str(error), "changed": changed}
        (trial.dir / "refused.found").write_text(json.dumps(result))
        with contextlib.suppress(TypeError):
            trial.save(state)
            (trial.dir / "saved.found").write_text("1")
    os.kill(os.getpid(), signal.SIGKILL)
