"""What is printed: nothing that ends a sweep, nothing that a terminal obeys."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from sweep.cli import streams
from sweep.cli.tables import console, print_trial_table
from sweep.errors import Problem, StudyFileError, SweepError, one_line, printable
from sweep.runner.observers import RunChange
from sweep.runner.plain_lines import PlainLines
from sweep.study.trial import TrialState
from tests.support.command_line import run_sweep
from tests.support.studies import make_study, run_record, study_spec
from tests.support.terminals import in_shell

SGR = re.compile(r"\x1b\[[0-9;]*m")
# Whatever a terminal obeys, hides or turns around, and markup of rich's.
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\x1b[]/\r\n\b\x07\x9b\u202e\u200b\ud800;m\\"))) | st.sampled_from(
    ["[red]x[/]", "[/]", "[link=http://x.test]y[/link]", "\x1b]52;c;aGk=\x07", "\x1b[31mred\x1b[0m"]
)


def is_plain(text: str) -> bool:
    return not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in text.replace("\n", ""))


@given(TEXTS)
def test_a_text_is_one_line_of_plain_characters(text: str) -> None:
    """A plain text stays as it is; two that differ look different, unless one has the other's escapes already."""
    assert is_plain(one_line(text))
    assert "\n" not in one_line(text)
    assert one_line(one_line(text)) == one_line(text)
    assert not text.isprintable() or one_line(text) == text
    assert is_plain(printable(text))
    assert printable(text).count("\n") == text.count("\n")


def test_colours_are_left_out_and_file_names_that_are_no_text_are_shown() -> None:
    """Logs have colours; bytes of a name appear as Python shows them; other spaces stay."""
    assert printable("\x1b[1;31mError\x1b[0m: bad\r\n\tline\n") == "Error: bad\n        line\n"
    assert one_line(os.fsdecode(b"caf\xe9.csv")) == r"caf\udce9.csv"
    assert one_line("a\u3000b\u00a0c ☃ é") == "a\u3000b\u00a0c ☃ é"


@given(TEXTS)
def test_an_error_is_plain(text: str) -> None:
    """Each part of it, and each problem of a study file on its line; no text can look like another part."""
    shown = str(SweepError("some-id", text, where=text, why=text, do=text))
    assert is_plain(shown)
    assert all(re.match(r"error: |  (where|why|do): |         ", line) for line in shown.split("\n"))
    problems = StudyFileError(text, [Problem(where=text, key=text, message=text, hint=text)])
    assert is_plain(str(problems))
    assert str(problems).count("\n") == 1


@settings(max_examples=50, deadline=None)
@given(TEXTS)
def test_tables_and_lines_are_plain(text: str) -> None:
    """Parameters, metrics and errors, in a table, in plain lines, and in what rich is given without them."""
    study = study_spec({"x": ["a", "b"]})
    record = run_record(study, 0, {"x": text}, 1.0, state=TrialState.FAILED, error=f"Traceback\n{text}", device=text)
    read, write = os.pipe()
    before, sys.stdout = sys.stdout, streams.Output(write, "utf-8")
    try:
        print_trial_table([record], study)
        table = Table(text)
        table.add_row(Text(text))
        console().print(table, Text(text, style="red"))
        lines = PlainLines()
        lines.begin(study, [], 1)
        lines.update(record, RunChange.ENDED)
        lines.notice(text)
        print(text)
        sys.stdout.flush()
    finally:
        sys.stdout = before
        os.close(write)
    with os.fdopen(read, "rb") as file:
        assert is_plain(SGR.sub("", file.read().decode()))


def test_a_stream_outlives_its_reader_and_a_full_disk(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who leaves is no error; what a full disk loses is said once."""
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", streams.Output(write, "ascii"))
    print("caf\u00e9", flush=True)
    assert os.read(read, 100) == rb"caf\xe9" + b"\n"
    os.close(read)
    print("nobody", flush=True)
    print("still nobody", flush=True)
    assert not streams.tell_what_is_lost()
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(sys, "stdout", streams.Output(full, "utf-8"))
    print("lost")
    assert streams.tell_what_is_lost()
    assert not streams.tell_what_is_lost()
    assert "[output-lost]" in capsys.readouterr().err
    os.close(full)
    os.close(write)


def test_a_reader_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while a session runs; at its end a signal ends the wait."""
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", streams.Output(write, "utf-8"))
    monkeypatch.setattr(streams, "_AFTER_A_SIGNAL_S", 0.1)
    with streams.in_background([2]):
        print("x" * 10_000_000, flush=True)
        print("dropped", flush=True)
    assert os.read(read, 10) == b"x" * 10
    os.close(read)  # the thread ends with its reader; `write` is its own


def test_python_programs_go_on_without_their_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sweep.run` prints where the program prints, and that may be anything."""
    read, write = os.pipe()
    os.close(read)
    gone, full = open(write, "w", encoding="utf-8"), open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    narrow, closed = io.TextIOWrapper(io.BytesIO(), "ascii"), io.StringIO()
    closed.close()
    for stream in (None, gone, full, narrow, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        PlainLines().notice("caf\u00e9")
    assert narrow.buffer.getvalue().endswith(rb"caf\xe9" + b"\n")
    for file in (gone, full):
        with contextlib.suppress(OSError):
            file.close()


@pytest.mark.slow
def test_a_sweep_runs_with_everything_closed(here: Path) -> None:
    """No file gets the number of a closed descriptor; a hostile parameter is data in JSON, and a text elsewhere."""
    make_study(here, {"x": [1], "text": ["\x1b]52;c;aGk=\x07[red]"]})
    done = in_shell(
        "$SWEEP run study.yaml 0>&- 1>&- 2>&-; echo $?; $SWEEP trials study.yaml; $SWEEP best study.yaml >/dev/full", here
    )
    assert done.out.startswith("0\n")
    assert done.code == 1
    assert "[output-lost]" in done.err
    assert r"\x1b]52;c;aGk=\x07[red]" in done.out
    assert is_plain(done.out + done.err)
    [trial] = json.loads(run_sweep("trials", "study.yaml", "--format", "json", here=here).out)
    assert trial["params"]["text"] == "\x1b]52;c;aGk=\x07[red]"
