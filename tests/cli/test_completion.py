"""What the shell completes, asked as a shell asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.support.studies import make_study, write_study

STUDY = "objective: mine:train\nparameters: {x: {value: 1}}\n"


@pytest.fixture
def folders(here: Path) -> Path:
    """A study file here, two below, a study that has run, and what is neither."""
    for name in ("studies", "runs/first/0000", "runs/unfinished", ".hidden", "deep/deeper"):
        (here / name).mkdir(parents=True)
    write_study(here, STUDY, "mine.yaml")
    write_study(here, "version: 3\n", "compose.yaml")
    for name in ("one.yaml", "two.yml"):
        write_study(here / "studies", STUDY, name)
    write_study(here / ".hidden", STUDY)
    write_study(here / "deep" / "deeper", STUDY)
    write_study(here / "runs" / "first", STUDY)
    (here / "runs" / "first" / "environment.json").write_text("{}")
    return here


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("run ", ["plain,mine.yaml", "plain,runs/first", "plain,studies/one.yaml", "plain,studies/two.yml"]),
        ("run m", ["plain,mine.yaml"]),
        ("status ru", ["plain,runs/first"]),
        ("best runs/", ["plain,runs/first"]),
        ("plan deep/", ["plain,deep/deeper/study.yaml"]),
        ("dashboard runs/first st", ["plain,studies/one.yaml", "plain,studies/two.yml"]),
        ("run runs/first/", ["file,runs/first/"]),
        ("run nothing", ["file,nothing"]),
        ("run no/thing", ["file,no/thing"]),
        ("do", ["plain,docs", "plain,doctor"]),
        ("completion z", ["plain,zsh"]),
        ("trials mine.yaml --format ", ["plain,table", "plain,csv", "plain,json"]),
    ],
)
def test_words_are_completed(cli: Cli, folders: Path, words: str, answers: list[str]) -> None:
    """STUDY to study files and to the folders of studies that have run, else by the shell itself."""
    line = f"sweep {words}"
    env = {"_SWEEP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = cli(env=env)
    assert done.out.splitlines() == answers
    assert done.err == ""


def test_the_number_of_a_trial_is_completed(cli: Cli, here: Path) -> None:
    """From the study that was typed before it, its folder or its file, without torch; nothing where there is none."""
    make_study(here, {"x": list(range(12))}, objective="sweep.objectives.toy:train", metric={"name": "loss", "goal": "minimize"})
    assert cli("run", "study.yaml", "--inline").code == 0
    (here / "torch.py").write_text("raise SystemExit('torch was imported')")

    def completed(words: str) -> list[str]:
        line = f"sweep {words}"
        path = f"{here}:{os.environ.get('PYTHONPATH', '')}"
        env = {"_SWEEP_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "PYTHONPATH": path}
        done = cli(env=env)
        assert (done.code, done.err) == (0, "")
        return done.out.split()

    assert completed("logs runs/study ") == [f"plain,{number}" for number in range(12)]
    assert completed("logs study.yaml 1") == ["plain,1", "plain,10", "plain,11"]
    assert completed("logs runs/nothing ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(cli: Cli, shell: str) -> None:
    """It asks this very program."""
    done = cli("completion", shell)
    assert done.code == 0
    assert f"_SWEEP_COMPLETE={shell}_complete" in done.out
    assert cli("completion", "sh").code == 2


def test_bash_completes_with_it(cli: Cli, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a real one, with `sweep` on its path."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    programs = tmp_path_factory.mktemp("bin")
    (programs / "sweep").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweep "$@"\n')
    (programs / "sweep").chmod(0o755)
    code = (
        'eval "$(sweep completion bash)"; COMP_WORDS=(sweep run st); COMP_CWORD=2; _sweep_completion sweep;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", code], cwd=folders, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["studies/one.yaml", "studies/two.yml"]
