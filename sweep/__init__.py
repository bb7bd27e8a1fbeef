"""Hyperparameter sweeps for PyTorch: parallel, resumable, and right in TensorBoard's HPARAMS tab."""

from typing import TYPE_CHECKING, Any

from sweep.errors import SweepError
from sweep.study.trial import TrialState
from sweep.worker.handle import Trial
from sweep.worker.script.client import (
    trial,  # the handle of a script; it hides the module `sweep.trial`, which imports reach all the same
)

if TYPE_CHECKING:
    from sweep.api import StudyResult, run
    from sweep.study.record import TrialRecord

__all__ = ["StudyResult", "SweepError", "Trial", "TrialRecord", "TrialState", "__version__", "run", "trial"]
__version__ = "0.1.0"
# Found when they are asked for: objectives import this package in workers, and `sweep --help` waits for it.
_LATER = {"StudyResult": "sweep.api", "TrialRecord": "sweep.study.record", "run": "sweep.api"}


if not TYPE_CHECKING:  # or every name would be one to type checkers

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            import importlib

            return getattr(importlib.import_module(_LATER[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
