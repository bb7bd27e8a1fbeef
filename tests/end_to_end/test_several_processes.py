"""Trials of several processes, as on several GPUs: the documentation's two examples, on CPUs with gloo."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing import event_accumulator

from tests.conftest import REPOSITORY, Cli

PAGE = REPOSITORY / "sweep" / "docs" / "own-code.md"
AT_ONCE = ("workers.devices=cpu", "workers.per_device=2")


@pytest.fixture
def examples(here: Path) -> Path:
    """A folder with the files of the page's section."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Several GPUs\n")[2].partition("\n## ")[0]
    for block in re.findall(r"^```\w+\n(# \S+\.(?:py|yaml)\n.*?)^```$", section, flags=re.DOTALL | re.MULTILINE):
        name = block.split()[1]
        (here / name).write_text(block)
    return here


def last_loss(seed: int, lr: float, *, after: bool) -> float:
    """Return what one process comes to with all of the data: its loss before or `after` the last step."""
    torch.manual_seed(seed)
    model, x = torch.nn.Linear(1, 1), torch.linspace(-1, 1, 64).unsqueeze(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(3):
        loss = torch.nn.functional.mse_loss(model(x), 2 * x)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return (torch.nn.functional.mse_loss(model(x), 2 * x) if after else loss).item()


def check(cli: Cli, study: str, *, after: bool = False) -> None:
    """Both trials ran at the same time, reported each step once, and came to the right numbers."""
    trials = cli("trials", study, "--format", "json").json
    for trial in trials:
        assert (trial["state"], trial["step"]) == ("complete", 3)
        assert trial["value"] == pytest.approx(last_loss(trial["seed"], trial["params"]["lr"], after=after), rel=1e-4)
        scalars = event_accumulator.EventAccumulator(trial["dir"]).Reload().Scalars("loss")
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
    first, second = (trial["spans"][0] for trial in trials)
    assert first["started"] < second["ended"]
    assert second["started"] < first["ended"]


@pytest.mark.slow
def test_a_function_starts_processes_of_its_own(examples: Path, cli: Cli) -> None:
    """Two trials at once do not meet, and each comes to what one process comes to with all of the data."""
    done = cli("run", "pair.yaml", *AT_ONCE)
    assert done.code == 0, done.out + done.err
    check(cli, "pair.yaml")


@pytest.mark.slow
def test_a_script_is_started_by_torchrun(examples: Path, cli: Cli) -> None:
    """The same, with ports that do not collide, although rank 1 is another process of the script."""
    done = cli("run", "two.yaml", *AT_ONCE)
    assert done.code == 0, done.out + done.err
    check(cli, "two.yaml", after=True)


@pytest.mark.slow
def test_a_trial_of_several_processes_resumes(examples: Path, cli: Cli) -> None:
    """Its worker dies after the second step: its other process ends with it, and the numbers are those of one attempt."""
    program, reported = (examples / "pair.py").read_text(), '                trial.report(epoch, {"loss": mean}, saved)\n'
    dies = "                if epoch == trial.attempt + 1 == 2:\n                    __import__('os').abort()\n"
    assert reported in program
    (examples / "pair.py").write_text(program.replace(reported, reported + dies))
    done = cli("run", "pair.yaml", *AT_ONCE)
    assert done.code == 0, done.out + done.err
    assert [trial["attempts"] for trial in cli("trials", "pair.yaml", "--format", "json").json] == [2, 2]
    check(cli, "pair.yaml")


@pytest.mark.slow
def test_a_rank_that_fails_fails_its_trial(examples: Path, cli: Cli) -> None:
    """At once, with what it printed in the log; a trial that is pruned leaves no process either."""
    program, begun = (examples / "pair.py").read_text(), "        torch.manual_seed(seed)\n"
    assert begun in program
    fails = '        if rank == 1 and params["lr"] == 0.2:\n            raise ValueError("rank 1 is broken")\n'
    (examples / "pair.py").write_text(program.replace(begun, begun + fails))
    done = cli("run", "pair.yaml", *AT_ONCE, "pruner={type: threshold, upper: 0.01}")
    assert done.code == 1, done.out + done.err
    pruned, failed = cli("trials", "pair.yaml", "--format", "json").json
    assert (pruned["state"], pruned["step"]) == ("pruned", 1)
    assert failed["state"] == "failed"
    assert "ValueError: rank 1 is broken" in (Path(failed["dir"]) / "log.txt").read_text()
