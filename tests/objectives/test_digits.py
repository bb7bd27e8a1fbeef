"""What decides the last digits of the built-in objective: how bytes become numbers, and the switches of the precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import ToTensor

from sweep.objectives import networks
from sweep.objectives.images import to_float
from sweep.worker.module_state import Modules
from sweep.worker.process_state import ProcessState


class Divisions(TorchDispatchMode):
    """Keep what tensors are divided or multiplied by: a number, or a tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        self.by: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Keep the second argument."""
        if func.overloadpacket in (torch.ops.aten.div, torch.ops.aten.div_, torch.ops.aten.mul, torch.ops.aten.mul_):
            self.by.append(args[1])
        return func(*args, **(kwargs or {}))


def test_every_byte_becomes_what_totensor_makes_of_it() -> None:
    """To the bit; divided by a tensor on the images' device, since CUDA multiplies by the reciprocal of a number instead."""
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    expected = ToTensor()(images[0].numpy()[:, :, None])
    with Divisions() as divisions:
        ours = to_float(images)
    assert torch.equal(ours.view(torch.int32), expected.unsqueeze(0).view(torch.int32))
    assert [type(divisor) for divisor in divisions.by] == [torch.Tensor]
    assert divisions.by[0].device == images.device


@pytest.fixture
def before(tmp_path: Path) -> Iterator[ProcessState]:
    """Remember this process as it is, and put it back."""
    state = ProcessState(Modules(str(tmp_path)))
    state.add_torch()
    yield state
    assert state.put_back() == []
    state.close()


@pytest.mark.parametrize("name", ["float32", "tf32", "bfloat16"])
def test_a_precision_leaves_torchs_switches_usable(before: ProcessState, name: str) -> None:
    """There are two sets; where both were used, `torch.backends.cudnn.flags` raised. The next trial has them unchanged."""
    at_first = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    networks.set_precision(name, "cpu" if name == "bfloat16" else "cuda")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (name == "tf32",) * 2
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 is (name == "tf32")
    assert before.put_back() == []
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == at_first
    with torch.backends.cudnn.flags(enabled=True):
        pass
