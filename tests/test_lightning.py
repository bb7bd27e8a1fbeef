"""Lightning trainings as trials: killed, stopped, pruned and ended early, with the same numbers as without interruption."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.reading import outcome, records
from tests.support.studies import write_study

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="lightning is not installed: pip install -e '.[test]'"
)
OBJECTIVE = '''
import os
import signal
import time
import warnings

import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset, random_split

from sweep.lightning import SweepCallback

warnings.filterwarnings("ignore")


class Data(lightning.LightningDataModule):
    """Split by chance when it is set up, shuffled in each epoch."""

    def setup(self, stage):
        x = torch.linspace(-2, 2, 80).reshape(20, 4)
        self.train, self.validation = random_split(TensorDataset(x, x.sin().sum(1, keepdim=True)), [15, 5])

    def train_dataloader(self):
        return DataLoader(self.train, 4, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.validation, 5)


class Net(lightning.LightningModule):
    def __init__(self, trial):
        super().__init__()
        self.trial, self.kill = trial, trial.params.get("kill", "no")
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))

    def training_step(self, batch, place):
        if self.kill == f"epoch {self.current_epoch} batch {place}" and self.trial.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.trial.params.get("pause", 0))
        loss = torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1])
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss

    def on_train_epoch_end(self):
        self.log("norm", sum(p.norm() for p in self.parameters()))

    def validation_step(self, batch, place):
        self.log("val_loss", torch.nn.functional.mse_loss(self.layers(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        if self.trial.params.get("plateau"):
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=9.0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)}


class Early(lightning.Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.should_stop or trainer.current_epoch == 3


def train(trial, forget=False, **options):
    callback = SweepCallback(trial)
    callbacks = [callback, *([Early()] if trial.params.get("early") else [])]
    trainer = lightning.Trainer(
        max_epochs=trial.params.get("epochs", 4), callbacks=callbacks, accelerator=trial.device, devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **options,
    )
    trainer.fit(Net(trial), Data(), ckpt_path=None if forget else callback.ckpt_path)
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    return {"lr": lr, "after": torch.rand(()).item()}


def forgetful(trial):
    return train(trial, forget=True)


def seldom(trial):
    return train(trial, check_val_every_n_epoch=2)
'''
STUDY = """
objective: mine:train
metric: {name: val_loss, goal: minimize}
method: grid
parameters:
  kill:    {values: ["no"]}
  plateau: {value: false}
retries: 1
checkpoints: {keep_best: 100}
"""


@pytest.fixture
def study(here: Path) -> Path:
    """A study of Lightning trainings."""
    (here / "mine.py").write_text(OBJECTIVE)
    return write_study(here, STUDY)


def numbers(folder: Path) -> list[dict[str, Any]]:
    """Return all that must be equal. Lightning's count of scheduler steps may differ; nothing uses it."""
    found = outcome(folder)
    for trial in found:
        trial["weights"]["lightning"].pop("loops")
    return [{key: trial[key] for key in ("state", "metrics", "points", "weights", "ends")} for trial in found]


@pytest.mark.slow
@pytest.mark.parametrize("plateau", ["true", "false"])
def test_a_lightning_training_that_was_killed_ends_with_the_same_numbers(cli: Cli, study: Path, here: Path, plateau: str) -> None:
    """Before and after its first checkpoint: data, dropout, schedulers, metrics, and later random numbers."""
    kills = ["no", "epoch 0 batch 2", "epoch 2 batch 1", "epoch 3 batch 3"]
    done = cli("run", str(study), f"kill.values={kills}", f"plateau.value={plateau}")
    assert done.code == 0, done.err
    undisturbed, *killed = numbers(here / "runs" / "study")
    steps = {name: [step for step, _ in points] for name, points in undisturbed["points"].items()}
    each = ("loss", "norm", "val_loss", "best/val_loss")
    assert steps == {name: [1, 2, 3, 4] for name in each} | {name: [4] for name in ("lr", "after")}
    assert killed == [undisturbed] * 3
    assert [record.attempts for record in records(here / "runs" / "study")] == [1, 2, 2, 2]
    assert re.findall(r"resumed after step \d", done.out) == ["resumed after step 2", "resumed after step 3"]
    assert not list((here / "runs").rglob("*.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["parameters.early.value=true", "parameters.epochs.value=9"]], ids=["whole", "early"])
def test_a_lightning_training_that_was_stopped_goes_on(
    cli: Cli, study: Path, here: Path, start: Callable[..., subprocess.Popen[str]], words: list[str]
) -> None:
    """Several times, at the end of an epoch, also of the last one."""
    words = [*words, "parameters.pause.value=0.05"]
    assert cli("run", str(study), "name=whole", *words).code == 0
    stops = 0
    while True:
        process = start("run", str(study), *words)
        assert process.stdout is not None
        for line in process.stdout:
            if "  val_loss=" in line and " step " in line:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        if process.wait(60) == 0:
            break
        stops += 1
    assert stops >= 2
    assert numbers(here / "runs" / "study") == numbers(here / "runs" / "whole")


@pytest.mark.slow
def test_a_lightning_training_goes_on_from_another_studys(cli: Cli, study: Path, here: Path) -> None:
    """With more epochs, as one longer training; not past the end of one that ended early for the same number of epochs."""
    assert cli("run", str(study), "parameters.epochs.value=2").code == 0
    done = cli("run", str(study), "parameters.epochs.value=4", "--from", "runs/study", "name=next")
    assert done.code == 0, done.err
    assert cli("run", str(study), "name=whole").code == 0
    [found], [whole] = numbers(here / "runs" / "next"), numbers(here / "runs" / "whole")
    assert [step for step, _ in found["points"]["val_loss"]] == [3, 4]
    for tag, points in found["points"].items():
        assert points == [point for point in whole["points"][tag] if point[0] > 2]
    assert found["metrics"] == whole["metrics"]


@pytest.mark.slow
def test_a_lightning_training_is_pruned(cli: Cli, study: Path, here: Path) -> None:
    """The pruner ends it after an epoch; the total number of epochs is known."""
    done = cli("run", str(study), "--inline", "pruner={type: threshold, upper: 0.0}", "parameters.epochs.value=3")
    assert done.code == 0, done.err
    [record] = records(here / "runs" / "study")
    assert (record.state, record.step, record.total) == ("pruned", 1, 3)


@pytest.mark.slow
def test_without_its_checkpoint_a_lightning_training_cannot_go_on(cli: Cli, study: Path, here: Path) -> None:
    """The error says what to write."""
    assert cli("run", str(study), "objective=mine:forgetful", "kill.values=['epoch 1 batch 0']").code == 1
    [record] = records(here / "runs" / "study")
    assert record.error is not None
    assert "trainer.fit(..., ckpt_path=callback.ckpt_path)" in record.error


@pytest.mark.slow
def test_epochs_without_validation_are_not_reported(cli: Cli, study: Path, here: Path) -> None:
    """Their metrics would be those of an earlier epoch."""
    words = ["objective=mine:seldom", "kill.values=['no', 'epoch 3 batch 0']"]
    assert cli("run", str(study), *words).code == 0
    one, other = outcome(here / "runs" / "study")
    assert [step for step, _ in one["points"]["val_loss"]] == [2, 4]
    assert one["points"] == other["points"]


@pytest.mark.slow
def test_either_name_of_the_package_will_do(study: Path) -> None:
    """The callback has the class of the package that the objective has imported."""
    code = "import pytorch_lightning, sys; from sweep.lightning import SweepCallback as C\n"
    code += "assert issubclass(C, pytorch_lightning.Callback) and 'lightning.pytorch' not in sys.modules"
    if importlib.util.find_spec("pytorch_lightning") is None:
        pytest.skip("pytorch_lightning is not installed")
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
