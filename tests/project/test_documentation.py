"""The README is true: its commands run, its example trains, its tables say what the program does."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.cli.commands import sweep
from sweep.study.file.reading import read_study
from sweep.study.file.schema import StudyModel
from sweep.study.file.writing import write_study
from tests.conftest import REPOSITORY, Cli

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# What the real study is cut down to here; the numbers in the README are of the whole one.
QUICK = ["epochs.value=1", "parameters.train_samples.value=500", "batch_size.values=[64]"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """Return the words of every `sweep ...` line, comments dropped."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("sweep ")]


@pytest.mark.slow
def test_every_command_of_the_readme_runs(
    cli: Cli, here: Path, fashion_data: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """In order, in an empty folder with the studies, and with its own example beside them."""
    shutil.copytree(REPOSITORY / "studies", here / "studies")
    path = here / "studies" / "fashion.yaml"
    path.write_text(write_study(read_study(path, QUICK)))
    (here / "mine.py").write_text(blocks("python")[0])
    (here / "mine.yaml").write_text(blocks("yaml")[0])
    first = ["run", "studies/fashion.yaml"]
    assert f".venv/bin/sweep {' '.join(first)}" in README
    seen = []
    for words in [first, *commands()]:
        seen.append(words[0])
        if words[0] == "dashboard":
            process = start(*words, "--port", "6306")
            assert process.stdout is not None
            assert any(re.search(r"http://127\.0\.0\.1:\d+/#hparams", line) for line in process.stdout)
            process.terminate()
            assert process.wait(20) == 0
        else:
            done = cli(*words)
            if words[0] in ("resume", "stop"):  # what is finished is not there to be resumed, or stopped
                assert done.code == 2
                assert "[nothing-to-resume]" in done.err or "[not-running]" in done.err
            else:
                assert done.code == 0, f"{words}: {done.out}\n{done.err}"
    assert set(seen) == set(sweep.commands)
    assert len(cli("trials", "mine.yaml", "--format", "json").json) == 10
    assert len(cli("trials", "runs/quick", "--format", "json").json) == 4


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((REPOSITORY / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_study_runs(cli: Cli, path: Path, fashion_data: Path) -> None:
    """Cut down where it trains for real."""
    search = ["budget.trials=5", "epochs.value=2", "pruner.n_startup_trials=1", "parameters.train_samples.value=2000"]
    cut = {
        "fashion": ["lr.values=[0.001]", *QUICK],
        "shuffle": ["lr.values=[0.001]", "seed.values=[0, 1]", *QUICK],
        "search": search,
        "toy": [],
        "script": [],
    }[path.stem]
    done = cli("run", str(path), *cut)
    assert done.code == 0, done.err
    if path.stem == "search":
        assert {trial["state"] for trial in cli("trials", str(path), "--format", "json").json} == {"complete", "pruned"}


def test_the_example_of_a_search_is_sound(here: Path) -> None:
    """It lacks only what the examples above have: an objective and a metric."""
    text = "objective: sweep.objectives.toy:train\nmetric: {name: loss, goal: minimize}\n" + blocks("yaml")[1]
    study = read_study(_written(here / "search.yaml", text))
    assert study.repeats == 3
    assert study.prunes


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_study_files_reference_is_the_programs() -> None:
    """A row for each key, with the description that the program has."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", README.partition("## The study file")[2], flags=re.MULTILINE)
    assert rows == [(name, field.description) for name, field in StudyModel.model_fields.items()]


def test_the_first_two_commands_are_one_line_each() -> None:
    """Set-up and the main job, set-up and the tests; CI runs them as they are written."""
    first, second = (line for block in blocks("sh") for line in block.splitlines() if line.startswith("python3 -m venv"))
    assert first.endswith("&& .venv/bin/sweep run studies/fashion.yaml")
    assert second.endswith("&& .venv/bin/pytest")


@pytest.mark.parametrize("verb", [None, *sweep.commands])
def test_every_verb_has_help(verb: str | None) -> None:
    """Without a traceback, and with the usage."""
    words = [sys.executable, "-m", "sweep", *([verb] if verb else []), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: sweep {verb or ''}".rstrip())


def test_the_pictures_are_there() -> None:
    """What the README shows exists and is a picture."""
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    for picture in pictures:
        assert (REPOSITORY / picture).read_bytes().startswith(b"\x89PNG")


def test_the_top_of_the_repository_is_as_agreed() -> None:
    """pyproject.toml, sweep, tests, studies, README.md and dotfiles; nothing else is tracked."""
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    top = {line.partition("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {"pyproject.toml", "sweep", "tests", "studies", "README.md"}
