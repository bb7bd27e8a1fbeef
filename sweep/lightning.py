"""A Lightning training as a trial: it is reported after each epoch, and pruned, stopped and resumed like any other.

    callback = SweepCallback(trial)
    trainer = Trainer(max_epochs=20, callbacks=[callback], accelerator=trial.device, devices=1,
                      logger=False, enable_checkpointing=False)
    trainer.fit(model, loader, ckpt_path=callback.ckpt_path)

An interrupted training resumes at the start of an epoch, with the same numbers bit for bit as without the interruption. The
checkpoint has all that Lightning stores (model, optimizers, schedulers, precision, other callbacks, the state of the data module,
counters) and the random number generators, so that the order of the data, dropout and a random split of the data are the same. It
does not have what Lightning does not store: attributes of the model that are not buffers, and the generators inside
`persistent_workers`.

A checkpoint is made at the start of the next epoch, or at the end of the training, when all hooks and schedulers have run.
Lightning can resume only from the counters of the epoch's end, so a copy of these is stored in it.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from sweep.worker.endings import TrialFailed
from sweep.worker.handle import Trial
from sweep.worker.randomness import random_states, restore_random_states

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")  # the same package; a trainer of one accepts only its own callbacks


def _callback_class() -> Any:
    """Return the class of callbacks of the package that is imported already, or else of the one that is installed."""
    for name in sorted(_PACKAGES, key=lambda name: name not in sys.modules):
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            return importlib.import_module(name).Callback
    raise ImportError("sweep.lightning needs Lightning:  pip install lightning")


class SweepCallback(_callback_class()):  # type: ignore[misc]  # one of two classes, found at run time
    """Report the metrics of a training to a trial after each validated epoch, with the state that it needs to resume.

    The metrics are those that were logged (`self.log`), by their names. The step is the number of epochs done. Without a
    validation loop every epoch is reported.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._steps: Iterator[int] = iter(())
        self._step = self._reported = 0  # the trial's current step; the number of epochs reported
        self._validated = self._saving = False
        self._counters: dict[str, Any] = {}
        self._dump: dict[str, Any] = {}
        self._ended: dict[str, Any] | None = None  # the states of the generators if the training ended before

    @property
    def ckpt_path(self) -> str | None:
        """Return the argument `ckpt_path` of `trainer.fit`: the file of the checkpoint, or None for a new training."""
        randomness = random_states()  # setting up the data must draw the same numbers as at first
        state = self._trial.state
        restore_random_states(randomness)
        if state is None:
            return None
        self._file.unlink(missing_ok=True)  # a link would be followed
        torch.save(state["lightning"], self._file)
        return str(self._file)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Restore the random number generators after the set-up.

        Raises:
            TrialFailed: the checkpoint was not passed to `trainer.fit`, or the training uses several devices.
            TrialStopped: the session is stopping.
        """
        if trainer.world_size > 1:
            raise TrialFailed("SweepCallback is for a training on one device: Trainer(accelerator=trial.device, devices=1)")
        self._file.unlink(missing_ok=True)
        if (state := self._trial.state) is not None:
            if trainer.ckpt_path is None:
                raise TrialFailed("the interrupted trial cannot resume; write trainer.fit(..., ckpt_path=callback.ckpt_path)")
            self._reported = state["epochs"]
            # A study that goes on from this trial may have more epochs.
            if state["ended"] and state.get("of", trainer.max_epochs) == trainer.max_epochs:
                trainer.should_stop = True  # Lightning does not store that a training ended early
                self._ended = random_states()
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            self._steps = self._trial.steps(trainer.max_epochs)
            self._step = next(self._steps, 0)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Remember that there are new metrics."""
        self._validated = self._validated or not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Copy the counters from which Lightning can resume."""
        self._counters = copy.deepcopy(trainer.fit_loop.state_dict())

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Keep Lightning's checkpoint if it is made for the trial."""
        if self._saving:
            checkpoint["loops"]["fit_loop"] = self._counters
            self._dump = checkpoint

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Report the previous epoch.

        Raises:
            TrialPruned, TrialComplete, TrialStopped, MetricNotFinite: as `trial.report`.
        """
        self._report(trainer, ended=False)
        if trainer.current_epoch == self._step:  # the step is done, which is not so at the first epoch
            self._step = next(self._steps, 0)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the last epoch, as `on_train_epoch_start`."""
        self._report(trainer, ended=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Restore the generators again if there was nothing to train: setting up the data has used them."""
        if self._ended is not None:
            restore_random_states(self._ended)

    @property
    def _file(self) -> Path:
        return self._trial.dir / ".lightning.ckpt"

    def _report(self, trainer: Any, *, ended: bool) -> None:
        epochs = trainer.current_epoch
        validates = sum(trainer.num_val_batches) > 0
        if epochs > self._reported and (self._validated or not validates):
            self._saving = True
            self._file.unlink(missing_ok=True)  # a link would be followed
            try:
                trainer.save_checkpoint(self._file)
            finally:
                self._saving = False
                self._file.unlink(missing_ok=True)  # the trial stores the checkpoint, not Lightning's file
            state, self._dump = {"lightning": self._dump, "epochs": epochs, "of": trainer.max_epochs, "ended": ended}, {}
            self._reported, self._validated = epochs, False
            self._trial.report(epochs, dict(trainer.callback_metrics), state)
