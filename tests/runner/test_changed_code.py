"""When other code holds a session up, in this process; the hostile cases use the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweep.errors import SweepError
from sweep.runner import changed_code
from sweep.runner.changed_code import CodeHistory
from sweep.runner.changed_constants import constants_texts
from sweep.runner.session import run_study
from sweep.storage.folder import StudyFolder
from sweep.study.code.digest import RULES, Code
from sweep.study.file.reading import read_study
from sweep.study.formatting import trials_text
from sweep.study.trial import TrialState
from tests.support.observing import Silent
from tests.support.studies import study_spec, study_text, trial_record, write_study

OLD, NEW = Code(files={"mine.py": "1"}), Code(files={"mine.py": "2"})


@pytest.fixture
def folder(here: Path) -> StudyFolder:
    (here / "0000").mkdir()
    return StudyFolder(root=here)


@pytest.mark.parametrize(
    ("state", "checkpoint", "retry_failed", "held"),
    [
        (TrialState.COMPLETE, False, False, True),
        (TrialState.PRUNED, False, False, True),
        (TrialState.FAILED, False, False, False),
        (TrialState.FAILED, True, False, False),
        (TrialState.FAILED, False, True, False),
        (TrialState.FAILED, True, True, True),
        (TrialState.WAITING, False, False, False),
        (TrialState.WAITING, True, False, True),
        (TrialState.RUNNING, True, False, True),
    ],
)
@pytest.mark.parametrize("code", [OLD.digest, NEW.digest, None, f"{OLD.digest}+{NEW.digest}"], ids=["old", "new", "none", "both"])
def test_what_holds_a_session_up(
    folder: StudyFolder, state: TrialState, checkpoint: bool, retry_failed: bool, held: bool, code: str | None
) -> None:
    """Results of other code, and checkpoints of other code that are used."""
    if checkpoint:
        (folder.root / "0000" / "checkpoint.pt").touch()
    known = [trial_record(0, state, 1.0, params={"x": 1}, folder="0000", code=code)]
    study = study_spec({"x": [1, 2]})
    history = CodeHistory(study, folder, NEW, known)
    if held and code is not None and OLD.digest in code:
        with pytest.raises(SweepError) as caught:
            history.check(keep=False, retry_failed=retry_failed)
        assert caught.value.id == "code-changed"
        assert history.check(keep=True, retry_failed=retry_failed) == "" or not checkpoint
        assert history.stored[NEW.digest]["kept"] == [OLD.digest]
    else:
        assert history.check(keep=False, retry_failed=retry_failed) == ""
    both = {None: NEW.digest, OLD.digest: f"{OLD.digest}+{NEW.digest}"}
    if checkpoint:
        assert history.code_for(known[0]) == both.get(code, code)
    else:
        assert history.code_for(known[0]) == NEW.digest


def test_a_digest_by_the_rules_of_another_version_holds_nobody_up(folder: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code may have another digest then; by the same rules it does."""
    known = [trial_record(0, TrialState.COMPLETE, 1.0, params={"x": 1}, folder="0000", code=OLD.digest)]
    study = study_spec({"x": [1, 2]})
    for rules, held in ((RULES, True), (RULES + 1, False)):
        stored = {OLD.digest: OLD.to_json() | {"rules": rules}}
        monkeypatch.setattr(changed_code, "read_codes", lambda _, stored=stored: dict(stored))
        history = CodeHistory(study, folder, NEW, known)
        if held:
            with pytest.raises(SweepError, match="was trained"):
                history.check(keep=False, retry_failed=False)
        else:
            assert history.check(keep=False, retry_failed=False) == ""


def test_a_session_records_its_code_and_refuses_another(here: Path) -> None:
    """Nothing is written then."""
    path = write_study(here, study_text({"x": [1, 2]}))
    folder = StudyFolder(root=here / "runs" / "study")

    def run(text: str, *overrides: str, **options: Any) -> list[Any]:
        (here / "mine.py").write_text("def train(trial): return trial.params['x']\n" + text)
        study = read_study(path, [*overrides])
        outcome = run_study(study, folder, path, observer := Silent(), inline=True, **options)
        return [*(record.code for record in outcome.records), *observer.notices]

    [first] = run("", "x.values=[1]")
    assert run("# A comment.\n", "x.values=[1]") == [first]
    before = folder.study_file.read_bytes()
    with pytest.raises(SweepError, match="trial 0 was trained by other code"):
        run("A = 1\n")
    assert folder.study_file.read_bytes() == before
    one, other, notice, _ = run("A = 1\n", keep=True)
    assert one == first != other
    assert notice == "trial 0 was trained by other code (mine.py has changed) and stays: every trial records its code"
    assert run("A = 1\n") == [one, other]


def test_constants_that_differ_are_named() -> None:
    """By value and type; failed trials are not counted."""
    earlier = study_spec({"x": [1, 2], "steps": 1, "flag": True}).parameters
    study = study_spec({"x": [1, 2], "steps": 2, "flag": 1, "more": "a"})
    study = type(study)(**{**vars(study), "earlier": (earlier,)})
    params = {"steps": 1, "flag": True}
    known = [
        trial_record(0, params={"x": 1, **params}),
        trial_record(1, params={"x": 2, **params}),
        trial_record(2, TrialState.FAILED, params={"x": 2, **params}),
        trial_record(3, params={"x": 2, "steps": 2, "flag": 1, "more": "a"}),
    ]
    was, now = "with steps=1 flag=true and without more", "steps=2 flag=1 more=a"
    assert [*constants_texts(study, known)] == [f"2 trials were trained {was} and stay; name=... trains them with {now}"]


def test_numbers_in_short() -> None:
    """Ranges, and the plural."""
    assert [trials_text(numbers) for numbers in ([4], [0, 1, 2], [5, 0, 1, 0], [3, 1])] == [
        "trial 4",
        "trials 0-2",
        "trials 0-1, 5",
        "trials 1, 3",
    ]
