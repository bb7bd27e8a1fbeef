"""Objectives for tests, which fail on request. Tests copy this file beside a study file, as the module `mine`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

from sweep import Trial


def train(trial: Trial) -> Any:
    """Report `score` = x / step for `steps` steps; `how` says what happens at step 2."""
    p = trial.params
    print("hello from trial", trial.number, flush=True)
    for step in trial.steps(p.get("steps", 3)):
        time.sleep(p.get("sleep", 0.0))
        if step == 2:
            _go_wrong(trial, str(p.get("how", "ok")))
        score = float("nan") if p.get("how") == "nan" and step == 2 else p.get("x", 1) / step
        trial.report(step, {"score": score, "loss": 1 / step})


def _die_once(trial: Trial, mark: str = "killed") -> None:
    if not (trial.dir / mark).exists():
        (trial.dir / mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _go_wrong(trial: Trial, how: str) -> None:
    if how == "raise":
        raise RuntimeError("boom")
    if how == "exit":
        sys.exit(3)
    if how == "leave":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "kill once":
        _die_once(trial, "once")
    if how in ("children", "hang with a child"):
        child = subprocess.Popen(["sleep", "1000"])
        (trial.dir / "child").write_text(str(child.pid))
    if how == "fork and die":
        if os.fork() == 0:
            time.sleep(1000)
        os.kill(os.getpid(), signal.SIGKILL)
    how = how.removesuffix(" with a child")
    if how == "hang":
        while True:
            time.sleep(0.01)


def closes(trial: Trial) -> dict[str, float]:
    """Close the writer as tutorials do, and return the metrics at the end."""
    trial.writer.add_scalar("extra", 1.0, 1)
    trial.writer.close()
    return {"score": 0.5, "other": 2}


def returns(trial: Trial) -> Any:
    """Return what the parameter `what` says instead of reporting."""
    return {"float": 0.5, "dict": {"score": 0.25, "other": 3}, "nothing": None}[trial.params["what"]]


def environment(trial: Trial) -> None:
    """Write a file with the GPUs, threads and number of the worker's process."""
    import torch

    visible, threads = (os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"))
    (trial.dir / "environment").write_text(f"{visible} {threads} {torch.get_num_threads()} {os.getpid()}")
    trial.report(1, {"score": torch.rand(())})


def learn(trial: Trial) -> dict[str, Any]:
    """Train a small model: weights, random numbers of every kind, a checkpoint each step; `kill` names the effect to die after.

    `sleep` is for each step; `hang_at` is a step that never ends, the first time; `recent` reports stay in a checkpoint.
    """
    import random

    import numpy
    import torch

    from sweep.worker import checkpoint, history

    p = trial.params
    history._RECENT = p.get("recent", history._RECENT)
    mark = trial.dir / "killed"

    def passed(_effect: str) -> None:
        if _effect == p.get("kill"):
            _die_once(trial)

    weights, inside = torch.rand(4), None
    if trial.state is not None:
        weights, inside = trial.state["weights"], trial.state["inside"]
    for step in trial.steps(p.get("steps", 4)):
        time.sleep(p.get("sleep", 0.0))
        if step == p.get("hang_at") and not mark.exists():
            mark.touch()
            _go_wrong(trial, "hang")
        checkpoint.passed = passed if step == p.get("kill_at", 2) else lambda _effect: None
        if inside != step:
            weights = weights + p["x"] * torch.rand(4) + random.random() + numpy.random.random()  # no secrets
            trial.writer.add_scalar("extra/first", weights[0], step)
            if p.get("between"):
                trial.save({"weights": weights, "inside": step})
        if p.get("text_kb"):
            trial.writer.add_text("text", "x" * 1000 * p["text_kb"], step)
        ballast = torch.zeros(250 * p.get("state_kb", 0))
        noise = torch.rand(()) / 100
        trial.report(
            step * p.get("scale", 1),
            {"score": weights.sum() + noise, "loss": 1 / step},
            {"weights": weights, "inside": None, "ballast": ballast},
        )
    return {"last": weights.mean()}


def out_of_memory(trial: Trial) -> None:
    """Run out of the GPU's memory as torch does, where `x` is 2."""
    import torch

    (trial.dir / "pid").write_text(str(os.getpid()))
    if trial.params["x"] == 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    trial.report(1, {"score": 1})


def asks(trial: Any) -> float:
    """Ask for a parameter, as objectives for Optuna do."""
    return float(trial.suggest_int("x", 1, 9))


def endless(trial: Trial) -> None:
    """Compute without a report until a stop is requested."""
    (trial.dir / "begun").touch()
    print("begun", flush=True)
    while not trial.stop_requested:
        time.sleep(0.01)
    trial.save({"place": 1})


def forgetful(trial: Trial) -> None:
    """Report states and never read one; with `own` it counts its steps itself."""
    import torch

    total = 0.0
    for step in range(1, 6) if trial.params.get("own") else trial.steps(5):
        total += torch.rand(()).item()
        trial.writer.add_scalar("extra", total, step)
        trial.report(step, {"score": total}, {"total": total})
        if step == 3 and trial.params["x"] == 2:
            _die_once(trial)


def with_loader(trial: Trial) -> None:
    """Train from a DataLoader with workers of its own, a scheduler and dropout; die at the step that `kill_at` says, once."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    data = TensorDataset(torch.arange(32.0).reshape(8, 4) / 32, torch.ones(8, 1))
    if trial.state is not None:
        for name, part in parts.items():
            part.load_state_dict(trial.state[name])
    for step in trial.steps(4):
        if step == trial.params.get("kill_at"):
            _die_once(trial)
        for x, y in DataLoader(data, batch_size=4, shuffle=True, num_workers=2):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
        scheduler.step()
        trial.report(step, {"score": loss}, {name: part.state_dict() for name, part in parts.items()})


def saves_when_asked(trial: Trial) -> None:
    """Report without a state, and save only when the sweep is being stopped."""
    begun = trial.state["place"] if trial.state else 0
    for place in range(begun + 1, 1000):
        time.sleep(0.02)
        if place % 10 == 0 and place > (trial.state or {}).get("reported", 0):
            trial.report(place, {"score": place})
        if trial.stop_requested:
            trial.save({"place": place, "reported": place - place % 10})
        if trial.state and place > begun + 20:
            return


def own_file_error(trial: Trial) -> None:
    """Fail with an error of the user's own files where `x` is 2."""
    import errno

    if trial.params["x"] == 2:
        raise OSError(errno.EROFS, "Read-only file system", "/mnt/cache/words.txt")
    trial.report(1, {"score": 1})


def twice(trial: Trial) -> None:
    """Report twice with a state in one step."""
    for step in trial.steps(2):
        trial.report(2 * step, {"score": 1}, {"a": 1})
        trial.report(2 * step + 1, {"score": 2}, {"a": 2})


def prepare_and_die(params: dict[str, Any]) -> None:
    """End the process that prepares."""
    os.kill(os.getpid(), signal.SIGKILL)


def never_prepared(trial: Trial) -> None:
    """Never run: its preparation dies each time."""


never_prepared.prepare = prepare_and_die  # type: ignore[attr-defined]  # a function has no declared attributes


def by_batches(trial: Trial) -> None:
    """Report each batch by its own number, and save in the middle of a step; die once, after the save at batch `kill_at`."""
    total, batch = 0, 0
    if trial.state is not None:
        total, batch = trial.state["total"], trial.state["batch"]
    for epoch in trial.steps(3):
        while batch < 4 * epoch:
            batch += 1
            total += batch * epoch * trial.params["x"]
            trial.report(batch, {"score": total})
            if batch % 4 == 2:
                trial.save({"total": total, "batch": batch})
                if batch == trial.params["kill_at"]:
                    _die_once(trial)


def shows(trial: Trial) -> dict[str, float]:
    """Give everything to the panels; die once, after the report of step `kill_at`."""
    import torch

    images, labels = torch.rand(40, 8, 8), torch.arange(40) % 3
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Dropout(0.2), torch.nn.Linear(64, 3))
    if trial.state is not None:
        model.load_state_dict(trial.state)
    classes = ("a", "b", "c")
    trial.panels.samples(images, labels, classes)
    trial.panels.watch(model, images)
    trial.panels.embedding("pixels", images.flatten(1), labels, images, classes, of_model=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * trial.params["x"])
    for step in trial.steps(3):
        for batch in range(4):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
            trial.panels.batch(4 * (step - 1) + batch + 1, {"batch/loss": loss})
        trial.writer.add_scalars("pair", {"one": step, "two": 2 * step}, step)
        trial.report(step, {"score": -loss, "train/loss": loss, "validation/loss": 2 * loss}, model.state_dict())
        if step == trial.params.get("kill_at"):
            _die_once(trial)
    logits = model.eval()(images)
    trial.panels.predictions(images, labels, logits, classes, step=3)
    trial.panels.embedding("hidden", logits, labels, images, classes)
    return {"last": 1.0}


def zigzag(trial: Trial) -> None:
    """Go up and down; die once after step `kill_at`."""
    for step in trial.steps(4):
        trial.report(step, {"score": [1, 3, 0, 2][step - 1]}, {"x": trial.state and 1})
        if step == trial.params["kill_at"]:
            _die_once(trial)


def accurate(trial: Trial) -> dict[str, float]:
    """Report shares of a number of samples."""
    trial.report(1, {"score": 1.0})
    return {"test/accuracy": 0.5, "test/samples": 100}


def says(trial: Trial) -> None:
    """Raise an error with the text of `x`."""
    raise RuntimeError(trial.params["x"])


def drawn(trial: Trial) -> None:
    """Fall towards a loss that its parameters decide; some fail."""
    p = trial.params
    if trial.number % 11 == 10:
        raise ValueError(f"no luck with width {p['width']}")
    for step in trial.steps(p["steps"]):
        trial.report(step, {"loss": (abs(p["lr"] - 0.01) + p["width"] / 640 + (p["kind"] == "plain") * 0.02) * (1 + 1 / step)})


def huge(trial: Trial) -> None:
    """Report values whose differences are not finite."""
    trial.report(1, {"score": [1e308, -1e308, 3.0][trial.params["x"] - 1]})
    trial.report(2, {"score": [1e308, -1e308, 3.0][trial.params["x"] - 1] * 0.9})


def by_kind(trial: Trial) -> float:
    """Score by the type of a parameter's value."""
    return float(len(repr(trial.params["x"])))
