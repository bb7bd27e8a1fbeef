"""Whether earlier trials were trained by other code than today's, which would give one table with the results of both.

Results count, and checkpoints from which a trial would go on. A dropped trial holds nobody up, nor does a failed one, so that a
bug can be fixed, unless it is retried from its checkpoint; neither does a trial that starts over, nor one of a version that
stored no code or made its digest by other rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sweep.errors import ANOTHER_OR_FRESH, EXIT_LOCKED, SweepError
from sweep.search.planner import Planner
from sweep.storage.database import read_codes
from sweep.storage.folder import StudyFolder
from sweep.study.code.digest import Code, changes, codes_in, joined
from sweep.study.command import resumes_itself
from sweep.study.formatting import trials_text
from sweep.study.record import TrialRecord
from sweep.study.repeats import trials_of
from sweep.study.spec import StudySpec
from sweep.study.trial import TrialState
from sweep.tensorboard.columns import code_column

_KEPT = "kept"  # the earlier codes that the user accepted beside this one
_MOST_LINES = 12


class CodeHistory:
    """The codes of a study's trials, and today's.

    Args:
        study, folder: the study and its folder.
        code: today's.
        known: the runs of earlier sessions.

    Attributes:
        stored: what is to be stored of each code, by its digest.
        adds_column: whether the HPARAMS tab gets the column of the code now, also for earlier trials.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, code: Code, known: Sequence[TrialRecord]) -> None:
        self._study, self._folder, self._code, self._known = study, folder, code, known
        self._digest = code.digest
        self.stored: dict[str, Any] = read_codes(folder)
        earlier = {one for run in known for one in codes_in(run.code)}
        entry = self.stored.get(self._digest)
        kept = entry.get(_KEPT) if isinstance(entry, dict) else None
        self._kept = {str(one) for one in kept} if isinstance(kept, list) else set()
        self._kept |= {one for one in earlier if self._says_nothing(self._stored_code(one))}
        self._several = len(earlier | {self._digest}) > 1
        self.adds_column = self._several and self._digest not in self.stored
        self._again: set[tuple[int, int]] = set()  # the keys of earlier runs that start again

    def check(self, *, keep: bool, retry_failed: bool) -> str:
        """Return what to say about results of other code that stay; empty if there is nothing to say.

        Args:
            keep: the user has accepted that both are in one table.
            retry_failed: failed trials start again.

        Raises:
            SweepError: trials would start beside results of other code, or go on from its checkpoints.
        """
        accepted = {self._digest, *self._kept}
        other = [run for run in self._known if not run.dropped and not accepted.issuperset(codes_in(run.code))]
        ended = [run for run in other if run.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        again = [run for run in other if not run.state.finished or (retry_failed and run.state is TrialState.FAILED)]
        self._again = {run.key for run in again}
        continued = [run for run in again if self.continues(run)]
        retried = [run for run in self._known if retry_failed and run.has_failed]
        why = list(self._changes([*ended, *continued]))
        starts = not self._several or self._starts(retry_failed=retry_failed)
        if not starts:
            self._several = len({one for run in self._known for one in codes_in(run.code)}) > 1
            self.adds_column = False
        elif keep or not (ended or continued):
            if keep and other:
                self._kept.update(one for run in other for one in codes_in(run.code))
                self.adds_column = self._several
            self.stored[self._digest] = self._code.to_json() | {_KEPT: sorted(self._kept - {self._digest})}
        else:
            raise self._error(why, ended, continued, retried)
        if not ended:
            return ""
        one = len({run.number for run in ended}) == 1
        stay = f"{_trained(ended)} by other code ({'; '.join(why)}) and {'stays' if one else 'stay'}"
        return f"{stay}: every trial records its code" if starts else f"{stay}; --fresh or name=... trains with today's code"

    def continues(self, run: TrialRecord) -> bool:
        """Return whether a run goes on where it was when it starts again."""
        itself = self._study.command is not None and resumes_itself(self._study.command, run.params) and run.step is not None
        return itself or any(path.exists() for path in self._folder.checkpoints(run.folder)[:2])

    def code_for(self, run: TrialRecord) -> str | None:
        """Return the code to record of a run that starts now: several if it goes on under another one."""
        return joined(run.code, self._digest) if run.code not in (None, self._digest) and self.continues(run) else self._digest

    def columns(self, run: TrialRecord) -> dict[str, str]:
        """Return what a run's row in the HPARAMS tab shows of its code: nothing while there is one code only."""
        code = self.code_for(run) if run.key in self._again else run.code
        return code_column(self._study, code) if self._several else {}

    def _starts(self, *, retry_failed: bool) -> bool:
        """Return whether any trial would start."""
        if any(not run.state.finished or (retry_failed and run.has_failed) for run in self._known):
            return True
        trials = trials_of(self._known, self._study)
        planner = Planner(self._study, trials)
        planner.trained(sum(run.step or 0 for run in self._known))
        return planner.ended_by is None or not all(trial.state.finished for trial in trials)

    def _stored_code(self, digest: str) -> Code:
        return Code.from_json(self.stored.get(digest))

    def _says_nothing(self, old: Code) -> bool:
        """Return whether a function of a program moved into a module and is the same, or an older version made the digest."""
        if old.rules != self._code.rules:
            return True
        return bool(old.parts) and not self._code.parts and old.function is not None and old.function == self._code.function

    def _changes(self, runs: Sequence[TrialRecord]) -> Iterator[str]:
        """Yield what has changed since these runs, a line each; if several codes trained them, with the trials of each."""
        by_code: dict[str, list[TrialRecord]] = {}
        for run in runs:
            for code in codes_in(run.code):
                if code not in {self._digest, *self._kept}:
                    by_code.setdefault(code, []).append(run)
        lines: list[str] = []
        for code, trained in by_code.items():
            which = f"{trials_text(run.number for run in trained)}: " if len(by_code) > 1 else ""
            found = list(changes(self._stored_code(code), self._code)) if code in self.stored else []
            lines += [f"{which}{line}" for line in found or ["what has changed was not stored"]]
        yield from lines[:_MOST_LINES]
        if more := lines[_MOST_LINES:]:
            yield f"and {len(more)} more"

    def _error(
        self, why: Sequence[str], ended: Sequence[TrialRecord], continued: Sequence[TrialRecord], retried: Sequence[TrialRecord]
    ) -> SweepError:
        numbers = trials_text(run.number for run in continued)
        would = f"{numbers} would go on from {'a checkpoint' if len(continued) == 1 else 'checkpoints'} of other code"
        lines = [*why, *([would] if ended and continued else [])]
        if retried and ended:
            lines.append(f"{trials_text(run.number for run in retried)}, which failed, would be trained again beside them")
        return SweepError(
            "code-changed",
            f"{_trained(ended)} by other code than today's; nothing was started" if ended else f"{would}; nothing was started",
            where=str(self._folder.root),
            why="\n".join(lines),
            do=f"{ANOTHER_OR_FRESH}\nmix both:    add --keep (every trial records the code that trained it)\n"
            "in Python:   fresh=True or keep=True",
            exit_code=EXIT_LOCKED,
        )


def _trained(runs: Sequence[TrialRecord]) -> str:
    return f"{trials_text(run.number for run in runs)} {'was' if len({run.number for run in runs}) == 1 else 'were'} trained"
