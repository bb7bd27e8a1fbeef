"""`sweep import`: trials of another study, for a study that has not begun."""

from __future__ import annotations

from collections import Counter

from sweep.cli.target import Target, to_show
from sweep.errors import SweepError
from sweep.search.imported import count_imported, imported_text
from sweep.search.importing import import_trials, is_storage, source_of_optunas, source_of_ours


def import_study(target: Target, other: str, name: str | None) -> None:
    """Import the trials of another study that fit; print what was imported and what was left out.

    `other` is a study of this program, or a storage of Optuna's, of which `name` selects a study.

    Raises:
        SweepError: see `sweep.search.importing`.
    """
    if is_storage(other):
        source = source_of_optunas(target.study, other, name)
    elif name is not None:
        what = f"--study selects a study of an Optuna storage, but {other} is a study of this program"
        raise SweepError("import-no-storage", what, do="leave --study out")
    else:
        found = to_show(other, ())
        source = source_of_ours(target.study, found.study, found.folder, target.folder)
    taken, left_out = import_trials(target.study, target.folder, source)
    states = Counter(str(trial.state) for trial in taken)
    kinds = ", ".join(f"{count:,} {state}" for state, count in states.items())
    print(f"taken     {len(taken):,} trials of {source.name} ({kinds})")
    for why, count in left_out.most_common():
        print(f"left out  {count:,} trials: {why}")
    print(f"{target.study.name} starts with {imported_text(count_imported(target.folder))}")
