"""Objectives that misbehave as only a GPU can, and some that say what they find; copied beside study files as `mine.py`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from sweep import Trial


def finds(trial: Trial) -> None:
    """Report what a worker is when its trial begins, before anything is computed."""
    opened = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            opened.append(str(link.readlink()))
        except OSError:  # the folder's own
            continue
    initialised = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    found = {
        "initialised": float(initialised),
        "device files": float(sum(name.startswith("/dev/nvidia") for name in opened)),
        "copied": float(parent == "sweep-template"),
        "deterministic": float(torch.backends.cudnn.deterministic),
        "score": 1.0,
    }
    trial.report(1, found)


def hurts(trial: Trial) -> None:
    """A device-side assert in the trial with x = 1: the process's context is gone for good."""
    table = torch.arange(8, device=trial.device, dtype=torch.float32)
    place = torch.tensor([1_000_000 if trial.params["x"] == 1 else 3], device=trial.device)
    trial.report(1, {"score": table[place].sum() + float(trial.params["x"])})


def hungry(trial: Trial) -> None:
    """More memory than any GPU has, where x = 1."""
    found = torch.empty((1 << 42) if trial.params["x"] == 1 else 1 << 20, dtype=torch.uint8, device=trial.device)
    trial.report(1, {"score": float(found.numel()) + float(trial.params["x"])})


def large(trial: Trial) -> None:
    """Take 60 % of the GPU's memory in a model's parameter and keep it for a while."""
    total = torch.cuda.get_device_properties(0).total_memory
    model = torch.nn.ParameterList([torch.nn.Parameter(torch.empty(int(0.6 * total) // 4, device=trial.device))])
    model.itself = model  # a cycle, which only the garbage collector frees
    trial.report(1, {"score": float(model[0].numel() > 0)})
    time.sleep(2)


def dropout(trial: Trial) -> None:
    """Read the state after the model is made and before anything is on the device, where its masks are drawn."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Dropout(0.5), torch.nn.Linear(64, 1))
    state = trial.state
    model.to(trial.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    first = 1
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"] + 1
    for step in range(first, 41):  # not `trial.steps`, which restores the generators once more
        x = torch.randn(32, 64, device=trial.device)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trial.report(step, {"score": loss}, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step})
        time.sleep(0.1)
