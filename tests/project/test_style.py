"""ruff and mypy strict are part of the tests."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

COMMANDS = [
    pytest.param(["ruff", "check"], id="ruff check"),
    pytest.param(["ruff", "format", "--check"], id="ruff format"),
    pytest.param(["mypy"], id="mypy", marks=pytest.mark.slow),  # half a minute of both cores
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.timeout(280)
def test_the_code_is_clean(command: list[str]) -> None:
    """With the settings of pyproject.toml, which gives a reason for each exception."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
