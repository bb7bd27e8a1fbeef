"""What a study's code is made of: files, versions, parts of a function. The hostile cases have every kind of edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.study.code.digest import Code, changes, joined
from sweep.study.code.requirements import one_needs
from sweep.study.training_code import code_of, uses_torch
from tests.support.studies import study_spec, write_objectives


def test_files_by_syntax_and_packages_by_version(here: Path) -> None:
    """Python by its minor version; what is in the standard library and this package's interface do not count."""
    import numpy as np

    (here / "mine.py").write_text("import os, numpy, helper\nfrom sweep import Trial\ndef train(trial): pass\n")
    (here / "helper.py").write_text("import mine\n")
    found = code_of(study_spec({"x": 1}, import_dir=here))
    assert set(found.files) == {"mine.py", "helper.py"}
    assert found.packages["numpy"] == np.__version__
    assert set(found.packages) == {"python", "numpy"}
    assert found.parts == {}
    assert Code.from_json(found.to_json()) == found


def test_the_built_in_objectives_count_by_the_version_of_sweep(here: Path) -> None:
    """Also when a file of the user's imports them."""
    for objective in ("sweep.objectives.toy:train", "mine:train"):
        (here / "mine.py").write_text("from sweep.objectives import toy\ntrain = toy.train\n")
        assert code_of(study_spec({"x": 1}, import_dir=here, objective=objective)).packages["sweep"] == sweep.__version__


def test_a_function_of_a_program_has_parts(here: Path) -> None:
    """A name for each, which a message can say."""
    factor, seen = 2, [1]

    def helper() -> int:
        return factor

    def train(trial: Any) -> int:
        seen.append(1)
        return helper()

    train.__module__ = helper.__module__ = "__main__"
    before = code_of(study_spec({"x": 1}, import_dir=here), train)
    prefix = "test_a_function_of_a_program_has_parts"
    assert set(before.parts) == {
        "the objective",
        f"function {prefix}.train",
        f"function {prefix}.helper",
        f"seen of {prefix}.train",
        f"factor of {prefix}.helper",
    }
    train(None)
    assert code_of(study_spec({"x": 1}, import_dir=here), train) == before
    factor = 3
    after = code_of(study_spec({"x": 1}, import_dir=here), train)
    assert list(changes(before, after)) == [f"factor of {prefix}.helper has changed"]


def test_what_has_changed_is_said_in_words() -> None:
    """A line for each file and version."""
    old = Code(files={"a.py": "1", "b.py": "1"}, packages={"torch": "1", "python": "3.12"})
    new = Code(files={"a.py": "2", "c.py": "1"}, packages={"torch": "2", "python": "3.12", "numpy": "1"})
    assert list(changes(old, new)) == [
        "a.py has changed",
        "c.py is new",
        "b.py is not used any more",
        "torch: was 1, is now 2",
        "numpy: was not used, is now 1",
    ]
    assert [joined("a", "b", "a+b"), joined(None, "a"), joined(None)] == ["a+b", "a", None]


def test_it_costs_a_few_milliseconds(here: Path) -> None:
    """Of the processor's time, for a file of 600 lines."""
    import time

    write_objectives(here)
    times = []
    for _ in range(5):
        began = time.process_time()
        code_of(study_spec({"x": 1}, import_dir=here))
        times.append(time.process_time() - began)
    assert min(times) < 0.1


def test_a_program_in_a_word_may_be_longer_than_a_path(here: Path) -> None:
    """Its imports count."""
    (here / "helper.py").write_text("A = 1\n")
    words = ["python", "-c", "import helper\n" + "x = ${x}\n" * 200]
    assert set(code_of(study_spec({"x": [1]}, import_dir=here, objective=None, command=words)).files) == {"helper.py"}


def test_what_a_function_uses_counts_by_its_content(here: Path) -> None:
    """Of a layer its settings, not the values that are drawn anew in each process."""
    import torch

    layer, kind, options = torch.nn.Dropout(0.1), torch.float32, {"w": torch.ones(2)}

    def train(trial: Any) -> Any:
        return layer, kind, options

    train.__module__ = "__main__"
    study = study_spec({"x": 1}, import_dir=here)
    found = [code_of(study, train).digest]
    layer.eval()
    assert code_of(study, train).digest == found[0]
    layer.p = 0.2
    found.append(code_of(study, train).digest)
    kind = torch.float64
    found.append(code_of(study, train).digest)
    options["w"][0] = 2
    found.append(code_of(study, train).digest)
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"mine": "import json, numpy, scipy"}, False),
        ({"mine": "import torch"}, True),
        ({"mine": "def train(trial):\n    from torch import nn"}, True),
        ({"mine": "import first", "first": "import second", "second": "import torch.nn"}, True),
        ({"mine": "import torchvision"}, True),  # which requires torch
        ({"mine": "import optuna"}, False),  # which has an extra that does
        ({"mine": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"}, False),
        ({"mine": "from sweep import Trial"}, False),
        ({"mine": "from sweep.lightning import fit"}, True),
        ({"mine": "import importlib\nimportlib.import_module('torch')"}, True),
        ({"mine": "import not_installed"}, False),
    ],
)
def test_whether_a_study_uses_torch(here: Path, files: dict[str, str], expected: bool) -> None:
    """By what its files and the packages that they import require."""
    for name, text in files.items():
        (here / f"{name}.py").write_text(text)
    study = study_spec({"x": 1}, import_dir=here)
    assert uses_torch(study, code_of(study)) is expected


def test_the_built_in_objectives_use_torch_where_they_import_it(here: Path) -> None:
    """The toy does not."""
    for name, expected in (("toy", False), ("fashion_mnist", True)):
        study = study_spec({"x": 1}, import_dir=here, objective=f"sweep.objectives.{name}:train")
        assert uses_torch(study, code_of(study)) is expected


def test_a_command_uses_its_own_torch(here: Path) -> None:
    """In its own process, not in the worker's."""
    (here / "mine.py").write_text("import torch")
    study = study_spec({"x": 1}, import_dir=here, objective=None, command=["python", "mine.py"])
    assert code_of(study).packages["torch"]
    assert not uses_torch(study, code_of(study))


def test_a_program_with_torch_may_give_a_function_tensors(here: Path) -> None:
    """So its workers have torch from the start."""
    import torch

    weights = torch.ones(1)

    def train(trial: Any) -> float:
        return float(weights.sum())

    study = study_spec({"x": 1}, import_dir=here)
    assert uses_torch(study, code_of(study, train), train)


def test_a_package_that_is_not_found_may_require_anything() -> None:
    """One that a package requires may be for another system, and counts for nothing."""
    assert one_needs(["no-such-package"], "torch")
    assert not one_needs(["tqdm"], "torch")
