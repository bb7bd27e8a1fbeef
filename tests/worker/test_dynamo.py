"""torch's compiler in a worker: imported when something is compiled, and as torch itself does where torch looks different."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sweep.worker.executors import dynamo

COMPILING = """
import sys
from sweep.worker.executors import dynamo
dynamo.defer()
import torch
torch.manual_seed(0)
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print(hasattr(sys.modules["torch._dynamo"], "__file__"), *(p.sum().item() for p in model.parameters()))
if sys.argv[1] == "submodule":
    import torch._dynamo.config
double = torch.compile(lambda x: 2 * x, backend="eager")
print(double(torch.ones(1)).item(), torch._dynamo.__file__ == sys.modules["torch._dynamo"].__file__)
optimizer.zero_grad()
torch.compile(optimizer.step, backend="eager")()
print(torch.compiler.disable(double)(torch.ones(1)).item())
"""


@pytest.mark.parametrize(
    "how", [pytest.param("compile", marks=pytest.mark.slow), pytest.param("submodule", marks=pytest.mark.slow)]
)
def test_optimizers_do_without_the_compiler_until_something_is_compiled(how: str) -> None:
    """They give the same numbers as with the real module, which is there once it is needed, and then compiles them too."""
    with_it = COMPILING.replace("dynamo.defer()", "import torch._dynamo")
    lazily, eagerly = (
        subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, timeout=120, check=True).stdout.split()
        for code in (COMPILING, with_it)
    )
    assert (lazily[0], eagerly[0]) == ("False", "True")
    assert lazily[1:] == eagerly[1:]
    assert lazily[3:] == ["2.0", "True", "2.0"]


@pytest.mark.parametrize("file", ["_compile.py", "no_such_file.py"])
def test_nothing_is_done_where_torch_looks_different(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """A later version of torch may have changed what the stand-in takes the place of."""
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    monkeypatch.setattr(dynamo, "_RELIES_ON", {file: ("another_call()",)})
    dynamo.defer()
    assert "torch._dynamo" not in sys.modules


def test_the_installed_torch_has_what_the_stand_in_relies_on() -> None:
    """If this fails, workers still work, but each imports the compiler: see whether the stand-in can be adapted."""
    code = (
        "import sys; from sweep.worker.executors import dynamo; dynamo.defer(); print(sys.modules.get('torch._dynamo').__class__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "_StandIn" in found.stdout
