"""A torch that is imported late is what it would be if it had been there from the start. Each test is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FINDS = "import sys\nfrom sweep.worker import torch_use\nfrom sweep.worker.torch_use import WhenImported\n"


def run(folder: Path, program: str) -> str:
    """Run a program in a process without torch; return what it printed."""
    done = subprocess.run([sys.executable, "-c", FINDS + program], check=True, cwd=folder, capture_output=True, text=True)
    return done.stdout


def test_functions_are_called_once_at_the_end_of_the_import(tmp_path: Path) -> None:
    """In their order; later ones at once. Torch does not count as loaded while it is imported, and keeps its own loader."""
    program = """
calls = []
when = WhenImported()
when.call(lambda: calls.append(sys.modules["torch"].nn.Linear(1, 1) is not None))
when.call(lambda: calls.append(torch_use.loaded() is sys.modules["torch"]))
class Half:  # imported in the middle of torch
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            calls.append((torch_use.loaded(), "torch" in sys.modules))
sys.meta_path.insert(0, Half())
assert torch_use.loaded() is None
import torch
assert calls == [(None, True), True, True], calls
when.call(lambda: calls.append("now"))
assert calls.pop() == "now"
assert type(torch.__loader__).__name__ == type(torch.__spec__.loader).__name__ == "SourceFileLoader"
when.close()
assert when not in sys.meta_path
"""
    run(tmp_path, program)


def test_an_import_that_fails_leaves_everything_for_the_next(tmp_path: Path) -> None:
    """A torch that raises when it is imported, and then is repaired."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('broken')\n")
    program = """
import pathlib
calls = []
when = WhenImported()
when.call(lambda: calls.append(1))
try:
    import torch
except ImportError:
    assert not calls and torch_use.loaded() is None
pathlib.Path("torch/__init__.py").write_text("whole = True\\n")
import torch
assert torch.whole and calls == [1]
"""
    run(tmp_path, program)


@pytest.mark.parametrize("late", [False, True])
def test_random_numbers_do_not_depend_on_when_torch_came(tmp_path: Path, late: bool) -> None:
    """Neither torch's nor those of Python and NumPy, also after a checkpoint from before the import was restored."""
    program = f"""
import random, numpy
from sweep.worker.randomness import random_states, restore_random_states, seed_all, seed_torch
when = WhenImported()
when.call(seed_torch)
if not {late}:
    import torch
seed_all(7, "cpu")
states = random_states()
import torch
drawn = [random.random(), numpy.random.random(), torch.rand(()).item()]
restore_random_states(states)
assert drawn == [random.random(), numpy.random.random(), torch.rand(()).item()]
print(drawn)
"""
    import random

    import numpy as np
    import torch

    random.seed(7)
    np.random.seed(7)
    torch.manual_seed(7)
    assert run(tmp_path, program) == f"{[random.random(), np.random.random(), torch.rand(()).item()]}\n"
