"""Hyperparameter sweeps for PyTorch: parallel, resumable, and right in TensorBoard's HPARAMS tab."""

from sweep.live import Trial

__all__ = ["Trial", "__version__"]
__version__ = "0.1.0"
