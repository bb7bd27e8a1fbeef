"""Hyperparameter sweeps for PyTorch: parallel, resumable, and right in TensorBoard's HPARAMS tab."""

from sweep.client import trial  # the handle of a script; it hides the module `sweep.trial`, which imports reach all the same
from sweep.live import Trial

__all__ = ["Trial", "__version__", "trial"]
__version__ = "0.1.0"
