"""What leaves an objective before it returns. Importing this module imports nothing heavy."""

from __future__ import annotations

from sweep.study.trial import Decision


class TrialPruned(BaseException):
    """Leave the objective: the trial is pruned. Not an `Exception`, so that user code does not catch it by accident."""


class TrialComplete(BaseException):
    """Leave the objective: the trial has reached its last step or its time, and counts as if the objective had returned."""


class TrialStopped(BaseException):
    """Leave the objective: the sweep is being stopped and will resume this trial later."""


class StateIgnored(BaseException):
    """Leave the objective: it resumes without reading the checkpoint's state, which would give wrong numbers."""


class TrialFailed(Exception):
    """Fail a trial with a message, which is shown instead of a traceback."""


class CannotFuse(Exception):
    """Say that trials cannot be trained together; each is then trained alone."""


# What a decision that ends the trial raises in the objective.
ENDINGS: dict[Decision, type[BaseException]] = {
    Decision.PRUNE: TrialPruned,
    Decision.COMPLETE: TrialComplete,
    Decision.STOP: TrialStopped,
}
