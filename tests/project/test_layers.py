"""The layers of the package: every import points down, and heavy packages are imported only where they belong."""

from __future__ import annotations

import subprocess
import sys

import pytest
from importlinter import cli as importlinter_cli

from tests.conftest import REPOSITORY


def test_every_import_points_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts in pyproject.toml hold on the package itself."""
    monkeypatch.chdir(REPOSITORY)
    assert importlinter_cli.lint_imports(no_cache=True) == importlinter_cli.EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("sweep.cli.commands", "torch optuna tensorboard numpy pydantic ruamel rich joblib"),
        ("sweep.cli.plan", "torch optuna tensorboard"),
        ("sweep.runner.session", "torch tensorboard joblib"),
        ("sweep.worker.executors.local", "torch optuna tensorboard"),
        ("sweep.objectives.toy", "torch optuna tensorboard numpy"),
        ("sweep", "torch optuna tensorboard numpy pydantic ruamel rich joblib"),
    ],
)
def test_importing_a_module_imports_no_heavy_package(module: str, heavy: str) -> None:
    """The runner never imports torch, and the command line starts with almost no imports."""
    code = f"import {module}, sys; print(' '.join(name for name in {heavy.split()!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
