"""What a notebook shows of a session, and how often; the real kernel is in `tests/test_api.py`."""

from __future__ import annotations

import re
import time
from dataclasses import replace

from sweep.runner.notebook_view import NotebookView, Picture, drawn, observer_for
from sweep.runner.observers import RunChange
from sweep.runner.plain_lines import PlainLines
from sweep.study.record import now_text
from sweep.study.trial import TrialState
from tests.support.studies import run_record, study_spec

STUDY = study_spec({"x": ["<b>", "b", "c"]})
START = now_text()


def test_running_trials_leaders_counts_and_failures_are_shown() -> None:
    """As HTML that no name or text can break, and in short as plain text."""
    view = NotebookView()
    assert view.picture()["text/plain"] == ""
    view.begin(STUDY, [], 2)
    assert "starting 2 workers" in view.picture()["text/html"]
    running = run_record(STUDY, 0, {"x": "<b>"}, 0.5, state=TrialState.RUNNING, step=1, total=4, started=START, device="cpu")
    view.update(running, RunChange.REPORTED)
    best = run_record(STUDY, 1, {"x": "b"}, 0.75, duration_s=8.0)
    view.update(best, RunChange.ENDED)
    failed = run_record(STUDY, 2, {"x": "c"}, state=TrialState.FAILED, error="ValueError: <i>")
    view.update(failed, RunChange.ENDED)
    view.notice("look\x1b[1m & see")
    page = view.picture()["text/html"]
    assert "<b>study</b>&ensp;1 running, 1 complete, 1 failed&ensp;<b>about" in page
    assert 'style="width: 25%; height' in page
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)
    assert cells[:3] == ["0", "x=&lt;b&gt;", "cpu"]
    assert cells[-4:] == ["1.", "0.7500", "x=b", "trial 1"]
    assert "trial 2 failed: ValueError: &lt;i&gt;</div>" in page
    assert "look\\x1b[1m &amp; see" in page
    assert view.picture()["text/plain"].splitlines()[1:] == ["trial 2 failed: ValueError: <i>", "look\\x1b[1m & see"]

    view.update(replace(best, dropped=True), RunChange.DROPPED)
    assert "0.7500" not in view.picture()["text/html"]


def test_many_events_make_few_pictures_and_the_last_one_is_shown() -> None:
    """Two a second, whatever happens; one that cannot be shown ends no session."""
    view, pictures = NotebookView(), list[Picture]()

    def show(picture: Picture) -> None:
        pictures.append(picture)
        if len(pictures) == 2:
            raise OSError("the page is gone")

    with drawn(view, show):
        view.begin(STUDY, [], 1)
        for number in range(120):
            time.sleep(0.01)
            view.notice(f"line {number}")
    assert 3 <= len(pictures) <= 5
    assert pictures[-1]["text/plain"].endswith("line 119")


def test_where_no_notebook_is_lines_are_printed() -> None:
    """As in this process, which has no kernel."""
    for quiet in (False, True):
        with observer_for(quiet=quiet) as observer:
            assert isinstance(observer, PlainLines)
