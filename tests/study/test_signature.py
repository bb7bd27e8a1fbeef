"""Functions that cannot be objectives are found in their source; what the source does not show is left alone."""

from __future__ import annotations

import ast

import pytest

from sweep.study.signature import why_unfit


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def train(): ...", "takes no argument"),
        ("def train(**keys): ...", "takes no argument"),
        ("def train(lr, size): ...", "needs lr, size"),
        ("def train(trial, *, lr): ...", "needs trial, lr"),
        ("async def train(trial): ...", "is async"),
        ("def train(trial):\n    yield 1", "is a generator"),
        ("class train: ...", "is a class"),
        ("train = lambda: 1", "takes no argument"),
        ("train = 3", "is a value"),
    ],
)
def test_a_function_that_cannot_be_called_with_a_trial(text: str, reason: str) -> None:
    """The reason, and what to write."""
    found = why_unfit(ast.parse(text), "train")
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "text",
    [
        "def train(trial): ...",
        "def train(trial, lr=1, *, fast=True): ...",
        "def train(*args): ...",
        "train = lambda trial: 1",
        "train = wrapped(other)",
        "train, other = one, 2",
        "from there import train",
        "@wrapped\ndef train(lr, size): ...",
        "def train(lr, size): ...\ntrain = wrapped(train)",
        "if True:\n    def train(lr, size): ...\nelse:\n    def train(trial): ...",
        "def train(trial):\n    def inner():\n        yield 1\n    return 1",
    ],
)
def test_what_may_be_an_objective_is_left_alone(text: str) -> None:
    """A wrapper, or another module, decides about it."""
    assert why_unfit(ast.parse(text), "train") is None
