"""Hyperparameter sweeps for PyTorch: parallel, resumable, and right in TensorBoard's HPARAMS tab."""

import sys

if sys.argv[:1] == ["-m"] and not __file__.startswith(sys.path[0]):
    # `python -m sweep`: a file such as random.py in the working directory is not to be imported in place of Python's own.
    del sys.path[0]

from typing import TYPE_CHECKING, Any

from sweep.errors import SweepError
from sweep.study.trial import TrialState
from sweep.worker.handle import Trial
from sweep.worker.script.client import trial  # the handle that a script gets

if TYPE_CHECKING:
    from sweep.api import StudyResult, run
    from sweep.study.record import TrialRecord
    from sweep.worker.loading import LoadedTrial, load

__all__ = [
    "LoadedTrial",
    "StudyResult",
    "SweepError",
    "Trial",
    "TrialRecord",
    "TrialState",
    "__version__",
    "load",
    "run",
    "trial",
]
__version__ = "0.1.0"
# Imported at their first use: objectives import this package in workers, and `sweep --help` must be fast.
_LATER = {
    "LoadedTrial": "sweep.worker.loading",
    "StudyResult": "sweep.api",
    "TrialRecord": "sweep.study.record",
    "load": "sweep.worker.loading",
    "run": "sweep.api",
}


if not TYPE_CHECKING:  # else type checkers would accept every name

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            import importlib

            return getattr(importlib.import_module(_LATER[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
