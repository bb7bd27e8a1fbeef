"""A Lightning training as a trial: reported after each epoch, and pruned, stopped and resumed like any other.

    callback = SweepCallback(trial)
    trainer = Trainer(max_epochs=20, callbacks=[callback], accelerator=trial.device, devices=1,
                      logger=False, enable_checkpointing=False)
    trainer.fit(model, loader, ckpt_path=callback.ckpt_path)

An interrupted training goes on at the beginning of an epoch, bit for bit as if nothing had happened. Restored are all that
Lightning keeps in a checkpoint (model, optimizers, schedulers, also of the plateau, precision, other callbacks, the data module's
state, its own counters) and the random number generators, so the order of the data and dropout are the same. Not restored
is what Lightning does not keep: attributes of the model that are no buffers, and the generators inside
`persistent_workers`. Where the data module splits the data by chance, it draws as it did at first.

The moment of a checkpoint is the beginning of the next epoch, or the training's end: only then have all hooks and schedulers had
their turn. Lightning cannot go on from a checkpoint of that moment, though: its counters must be those of the epoch's end.

    epoch's end ── counters noted ──► other hooks, schedulers ──► next epoch's start ── checkpoint with those counters ──► report
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

from sweep.worker.checkpoint import random_states, restore_random_states
from sweep.worker.handle import Trial, TrialFailed

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")  # the same, under two names; a trainer of one is used to its own classes
_FILE = ".lightning.ckpt"


def _callback_class() -> Any:
    """Return the class of callbacks: of the package that is imported already, else of the one that is installed."""
    installed = [name for name in _PACKAGES if importlib.util.find_spec(name.partition(".")[0]) is not None]
    for name in (*(name for name in installed if name in sys.modules), *installed):
        return importlib.import_module(name).Callback
    raise ImportError("sweep.lightning needs Lightning:  pip install lightning")


class SweepCallback(_callback_class()):  # type: ignore[misc]  # which of two classes it is, is known when it runs
    """Report a training's metrics to a trial after each epoch that was validated, with all that it needs to go on.

    The metrics are those that were logged (`self.log`), by their names; the step is the number of epochs done. Without a
    validation loop every epoch is reported.

    Args:
        trial: the one that this training is.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._steps: Iterator[int] = iter(())
        self._step = self._reported = 0  # which of the trial's steps runs; how many epochs were reported
        self._validated = self._saving = False
        self._counters: dict[str, Any] = {}
        self._dump: dict[str, Any] = {}
        self._ended: dict[str, Any] | None = None  # the generators' states of a training that had ended before

    @property
    def ckpt_path(self) -> str | None:
        """Return what `trainer.fit` must be given as `ckpt_path`: a file that it goes on from, None when it starts."""
        randomness = random_states()  # whoever sets up the data draws as it did at first
        state = self._trial.state
        restore_random_states(randomness)
        if state is None:
            return None
        torch.save(state["lightning"], self._file)
        return str(self._file)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Put the random number generators back, now that all is set up.

        Raises:
            TrialFailed: the checkpoint was not given to `trainer.fit`, or the training uses several devices.
            TrialStopped: the sweep is being stopped.
        """
        if trainer.world_size > 1:
            raise TrialFailed("SweepCallback is for a training on one device: Trainer(accelerator=trial.device, devices=1)")
        self._file.unlink(missing_ok=True)
        if (state := self._trial.state) is not None:
            if trainer.ckpt_path is None:
                raise TrialFailed("the trial was interrupted and cannot go on: trainer.fit(..., ckpt_path=callback.ckpt_path)")
            self._reported = state["epochs"]
            if state["ended"]:
                trainer.should_stop = True  # it may have ended early, which Lightning does not keep
                self._ended = random_states()
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            self._steps = self._trial.steps(trainer.max_epochs)
            self._step = next(self._steps, 0)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note that there are new metrics."""
        self._validated = self._validated or not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the counters that Lightning can go on from."""
        self._counters = copy.deepcopy(trainer.fit_loop.state_dict())

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take Lightning's checkpoint, if it is made for the trial."""
        if self._saving:
            checkpoint["loops"]["fit_loop"] = self._counters
            self._dump = checkpoint

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Report the epoch before.

        Raises:
            TrialPruned, TrialStopped, MetricNotFinite: as `trial.report`.
        """
        self._report(trainer, ended=False)
        if trainer.current_epoch == self._step:  # it is done; at a training's first epoch nothing is
            self._step = next(self._steps, 0)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Report the last epoch, as `on_train_epoch_start`."""
        self._report(trainer, ended=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Put the generators back once more, if there was nothing to train: setting up the data has used them."""
        if self._ended is not None:
            restore_random_states(self._ended)

    @property
    def _file(self) -> Path:
        return self._trial.dir / _FILE

    def _report(self, trainer: Any, *, ended: bool) -> None:
        epochs = trainer.current_epoch
        validates = sum(trainer.num_val_batches) > 0
        if epochs > self._reported and (self._validated or not validates):
            state = {"lightning": self._checkpoint(trainer), "epochs": epochs, "ended": ended}
            self._reported, self._validated = epochs, False
            self._trial.report(epochs, dict(trainer.callback_metrics), state)

    def _checkpoint(self, trainer: Any) -> dict[str, Any]:
        """Return Lightning's checkpoint as a dict; Lightning writes it to a file, too, which is not needed."""
        self._saving = True
        try:
            trainer.save_checkpoint(self._file)
        finally:
            self._saving = False
            self._file.unlink(missing_ok=True)
        dump, self._dump = self._dump, {}
        return dump
