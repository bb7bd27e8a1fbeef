"""Study files that are no study files, or at the edge of what can be computed: planned right, or refused with what to type."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import EXIT_WRONG_INPUT, StudyFileError, SweepError
from sweep.runner.session import run_study
from sweep.search.methods import option_problems
from sweep.search.planner import Planner
from sweep.storage.folder import StudyFolder
from sweep.study.file.reading import given_study, read_study
from sweep.study.file.writing import write_study
from sweep.study.space import Range
from sweep.study.trial import TrialState
from tests.conftest import Cli
from tests.support.observing import Silent
from tests.support.reading import hparams_tags, records

pytestmark = pytest.mark.slow
HEAD = "objective: sweep.objectives.toy:train\nmetric: {name: loss, goal: minimize}\n"
GRID = HEAD + "method: grid\nparameters:\n"
MOST_S = 5.0  # of computing, on a machine that is busy with other tests


def one(domain: str, method: str = "grid", extra: str = "") -> str:
    """Return a study whose parameter `x`, in line 6, has this domain."""
    budget = "" if method == "grid" else "budget: {trials: 4}"
    return f"{HEAD}method: {method}\n{budget or '# no budget'}\nparameters:\n  x: {domain}\n  o: {{values: [1, 2]}}\n{extra}"


def read(folder: Path, text: str | bytes) -> Any:
    """Read a study file as `sweep run` does, in bounded time."""
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    began = time.process_time()
    try:
        return read_study(path, option_problems=option_problems)
    finally:
        assert time.process_time() - began < MOST_S


def refusal(folder: Path, text: str | bytes) -> list[str]:
    """Return the lines of the message with which a file is refused."""
    with pytest.raises(SweepError) as caught:
        read(folder, text)
    error = caught.value
    assert error.exit_code == EXIT_WRONG_INPUT
    lines = str(error).replace(f"{folder}/", "").splitlines()
    assert max(map(len, lines)) < 1000
    if isinstance(error, StudyFileError):
        assert all(re.match(r"  study\.yaml:\d+: ", line) for line in lines[1:]), lines
    return lines


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)
BIG = "1" + "0" * 400
# Of each case: the text, and parts of a line of the message.
NO_YAML: dict[str, tuple[str | bytes, list[str]]] = {
    "an empty file": ("", [":1:", "the file is empty", "sweep docs study-file"]),
    "blank lines only": ("   \n\n  \n", [":1:", "the file is empty"]),
    "comments only": ("# a\n# b\n", [":1:", "has no keys"]),
    "three dashes only": ("---\n", [":1:", "has no keys"]),
    "a word": ("hello", [":1:", "list of `key: value` lines"]),
    "a number": ("42", [":1:", "list of `key: value` lines"]),
    "a list": ("- a\n- b\n", [":1:", "list of `key: value` lines"]),
    "a text block": ("|\n  hello\n", [":1:", "list of `key: value` lines"]),
    "a Python program": ("import torch\n\ndef train(trial):\n    x: int = 3\n", [":3:", "no valid YAML"]),
    "an HTML page": ("<!DOCTYPE html>\n<html><body>x</body></html>\n", ["list of `key: value` lines"]),
    "a NUL byte": (HEAD + "name: a\0b\n", [":3:", "U+0000 is not allowed", "UTF-8"]),
    "a bell": (HEAD + "name: a\ab\n", [":3:", "U+0007 is not allowed"]),
    "an escape of a terminal": (HEAD + "name: \x1b[2J\n", [":3:", "U+001B is not allowed"]),
    "Latin-1": ((HEAD + "name: caf\xe9\n").encode("latin-1"), ["line 3 is not UTF-8", "save it as UTF-8"]),
    "UTF-16": (HEAD.encode("utf-16"), ["not UTF-8", "iconv -f UTF-16 -t UTF-8"]),
    "UTF-16 big endian": (b"\xfe\xff" + HEAD.encode("utf-16-be"), ["not UTF-8", "iconv"]),
    "UTF-16 without a mark": (HEAD.encode("utf-16-le"), ["U+0000 is not allowed", "UTF-8"]),
    "a PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ["line 1 is not UTF-8", "text file"]),
    "a zip file": (b"PK\x03\x04\x14\0\0\0\x08\0", ["U+0003 is not allowed"]),
    "a tab before a key": (GRID + "\tx: {value: 1}\n", [":5:", "indent with spaces, not with tabs"]),
    "a tab after a colon": (HEAD + "method:\tgrid\n", [":3:", "not with tabs"]),
    "an open quote": (HEAD + 'name: "abc\nseed: 3\n', ["begins in line 3", "a quote is not closed"]),
    "an open bracket": (GRID + "  x: {values: [1, 2}\n", [":5:", "a bracket is not closed, or a comma is missing"]),
    "an open brace at the end": (GRID + "  x: {values: [1, 2]\n", ["a bracket is not closed"]),
    "a colon in a value": (HEAD + "name: a: b\n", [":3:", "put quotes around a value that contains a colon"]),
    "an at sign": (HEAD + "name: @foo\n", [":3:", "put quotes around the value"]),
    "a backtick": (HEAD + "name: `foo`\n", [":3:", "put quotes around the value"]),
    "keys of one level indented unlike": (
        GRID + "  x: {value: 1}\n   y: {value: 2}\n",
        [":6:", "indent keys of one level alike"],
    ),
    "an unknown directive": ("%FOO bar\n" + HEAD, ["no valid YAML"]),
    "YAML 1.1": ("%YAML 1.1\n---\n" + one("{values: [yes, 017]}"), [":1:", "YAML 1.2", "remove the line %YAML"]),
    "YAML 9": ("%YAML 9.9\n---\n" + one("{value: 1}"), [":1:", "incompatible YAML document"]),
    "two documents": (one("{value: 1}") + "---\n" + one("{value: 1}"), [":8:", "several documents", "remove the line ---"]),
    "a bomb of aliases": (BOMB, ["more than 50,000 values"]),
    "a bomb of merges": (
        "a: &a {x: 1, y: 2}\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} {{p: *{chr(97 + i)}, q: *{chr(97 + i)}}}\n" for i in range(24)),
        ["more than 50,000 values"],
    ),
    "an alias of itself in a list": ("a: &a [*a]\n", [":1:", "*a is inside of what it stands for"]),
    "an alias of itself in a mapping": ("a: &a {b: *a}\n", [":1:", "*a is inside of what it stands for"]),
    "a merge of itself": ("a: &a\n  <<: *a\n  b: 1\n", [":2:", "*a is inside of what it stands for"]),
    "an alias of nothing": ("a: 1\nb: *nope\n", [":2:", "*nope has no &nope above it"]),
    "a merge of a number": ("<<: 1\n" + HEAD, [":1:", "<< needs a mapping"]),
    "3,000 open brackets": ("a: " + "[" * 3000, [":1:", "nested more than 50 deep"]),
    "3,000 nested braces": ("a: " + "{a: " * 3000 + "1" + "}" * 3000, ["nested more than 50 deep"]),
    "1,500 nested blocks": ("".join(" " * i + "a:\n" for i in range(1500)), [":51:", "nested more than 50 deep"]),
    "3,000 nested dashes": ("a:\n" + "- " * 3000 + "1\n", ["nested more than 50 deep"]),
    "a million characters as a key": (HEAD + "k" * 1_000_000 + ": 1\n", [":3:", "each line is `key: value`"]),
    "a million values": (GRID + f"  x: {{values: [{', '.join(map(str, range(300_000)))}]}}\n", ["50,000 values", "min and max"]),
    "five million bytes": (HEAD + "#" + "x" * 5_000_000, ["more than 4 MiB", "is it a data file?"]),
    "an object of Python": (one("!!python/object:os.system {a: 1}"), [":6:", "parameters.x", "remove the tag"]),
    "a call of Python": (one("{value: !!python/object/apply:os.system ['touch pwned']}"), [":6:", "x.value", "remove the tag"]),
    "a module of Python at the top": ("!!python/module:os\n", [":1:", "list of `key: value` lines"]),
    "a tag of its own": (one("{value: !foo 1}"), [":6:", "x.value", "remove the tag"]),
    "binary data": (one("{value: !!binary aGVsbG8=}"), [":6:", "x.value", "remove the tag"]),
    "a set": (one("{values: !!set {a, b}}"), [":6:", "x.values", "remove the tag"]),
    "an ordered map": ("parameters: !!omap [a: {value: 1}]\n", [":1:", "parameters", "remove the tag"]),
    "an integer of letters": (one("{value: !!int abc}"), [":6:", "x.value", "'abc' is no number"]),
    "a boolean of letters": (one("{value: !!bool maybe}"), [":6:", "x.value", "'maybe' is no bool"]),
    "a key twice": (HEAD + "seed: 1\nseed: 2\n", [":4:", "seed", "the first is in line 3", "keep one of the two"]),
    "a parameter twice": (GRID + "  x: {value: 1}\n  y: {value: 2}\n  x: {value: 3}\n", [":7:", "parameters.x", "in line 5"]),
    "a key of a parameter twice": (one("{value: 1, value: 2}"), [":6:", "parameters.x.value", "keep one of the two"]),
    "null as a key": (GRID + "  ~: {value: 1}\n", [":5:", "a key must be one word"]),
    "true as a key": (HEAD + "true: 3\n", [":3:", "a key must be one word", "quotes"]),
    "a list as a key": (GRID + "  ? [a, b]\n  : {values: [1]}\n", [":5:", "a key must be one word"]),
    "a mapping as a key": (GRID + "  {a: 1}: {values: [1]}\n", [":5:", "a key must be one word"]),
    "a number as a parameter": (GRID + "  1: {values: [1]}\n", [":5:", "parameters.1", "begins with a letter"]),
    "half of a surrogate pair": (one('{value: "\\ud800"}'), [":6:", "x.value", "no file can store"]),
}
NO_VALUES: dict[str, tuple[str | bytes, list[str]]] = {
    "yes, no, on, off": (one("{values: [yes, no, on, off]}"), [":6:", "values[3]", "off is a word in YAML 1.2", "write false"]),
    "Yes": (one("{value: Yes}"), [":6:", "Yes is a word in YAML 1.2", "write true, or 'Yes' in quotes"]),
    "base 60": (one("{values: [1:30]}"), [":6:", "1:30 is a word in YAML 1.2", "write 90, or '1:30' in quotes"]),
    "base 60 as a timeout": (one("{value: 1}", extra="timeout: 1:30:00\n"), [":8:", "timeout", "write 5400"]),
    "infinity": (one("{values: [.inf]}"), [":6:", "must be a finite number", "got inf"]),
    "minus infinity": (one("{min: -.inf, max: 1}", "random"), [":6:", "x.min", "must be a finite number"]),
    "not a number": (one("{value: .nan}"), [":6:", "must be a finite number", "got nan"]),
    "1e400": (one("{value: 1e400}"), [":6:", "must be a finite number"]),
    "5,000 digits": (one("{value: " + "1" * 5000 + "}"), [":6:", "x.value", "5,000 digits is too large"]),
    "4,300 digits": (one("{values: [1, " + "1" * 4300 + "]}"), [":6:", "x.values[1]", "4,300 digits"]),
    "a seed of 5,000 digits": (one("{value: 1}", extra="seed: " + "1" * 5000 + "\n"), [":8:", "seed", "too large"]),
    "350 digits": (one("{value: " + "1" * 350 + "}"), [":6:", "is too large: numbers go to 1.8e308"]),
    "a range to 10^400": (one("{min: 0, max: " + BIG + "}"), [":6:", "x.max", "401 digits"]),
    "a target of 10^400": (one("{value: 1}").replace("minimize}", f"minimize, target: {BIG}}}"), [":2:", "metric.target"]),
    "a bound of 10^400": (one("{value: 1}", extra=f"constraints: {{a: {{max: {BIG}}}}}\n"), [":8:", "constraints.a.max"]),
    "a timeout of 10^400": (one("{value: 1}", extra=f"timeout: {BIG}\n"), [":8:", "timeout", "too large"]),
    "a timeout of infinity": (one("{value: 1}", extra="timeout: .inf\n"), [":8:", "timeout", "must be a duration"]),
    "a timeout of 10^400 hours": (one("{value: 1}", extra=f"timeout: {BIG}h\n"), [":8:", "finite"]),
    "a timeout of nothing": (one("{value: 1}", extra="timeout: 0s\n"), [":8:", "longer than 0 s"]),
    "a timeout that ends in a word": (
        one("{value: 1}", extra="timeout: {after: 1h, then: done}\n"),
        [":8:", "timeout.then", "'done'"],
    ),
    "a condition of 10^400": (GRID + f"  x: {{values: [1, 2]}}\n  y: {{value: 1, when: {{x: {BIG}}}}}\n", [":6:", "when.x"]),
    "a point of 10^400": (one("{min: 0, max: 1.0}", "random", f"enqueue: [{{x: {BIG}}}]\n"), [":8:", "enqueue[0].x"]),
    "a budget of 10^20": (
        HEAD + f"method: random\nbudget: {{trials: {10**20}}}\n",
        [":4:", "budget.trials", "less than or equal"],
    ),
    "10^20 epochs": (HEAD + f"method: random\nbudget: {{epochs: {10**20}}}\n", [":4:", "budget.epochs", "less than or equal"]),
    "10^20 repeats": (one("{value: 1}", extra=f"repeats: {10**20}\n"), [":8:", "repeats.count", "10000"]),
    "10^20 retries": (one("{value: 1}", extra=f"retries: {10**20}\n"), [":8:", "retries", "less than or equal"]),
    "10^20 workers": (one("{value: 1}", extra=f"workers: {{per_device: {10**20}}}\n"), [":8:", "per_device", "at most 1024"]),
    "10^20 threads": (one("{value: 1}", extra=f"workers: {{threads: {10**20}}}\n"), [":8:", "threads", "1024"]),
    "10^20 steps": (one("{value: 1}", extra=f"max_steps: {10**20}\n"), [":8:", "max_steps", "less than or equal"]),
    "no steps": (one("{value: 1}", extra="max_steps: 0\n"), [":8:", "max_steps", "greater than 0"]),
    "a seed of 10^20": (one("{value: 1}", extra=f"seed: {10**20}\n"), [":8:", "seed", "less than or equal"]),
    "a width beyond floats": (one("{min: -1e308, max: 1e308}", "random"), [":6:", "max - min is too large", "log: true"]),
    "a width beyond floats, in a grid": (one("{min: -1e308, max: 1e308, step: 1e307}"), [":6:", "max - min is too large"]),
    "a step of 1e-300": (one("{min: 0, max: 1, step: 1e-300}"), [":6:", "cannot be told apart", "at least 1e-11"]),
    "a step of 1e-300 to draw": (one("{min: 0, max: 1, step: 1e-300}", "tpe"), [":6:", "cannot be told apart"]),
    "a step of 1e-310 to 1e308": (one("{min: 0.0, max: 1e308, step: 1e-310}"), [":6:", "at least 1e+297"]),
    "a step below the digits": (one("{min: 1e16, max: 10000000000000100.0, step: 0.001}"), [":6:", "cannot be told apart"]),
    "a step of zero": (one("{min: 0, max: 1, step: 0}"), [":6:", "step must be above 0"]),
    "a step below zero": (one("{min: 0, max: 1, step: -0.1}"), [":6:", "step must be above 0"]),
    "a step of 10^20": (one("{min: 0, max: 1, step: 1e20}"), [":6:", "at most max - min (1)"]),
    "a range of nothing": (one("{min: 1, max: 1}"), [":6:", "write value: 1"]),
    "a log range from 0": (one("{min: 0, max: 1, log: true}", "random"), [":6:", "needs min above 0"]),
    "a log range below 0": (one("{min: -1, max: 1, log: true}", "random"), [":6:", "needs min above 0"]),
    "floats that are the same": (one("{values: [0.1, 0.10000000000000001]}"), [":6:", "0.1 is listed twice"]),
    "zero and minus zero": (one("{values: [0.0, -0.0]}"), [":6:", "is listed twice"]),
    "1 and 1.0": (one("{values: [1, 1.0]}"), [":6:", "listed twice (the same as 1 to Python)"]),
    "ints beyond floats to draw": (one("{min: 9007199254740993, max: 9007199254740999}", "random"), [":6:", "9007199254740992"]),
    "ints beyond 2^63 to draw": (one("{min: 1, max: 9223372036854775811}", "tpe"), [":6:", "range of floats"]),
    "ints beyond floats to prune": (
        one("{min: 9007199254740993, max: 9007199254740999}", extra="pruner: {type: median}\n"),
        [":6:", "range of floats"],
    ),
    "a grid of 10^20 points": (one(f"{{min: 0, max: {10**20}}}"), [":5:", "10^20 trials has no end", "budget: {trials: 50}"]),
    "a grid of 10^1200 points": (GRID + "".join(f"  p{i}: {{min: 0, max: 999999}}\n" for i in range(200)), [":4:", "10^1"]),
    "a point beyond 2^63 of a grid": (
        one(f"{{min: 0, max: {10**20}}}", extra=f"budget: {{trials: 3}}\nenqueue: [{{x: {10**20 - 1}}}]\n"),
        [":9:", "too far back in a grid"],
    ),
    "conditions without end": (
        GRID
        + "".join(f"  a{i}: {{values: [1, 2]}}\n" for i in range(30))
        + "".join(f"  b{i}: {{values: [1, 2], when: {{a{i}: 1}}}}\n" for i in range(30)),
        [":4:", "too many combinations", "fewer parameters with conditions"],
    ),
    "a circle of conditions": (
        GRID + "  x: {values: [1, 2], when: {y: 1}}\n  y: {values: [1, 2], when: {x: 1}}\n",
        [":5:", "there is no parameter 'y' above x", "put y above x"],
    ),
    "nothing below parameters": (GRID, [":4:", "parameters: missing, and a grid needs them", "write the parameters"]),
    "a parameter without a domain": (GRID + "  x:\n", [":5:", "write x: {value: 0.1}, or {values: [0.1, 0.01]}"]),
    "a million characters as a goal": (HEAD.replace("minimize", "m" * 1_000_000), [":2:", "metric.goal", "mmm..."]),
    "a name with a line break": (HEAD + 'name: "a\\nb"\n', [":3:", "must be a folder name"]),
    "a name that leads elsewhere": (HEAD + "name: ../x\n", [":3:", "must be a folder name"]),
}


@pytest.mark.parametrize(("text", "parts"), [*NO_YAML.values(), *NO_VALUES.values()], ids=[*NO_YAML, *NO_VALUES])
def test_a_file_is_refused_with_its_line_and_what_to_write(here: Path, text: str | bytes, parts: list[str]) -> None:
    """In bounded time, without a traceback, and nothing else comes into being."""
    lines = refusal(here, text)
    assert any(all(part in line for part in parts) for line in lines) or all(part in "\n".join(lines) for part in parts), lines
    assert [path.name for path in here.iterdir()] == ["study.yaml"]


SOUND: dict[str, tuple[str, list[Any]]] = {
    "a mark before UTF-8": ("\ufeff" + one("{values: [1]}"), [1]),
    "lines of Windows": (one("{values: [1]}").replace("\n", "\r\n"), [1]),
    "lines of an old Mac": (one("{values: [1]}").replace("\n", "\r"), [1]),
    "JSON": (
        json.dumps(
            {"parameters": {"x": {"values": [1]}, "o": {"value": 1}}}
            | {"objective": "sweep.objectives.toy:train", "metric": {"name": "loss", "goal": "minimize"}, "method": "grid"}
        ),
        [1],
    ),
    "JSON with tabs": (
        json.dumps(
            {"parameters": {"x": {"values": [1]}, "o": {"value": 1}}}
            | {"objective": "sweep.objectives.toy:train", "metric": {"name": "loss", "goal": "minimize"}, "method": "grid"},
            indent="\t",
        ),
        [1],
    ),
    "dashes before and dots after": ("---\n" + one("{values: [1]}") + "...\n", [1]),
    "the directive of YAML 1.2": ("%YAML 1.2\n---\n" + one("{values: [1]}"), [1]),
    "no line break at the end": (one("{values: [1]}").rstrip(), [1]),
    "1e-3 without a dot": (one("{values: [1e-3, 1E+2, .5, 5., +3]}"), [0.001, 100.0, 0.5, 5.0, 3]),
    "1_000": (one("{values: [1_000, 1_0.5]}"), [1000, 10.5]),
    "octal and hexadecimal": (one("{values: [0o17, 0x1F, 0b11]}"), [15, 31, 3]),
    "017 is 17 in YAML 1.2": (one("{values: [017]}"), [17]),
    "dates are texts": (
        one("{values: [2024-01-01, 2024-01-02T10:00:00Z, 2024-13-45]}"),
        ["2024-01-01", "2024-01-02T10:00:00Z", "2024-13-45"],
    ),
    "quoted words": (one("{values: ['yes', \"no\", '1e3', '1:30', 'null']}"), ["yes", "no", "1e3", "1:30", "null"]),
    "y and n are texts": (one("{values: [y, n]}"), ["y", "n"]),
    "null": (one("{values: [null, 1]}"), [None, 1]),
    "a tag of a string": (one("{values: [!!str 1, !!float 2, !!int 3]}"), ["1", 2.0, 3]),
    "an anchor and an alias": (GRID + "  x: &a {values: [1, 2]}\n  y: *a\n", [1, 2]),
    "a merge": (GRID + "  x: {values: [1, 2]}\n  y: &b {min: 0, max: 1, step: 0.5}\n  z:\n    <<: *b\n    max: 2\n", [1, 2]),
    "a list of merges": (GRID + "  x: &a {values: [1, 2]}\n  y: {<<: [*a]}\n", [1, 2]),
    "a text of a million characters": (one("{values: ['" + "a" * 1_000_000 + "']}"), ["a" * 1_000_000]),
    "floats that differ in the last bit": (one("{values: [0.3, 0.30000000000000004]}"), [0.3, 0.30000000000000004]),
    "ints above 2^53": (one("{min: 9007199254740992, max: 9007199254740994}"), [2**53, 2**53 + 1, 2**53 + 2]),
    "ints above 2^63": (one("{min: 9223372036854775807, max: 9223372036854775809}"), [2**63 - 1, 2**63, 2**63 + 1]),
    "ints below -2^63": (one("{values: [-9223372036854775809, 18446744073709551616]}"), [-(2**63) - 1, 2**64]),
    "ints of 300 digits": (one("{values: [" + "1" * 300 + "]}"), [int("1" * 300)]),
    "the smallest and the largest float": (one("{values: [5e-324, 1.7976931348623157e308]}"), [5e-324, 1.7976931348623157e308]),
    "10^7 values and a condition": (GRID + "  x: {min: 0, max: 10000000}\n  y: {values: [1, 2], when: {x: 1}}\n", list(range(3))),
    "steps that are just far enough apart": (one("{min: 0, max: 2e-11, step: 1e-11}"), [0.0, 1e-11, 2e-11]),
    "a grid of 10^30 points and a budget": (one(f"{{min: 0, max: {10**30}}}", extra="budget: {trials: 4}\n"), [0, 1]),
    "a chain of 300 conditions": (
        GRID
        + "  x: {values: [1, 2]}\n"
        + "".join(f"  p{i}: {{values: [1, 2], when: {{{f'p{i - 1}' if i else 'x'}: 1}}}}\n" for i in range(300)),
        [1, 2],
    ),
}


@pytest.mark.parametrize(("text", "values"), SOUND.values(), ids=SOUND)
def test_an_odd_file_means_what_it_says(here: Path, text: str, values: list[Any]) -> None:
    """The values and their types are those of YAML 1.2, in order; the copy in the study's folder means the same."""
    study = read(here, text)
    planner = Planner(study)
    found: list[Any] = []
    while len(set(map(repr, found))) < len(values) and len(found) < 1000 and (asked := planner.ask()) is not None:
        found.append(asked[1]["x"])
    domain = study.parameters["x"]
    distinct = list(domain.values) if hasattr(domain, "values") else list({repr(value): value for value in found}.values())
    assert [(type(value), value) for value in distinct[: len(values)]] == [(type(value), value) for value in values]
    (here / "copy.yaml").write_text(write_study(study), encoding="utf-8")
    assert read_study(here / "copy.yaml") == study


EDGES = {
    "a log range over all floats": "{min: 5e-324, max: 1.7976931348623157e308, log: true}",
    "a log range of subnormal floats": "{min: 5e-324, max: 5e-320, log: true}",
    "a log range at the top": "{min: 1e308, max: 1.7976931348623157e308, log: true}",
    "a log range of one bit": "{min: 1.0, max: 1.0000000000000002, log: true}",
    "a range of one bit": "{min: 0.1, max: 0.10000000000000002}",
    "a range of one bit above 2^53": "{min: 1e16, max: 10000000000000002.0}",
    "half of the floats": "{min: 0.0, max: 1.7976931348623157e308}",
    "10^20 whole numbers": f"{{min: 0, max: {10**20}}}",
    "whole numbers around zero": f"{{min: {-(2**53)}, max: {2**53}}}",
    "10^11 steps": "{min: 0, max: 1, step: 1e-11}",
    "two floats of one bit": "{values: [0.3, 0.30000000000000004]}",
    "words and numbers": "{values: [1, '1', true, null, 2.5]}".replace("1, '1', true", "1, '1', 'true'"),
    "ints above 2^63 in a list": "{values: [9223372036854775808, 9223372036854775809]}",
}


@pytest.mark.parametrize("method", ["random", "tpe", "qmc", "cmaes", "gp"])
@pytest.mark.parametrize("domain", EDGES.values(), ids=EDGES)
@pytest.mark.filterwarnings("ignore")
def test_what_is_drawn_at_the_edge_is_inside(here: Path, domain: str, method: str) -> None:
    """Four proposals, of Python's own types; a second session goes on with the same trials."""
    study = read(here, one(domain, method, "seed: 4294967296\n"))
    planner, known = Planner(study), []
    for _ in range(4):
        asked = planner.ask()
        assert asked is not None
        number, params = asked
        value, of = params["x"], study.parameters["x"]
        if isinstance(of, Range):
            assert type(value) is (int if of.integer else float)
            assert of.low <= value <= of.high
            assert math.isfinite(value)
        else:
            assert any(type(value) is type(other) and value == other for other in of.values)
        known.append((number, params))
        planner.tell(number, TrialState.COMPLETE, 1.0 / (number + 1), {"loss": 1.0 / (number + 1)})
    from tests.support.studies import run_record

    again = Planner(study, [run_record(study, number, params, 1.0) for number, params in known])
    assert again.ask() is None


RUN = {
    "ints above 2^63 in a grid": ("{min: 9223372036854775807, max: 9223372036854775809}", "grid", [2**63 - 1, 2**63, 2**63 + 1]),
    "ints of 300 digits": ("{values: [" + "1" * 300 + "]}", "grid", [int("1" * 300)]),
    "floats that differ in the last bit": ("{values: [0.3, 0.30000000000000004]}", "random", [0.3, 0.30000000000000004]),
    "the ends of all floats": ("{values: [5e-324, 1.7976931348623157e308]}", "grid", [5e-324, 1.7976931348623157e308]),
    "a text with a line break and a slash": ('{values: ["a\\nb/../c"]}', "grid", ["a\nb/../c"]),
    "a text of a million characters": ("{values: ['" + "a" * 1_000_000 + "']}", "grid", ["a" * 1_000_000]),
    "an empty text": ("{values: ['', ' ']}", "grid", ["", " "]),
}


@pytest.mark.parametrize(("domain", "method", "values"), RUN.values(), ids=RUN)
def test_an_odd_value_reaches_the_trial_and_comes_back(here: Path, domain: str, method: str, values: list[Any]) -> None:
    """Through the database, the run folders and TensorBoard's records; the study is complete when it is run again."""
    text = (
        one(domain, method).replace("  x:", "  value:").replace("objective: sweep.objectives.toy:train", "objective: mine:train")
    )
    (here / "mine.py").write_text("def train(trial):\n    trial.report(1, {'loss': 1.0})\n")
    study = read(here, text)
    folder = StudyFolder(root=here / "runs" / "study")
    for _ in range(2):
        assert run_study(study, folder, here / "study.yaml", Silent(), inline=True).exit_code == 0
    found = records(folder.root)
    assert all(record.state is TrialState.COMPLETE for record in found)
    seen = list({repr(record.params["value"]): record.params["value"] for record in found}.values())
    assert sorted(map(repr, seen)) == sorted(map(repr, values))
    assert "_hparams_/session_start_info" in hparams_tags(folder.root / found[0].folder)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "study.yaml")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "study.yaml"))


def _loop(folder: Path) -> None:
    (folder / "study.yaml").symlink_to("study.yaml")


def _dangling(folder: Path) -> None:
    (folder / "study.yaml").symlink_to("nowhere.yaml")


def _device(name: str) -> Any:
    return lambda folder: (folder / "study.yaml").symlink_to(name)


NO_FILES = {
    "a pipe": (_fifo, "pipe"),
    "a socket": (_socket, "socket"),
    "/dev/zero": (_device("/dev/zero"), "device"),
    "/dev/null": (_device("/dev/null"), "device"),
    "a link to nothing": (_dangling, "there is no study file or folder study.yaml"),
    "a link to itself": (_loop, "study.yaml"),
    "a folder": (lambda folder: (folder / "study.yaml").mkdir(), "is not the folder of a study that has run"),
}


@pytest.mark.parametrize("verb", ["plan", "run", "check", "status", "trials"])
@pytest.mark.parametrize(("make", "part"), NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_refused_at_once(cli: Cli, here: Path, make: Any, part: str, verb: str) -> None:
    """By the real command line, which waits for nobody who would write into it."""
    make(here)
    done = cli(verb, "study.yaml", timeout=30)
    assert done.code == EXIT_WRONG_INPUT
    assert part in done.err
    assert "Traceback" not in done.err
    assert "do:" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(cli: Cli, here: Path) -> None:
    """With what shows its permissions."""
    (here / "study.yaml").write_text(one("{value: 1}"))
    (here / "study.yaml").chmod(0)
    done = cli("plan", "study.yaml")
    assert (done.code, "Permission denied" in done.err, "ls -l study.yaml" in done.err) == (EXIT_WRONG_INPUT, True, True)


ON_THE_COMMAND_LINE = [
    "a NUL byte",
    "UTF-16",
    "a PNG",
    "a bomb of aliases",
    "3,000 open brackets",
    "an empty file",
    "two documents",
    "an object of Python",
    "five million bytes",
    "a key twice",
]


@pytest.mark.parametrize("case", ON_THE_COMMAND_LINE)
def test_the_command_line_says_the_same(cli: Cli, here: Path, case: str) -> None:
    """Exit code 2, the parts of the message, no traceback, nothing on stdout, and no folder."""
    text, parts = NO_YAML[case]
    (here / "study.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    done = cli("run", "study.yaml", timeout=60)
    assert (done.code, done.out) == (EXIT_WRONG_INPUT, "")
    assert all(part in done.err for part in parts), done.err
    assert "Traceback" not in done.err
    assert not (here / "runs").exists()


def test_a_pipe_that_is_written_to_is_refused_too(cli: Cli, here: Path) -> None:
    """The text would be gone when the study is resumed."""
    _fifo(here)
    writer = threading.Thread(target=lambda: (here / "study.yaml").open("w").close(), daemon=True)
    writer.start()
    done = cli("plan", "study.yaml", timeout=30)
    assert (done.code, "save its text in a file" in done.err) == (EXIT_WRONG_INPUT, True)
    with (here / "study.yaml").open():  # lets the writer go
        writer.join()


DICTS: dict[str, tuple[dict[str, Any], str]] = {
    "an int of 5,000 digits": ({"parameters": {"x": {"value": 10**5000}}}, "is too large"),
    "a range of 10^20": ({"parameters": {"x": {"values": range(10**20)}}}, "more than 50,000 values"),
    "a set": ({"parameters": {"x": {"values": {1, 2}}}}, "this is of type set"),
    "a generator": ({"parameters": {"x": {"values": (i for i in range(3))}}}, "this is of type generator"),
    "bytes": ({"parameters": {"x": {"value": b"a"}}}, "this is of type bytes"),
    "a complex number": ({"parameters": {"x": {"value": 1j}}}, "this is of type complex"),
    "an object": ({"parameters": {"x": {"value": object()}}}, "this is of type object"),
    "a class": ({"parameters": {"x": {"value": dict}}}, "give the function as sweep.run(study, function)"),
    "half of a surrogate pair": ({"parameters": {"x": {"value": "\udc80"}}}, "no file can store"),
    "a float that is none": ({"parameters": {"x": {"value": math.nan}}}, "must be a finite number"),
}


@pytest.mark.parametrize(("keys", "part"), DICTS.values(), ids=DICTS)
def test_a_dict_is_refused_as_a_file_is(here: Path, keys: dict[str, Any], part: str) -> None:
    """With the key, in bounded time."""
    base = {
        "name": "a",
        "objective": "sweep.objectives.toy:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "method": "grid",
    }
    with pytest.raises(StudyFileError, match=re.escape(part)):
        given_study(base | keys, import_dir=here)


def test_a_dict_that_contains_itself_is_refused() -> None:
    """As too deep."""
    keys: dict[str, Any] = {"name": "a"}
    keys["parameters"] = keys
    with pytest.raises(StudyFileError, match="contains itself"):
        given_study(keys, import_dir=Path())
