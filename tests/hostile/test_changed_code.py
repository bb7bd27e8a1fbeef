"""Code that changes between two sessions: every change that can change a result is seen, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sweep
from sweep.study.training_code import code_of
from tests.conftest import Cli
from tests.support.interrupting import interrupt, reached
from tests.support.reading import hparams_tags
from tests.support.studies import study_spec, study_text, write_study

pytestmark = pytest.mark.slow

Files = Mapping[str, str | bytes]
TRAIN = """
import helper

def train(trial):
    for step in trial.steps(trial.params["steps"]):
        trial.report(step, {"score": trial.params["x"] * helper.FACTOR}, state={"step": step})
"""
HELPER = "FACTOR = 2\n"


@dataclass(frozen=True)
class Edit:
    """Files before and after an edit; an empty text removes the file; `same` says that the code is still the same."""

    before: Files
    after: Files
    same: bool = False
    objective: str | None = "mine:train"
    command: str | None = None


def write(here: Path, files: Files) -> None:
    for name, text in files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text == "":
            path.unlink()
        else:
            path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())


def of_body(before: str, after: str, *, same: bool = False) -> Edit:
    """Return an edit inside the objective's function."""
    whole = "def train(trial):\n{}\n"
    texts = [whole.format(textwrap.indent(textwrap.dedent(text).strip("\n"), "    ")) for text in (before, after)]
    return Edit({"mine.py": texts[0]}, {"mine.py": texts[1]}, same)


def imported(path: str, statement: str, others: Files | None = None, *, same: bool = False) -> Edit:
    """Return an edit of a file that the objective imports by this statement."""
    files = {"mine.py": f"{statement}\ndef train(trial): pass\n", path: "A = 1\n"}
    return Edit({**files, **(others or {})}, {path: "A = 2\n"}, same)


MODELS = {"models/__init__.py": "B = 1\n", "models/a.py": "A = 1\n", "models/b.py": "A = 1\n"}
EDITS: dict[str, Edit] = {
    # No change.
    "a comment": of_body("return 1", "# why\nreturn 1  # one", same=True),
    "a docstring": of_body('"""One."""\nreturn 1', '"""Two."""\nreturn 1', same=True),
    "a new docstring": of_body("return 1", '"""New."""\nreturn 1', same=True),
    "line breaks": of_body("return f(1, 2)", "return f(\n    1,\n    2,\n)", same=True),
    "quotes": of_body("return 'a'", 'return "a"', same=True),
    "parentheses": of_body("return 1 + 2 * 3", "return (1 + (2 * 3))", same=True),
    "underscores in a number": of_body("return 1000000", "return 1_000_000", same=True),
    "hexadecimal": of_body("return 255", "return 0xFF", same=True),
    "semicolons": of_body("a = 1; return a", "a = 1\nreturn a", same=True),
    "a pass beside a docstring": of_body('"""Nothing."""', "pass", same=True),
    "spaces for tabs": Edit({"mine.py": "def train(t):\n\treturn 1\n"}, {"mine.py": "def train(t):\n        return 1\n"}, True),
    "line ends of Windows": Edit(
        {"mine.py": "def train(t):\n    return 1\n"}, {"mine.py": b"def train(t):\r\n    return 1\r\n"}, True
    ),
    "a byte order mark": Edit(
        {"mine.py": "def train(t): return 1\n"}, {"mine.py": b"\xef\xbb\xbfdef train(t): return 1\n"}, True
    ),
    "another encoding": Edit(
        {"mine.py": "def train(t): return 'caf\u00e9'\n"},
        {"mine.py": "# coding: latin-1\ndef train(t): return 'caf\u00e9'\n".encode("latin-1")},
        True,
    ),
    "a docstring of a module": Edit(
        {"mine.py": "def train(t): return 1\n"}, {"mine.py": '"""Doc."""\ndef train(t): return 1\n'}, True
    ),
    "a docstring of a class": Edit(
        {"mine.py": 'class A:\n    """One."""\n    b = 1\ndef train(t): pass\n'},
        {"mine.py": 'class A:\n    """Two."""\n    b = 1\ndef train(t): pass\n'},
        True,
    ),
    "a file that is not imported": Edit(
        {"mine.py": TRAIN, "helper.py": HELPER, "other.py": "A = 1\n"}, {"other.py": "A = 2\n"}, True
    ),
    "a new file that is not imported": Edit({"mine.py": TRAIN, "helper.py": HELPER}, {"other.py": "A = 2\n"}, True),
    "compiled files": Edit({"mine.py": TRAIN, "helper.py": HELPER}, {"__pycache__/helper.cpython-311.pyc": b"\0\1\2"}, True),
    "an import for a type checker": Edit(
        {
            "mine.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import types_only\ndef train(t): pass\n",
            "types_only.py": "A = 1\n",
        },
        {"types_only.py": "A = 2\n"},
        True,
    ),
    "a results folder beside it": Edit({"mine.py": TRAIN, "helper.py": HELPER}, {"runs/study/mine.py": "A = 2\n"}, True),
    "a data file": Edit({"mine.py": "def train(t): return open('data.csv')\n", "data.csv": "1\n"}, {"data.csv": "2\n"}, True),
    # A change.
    "a constant": of_body("return 1", "return 2"),
    "an integer for a float": of_body("return 1", "return 1.0"),
    "true for one": of_body("return 1", "return True"),
    "a minus": of_body("return 1", "return -1"),
    "an operator": of_body("return a + b", "return a - b"),
    "the order of statements": of_body("a()\nb()", "b()\na()"),
    "the depth of a statement": of_body("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
    "a number of many digits": of_body(f"return 0x{'f' * 6000}", f"return 0x{'f' * 5999}e"),
    "a default": Edit({"mine.py": "def train(t, a=1): return a\n"}, {"mine.py": "def train(t, a=2): return a\n"}),
    "a decorator": Edit({"mine.py": "def train(t): return 1\n"}, {"mine.py": "def d(f): return f\n@d\ndef train(t): return 1\n"}),
    "a global": Edit({"mine.py": "A = 1\ndef train(t): return A\n"}, {"mine.py": "A = 2\ndef train(t): return A\n"}),
    "a text in a call": of_body("return f('a')", "return f('b')"),
    "an imported module": Edit({"mine.py": TRAIN, "helper.py": HELPER}, {"helper.py": "FACTOR = 3\n"}),
    "an import in a function": imported("inner.py", "def f():\n    import inner"),
    "an import in a try": imported("inner.py", "try:\n    import inner\nexcept ImportError:\n    pass"),
    "an import under another name": imported("inner.py", "import inner as outer"),
    "a name from a module": imported("inner.py", "from inner import A"),
    "a star import": imported("inner.py", "from inner import *"),
    "an import by name": imported("inner.py", "import importlib\nm = importlib.import_module('inner')"),
    "a submodule by name": imported("pack/inner.py", "from importlib import import_module\nm = import_module('pack.inner')"),
    "an import by its dunder": imported("inner.py", "m = __import__('inner')"),
    "a submodule": imported("pack/inner.py", "import pack.inner", {"pack/__init__.py": "B = 1\n"}),
    "a submodule from a package": imported("pack/inner.py", "from pack import inner", {"pack/__init__.py": "B = 1\n"}),
    "a package's init": imported("pack/__init__.py", "import pack.inner", {"pack/inner.py": "B = 1\n"}),
    "a namespace package": imported("pack/inner.py", "import pack.inner"),
    "a nested namespace package": imported("a/b/c/inner.py", "import a.b.c.inner"),
    "a star import of a package": imported("pack/inner.py", "from pack import *", {"pack/__init__.py": "__all__ = ['inner']\n"}),
    "an import of an import": imported("third.py", "import second", {"second.py": "import third\n"}),
    "modules that import each other": imported("third.py", "import second", {"second.py": "import third, mine\n"}),
    "a relative import": Edit(
        {
            "mine.py": "import pack.outer\ndef train(t): pass\n",
            "pack/outer.py": "from . import inner\n",
            "pack/inner.py": "A = 1\n",
        },
        {"pack/inner.py": "A = 2\n"},
    ),
    "a relative import of a name": Edit(
        {"mine.py": "import p.outer\ndef train(t): pass\n", "p/outer.py": "from .inner import A\n", "p/inner.py": "A = 1\n"},
        {"p/inner.py": "A = 2\n"},
    ),
    "a relative import from above": Edit(
        {"mine.py": "import p.q.outer\ndef train(t): pass\n", "p/q/outer.py": "from ..inner import A\n", "p/inner.py": "A = 1\n"},
        {"p/inner.py": "A = 2\n"},
    ),
    "an init that imports its submodule": Edit(
        {"mine.py": "import p\ndef train(t): pass\n", "p/__init__.py": "from .inner import A\n", "p/inner.py": "A = 1\n"},
        {"p/inner.py": "A = 2\n"},
    ),
    "an objective in a package": Edit(
        {"p/mine.py": "from .inner import A\ndef train(t): pass\n", "p/inner.py": "A = 1\n"},
        {"p/inner.py": "A = 2\n"},
        objective="p.mine:train",
    ),
    "a module that hides one of the standard library": imported("fractions.py", "import fractions"),
    "a module that is removed": Edit(
        {"mine.py": "try:\n    import extra\nexcept ImportError: pass\ndef train(t): pass\n", "extra.py": "A = 1\n"},
        {"extra.py": ""},
    ),
    "a module that appears": Edit(
        {"mine.py": "try:\n    import extra\nexcept ImportError: pass\ndef train(t): pass\n"}, {"extra.py": "A = 1\n"}
    ),
    "a compiled module": Edit(
        {"mine.py": "import fast\ndef train(t): pass\n", "fast.abi3.so": b"\x7fELF1"}, {"fast.abi3.so": b"\x7fELF2"}
    ),
    "a file that is no Python": Edit(
        {"mine.py": "import broken\ndef train(t): pass\n", "broken.py": "def (\n"}, {"broken.py": "def ((\n"}
    ),
    "a file with a null byte": Edit(
        {"mine.py": "import broken\ndef train(t): pass\n", "broken.py": b"a = 1\0\n"}, {"broken.py": b"a = 2\0\n"}
    ),
    "a file that is too deep": Edit(
        {"mine.py": "import deep\ndef train(t): pass\n", "deep.py": f"a = {'(' * 300}1{')' * 300}\n"},
        {"deep.py": f"a = {'(' * 300}2{')' * 300}\n"},
    ),
    "a sum of thousands of terms": Edit(
        {"mine.py": "import long\ndef train(t): pass\n", "long.py": f"a = {'+'.join(['1'] * 3000)}\n"},
        {"long.py": f"a = {'+'.join(['1'] * 2999 + ['2'])}\n"},
    ),
    "a program that it starts": Edit(
        {"mine.py": "import runpy\ndef train(t): runpy.run_path('part.py')\n", "part.py": "A = 1\n"}, {"part.py": "A = 2\n"}
    ),
    "a shell script that it starts": Edit(
        {"mine.py": "import os\ndef train(t): os.system('./part.sh')\n", "part.sh": "echo 1\n"}, {"part.sh": "echo 2\n"}
    ),
    # Imports by a name that is computed, and from folders that the code adds.
    "an import of a computed name": imported("models/a.py", "m = importlib.import_module(f'models.{name}')", MODELS),
    "an import of a joined name": imported("models/a.py", "m = importlib.import_module('models.' + name)", MODELS),
    "an import of a formatted name": imported("models/a.py", "m = import_module('models.%s' % name)", MODELS),
    "an import of a name in a table": imported("models/a.py", "m = import_module({'a': 'models.a'}[name])", MODELS),
    "an import by keyword": imported("models/a.py", "m = import_module(name='models.a')", MODELS),
    "an import relative to a named package": imported("models/a.py", "m = import_module('.a', package='models')", MODELS),
    "an import of a computed relative name": imported("models/a.py", "m = import_module('.' + name, 'models')", MODELS),
    "an importer with another name": imported("inner.py", "from importlib import import_module as get\nm = get('inner')"),
    "a name that is located": imported("models/a.py", "import pydoc\nm = pydoc.locate('models.a.Net')", MODELS),
    "a module that is run": imported("models/a.py", "import subprocess\nsubprocess.run(['python', '-m', 'models.a'])", MODELS),
    "all submodules in a loop": imported(
        "models/a.py",
        "import models",
        {"models/__init__.py": "import pkgutil\nfor m in pkgutil.iter_modules(__path__): get(f'{__name__}.{m.name}')\n"},
    ),
    "submodules on demand": imported(
        "models/a.py",
        "import models",
        {"models/__init__.py": "def __getattr__(name): return import_module('.' + name, __name__)\n"},
    ),
    "more exported submodules": imported(
        "p/inner.py", "from p import *", {"p/__init__.py": "__all__ = []\n__all__ += ['inner']\n"}
    ),
    "exported submodules with a type": imported(
        "p/inner.py", "from p import *", {"p/__init__.py": "__all__: list[str] = ['inner']\n"}
    ),
    "a folder added to the path": imported(
        "src/inner.py", "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'src'))\nimport inner"
    ),
    "a folder added to the path later": imported("src/inner.py", "import inner, sys\nsys.path.append('src')"),
    "a folder added to the path elsewhere": imported(
        "src/inner.py", "import places\nimport inner", {"places.py": "import site\nsite.addsitedir('src')\n"}
    ),
    "the folder above added to the path": imported(
        "../inner.py", "import sys\nfrom pathlib import Path\nsys.path.append(str(Path(__file__).parent.parent))\nimport inner"
    ),
    "a folder of a folder above": imported(
        "../src/inner.py", "import sys\nsys.path.append(str(Path(__file__).parents[1] / 'src'))\nimport inner"
    ),
    "a module that no code of these names": imported("inner.py", "m = import_module('models.a')", MODELS, same=True),
    # Commands.
    "a command's script": Edit({"go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="python go.py ${args}"),
    "a comment in a command's script": Edit(
        {"go.py": "A = 1\n"}, {"go.py": "A = 1  # one\n"}, True, command="python go.py ${args}"
    ),
    "an import of a command's script": Edit(
        {"go.py": "import helper\n", "helper.py": HELPER}, {"helper.py": "FACTOR = 3\n"}, command="python go.py ${args}"
    ),
    "an import beside a script in a folder": Edit(
        {"src/go.py": "import helper\n", "src/helper.py": HELPER},
        {"src/helper.py": "FACTOR = 3\n"},
        command="python src/go.py ${args}",
    ),
    "an option of the interpreter": Edit({"go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="python -u -O go.py ${args}"),
    "a shell script": Edit({"go.sh": "echo 1\n"}, {"go.sh": "echo 2\n"}, command="bash go.sh ${args}"),
    "a comment in a shell script": Edit({"go.sh": "echo 1\n"}, {"go.sh": "# one\necho 1\n"}, command="bash go.sh ${args}"),
    "a program without a suffix": Edit({"go": "#!/bin/sh\necho 1\n"}, {"go": "#!/bin/sh\necho 2\n"}, command="./go ${args}"),
    "a module of a command": Edit({"p/go.py": "A = 1\n"}, {"p/go.py": "A = 2\n"}, command="python -m p.go ${args}"),
    "a package of a command": Edit(
        {"p/__init__.py": "A = 1\n", "p/__main__.py": "A = 1\n"}, {"p/__main__.py": "A = 2\n"}, command="python -m p ${args}"
    ),
    "a folder as a program": Edit({"p/__main__.py": "A = 1\n"}, {"p/__main__.py": "A = 2\n"}, command="python p ${args}"),
    "a file of settings": Edit(
        {"go.py": "A = 1\n", "c.yaml": "a: 1\n"}, {"c.yaml": "a: 2\n"}, command="python go.py --config=c.yaml ${args}"
    ),
    "a file that the script writes": Edit(
        {"go.py": "A = 1\n", "out.csv": "1\n"}, {"out.csv": "2\n"}, True, command="python go.py --out out.csv ${args}"
    ),
    "a script that a shell script runs": Edit(
        {"go.sh": 'python "$HERE/go.py" "$@"\n', "go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="bash go.sh ${args}"
    ),
    "an import of a script that a shell script runs": Edit(
        {"go.sh": "cd src && python go.py\n", "src/go.py": "import helper\n", "src/helper.py": HELPER},
        {"src/helper.py": "FACTOR = 3\n"},
        command="bash go.sh ${args}",
    ),
    "a module that a shell script runs": Edit(
        {"go.sh": "PYTHONPATH=src python -m p.go\n", "src/p/go.py": "A = 1\n"},
        {"src/p/go.py": "A = 2\n"},
        command="bash go.sh ${args}",
    ),
    "a shell script that a shell script reads": Edit(
        {"go.sh": ". ./env.sh\n", "env.sh": "export A=1\n"}, {"env.sh": "export A=2\n"}, command="sh go.sh ${args}"
    ),
    "a script in a shell's text": Edit({"go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="bash -c 'python go.py --x=${x}'"),
    "an import in Python's text": Edit({"go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="python -c 'import go; go.f(${x})'"),
    "an import of a program without a suffix": Edit(
        {"go": "#!/usr/bin/env python3\nimport helper\n", "helper.py": HELPER},
        {"helper.py": "FACTOR = 3\n"},
        command="./go ${args}",
    ),
    "a comment in a program without a suffix": Edit(
        {"go": "#!/usr/bin/env python3\nA = 1\n"}, {"go": "#!/usr/bin/env python3\n# one\nA = 1\n"}, True, command="./go ${args}"
    ),
    "a script above the study": Edit({"../go.py": "A = 1\n"}, {"../go.py": "A = 2\n"}, command="python ../go.py ${args}"),
    "an import of a script above the study": Edit(
        {"../go.py": "import helper\n", "../helper.py": HELPER},
        {"../helper.py": "FACTOR = 3\n"},
        command="python ../go.py ${args}",
    ),
    "data above the study": Edit(
        {"go.py": "A = 1\n", "../data.csv": "1\n"}, {"../data.csv": "2\n"}, True, command="python go.py ../data.csv ${args}"
    ),
    "scripts of one name": Edit(
        {"../a/go.py": "A = 1\n", "../b/go.py": "A = 1\n"}, {"../b/go.py": "A = 2\n"}, command="python ../a/go.py ../b/go.py ${x}"
    ),
    "a script that a parameter names": Edit({"go_a.py": "A = 1\n"}, {"go_a.py": "A = 2\n"}, command="python go_${x}.py ${args}"),
    "settings that a parameter names": Edit(
        {"go.py": "A = 1\n", "c/a.yaml": "a: 1\n"}, {"c/a.yaml": "a: 2\n"}, command="python go.py --config=c/${x}.yaml"
    ),
    "a script behind a wrapper": Edit({"go.py": "A = 1\n"}, {"go.py": "A = 2\n"}, command="env A=1 python go.py ${args}"),
}


def digest(here: Path, edit: Edit) -> str:
    keys: dict[str, Any] = {"command": edit.command} if edit.command else {}
    return code_of(
        study_spec({"x": [1, "a"]}, import_dir=here, objective=None if edit.command else edit.objective, **keys)
    ).digest


@pytest.mark.parametrize("name", EDITS)
def test_an_edit(name: str, here: Path) -> None:
    """It is a change, or it is none; to undo it is to have the old code again; the same folder elsewhere is the same code."""
    edit = EDITS[name]
    here = here / "project" / "study"
    here.mkdir(parents=True)
    os.chdir(here)
    write(here, edit.before)
    before = digest(here, edit)
    assert digest(here, edit) == before
    write(here, edit.after)
    assert (digest(here, edit) == before) is edit.same
    elsewhere = here.parents[1] / "moved" / "here"
    elsewhere.mkdir(parents=True)
    write(elsewhere, edit.before)
    os.chdir(elsewhere)
    assert digest(elsewhere, edit) == before


# Runs each of several programs as a notebook's cell, and prints the digests of their objectives.
CELLS = """
import json, linecache, sys
from pathlib import Path
from sweep.study.training_code import code_of
from tests.support.studies import study_spec

study = study_spec({"x": [1]}, import_dir=Path.cwd())
for number, (text, objective) in enumerate(json.load(sys.stdin)):
    text = "import functools, types, enum, dataclasses, sys\\nfrom pathlib import Path\\n" + text
    file = f"<cell {number} of process {sys.argv[1]}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    names = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), names)
    print(code_of(study, eval(objective, names)).digest)
"""
USED = "FACTOR = @\ndef train(trial): return FACTOR\n"
TORCH = "import torch\nfrom torch import nn\n"
NESTED = "def helper(): return @\ndef train(trial): return helper()\n"
# A program's text, two things to put into it for @, whether that is the same code, and what the objective is.
FUNCTIONS: dict[str, tuple[str, str, str, bool, str]] = {
    "a comment": ("def train(trial):\n    @\n    return 1\n", "# one", "# two", True, "train"),
    "a docstring": ("def train(trial):\n    @\n    return 1\n", "'One.'", "'Two.'", True, "train"),
    "lines above": ("@\ndef train(trial): return 1\n", "", "\n\n# more\nunused = 1\n", True, "train"),
    "formatting": ("def train(trial):\n    @\n", "return f(1, 2)", "return f(\n        1,\n        2,\n    )", True, "train"),
    "a pass on its own line": ("def train(trial):\n    if trial: @\n    return 1\n", "pass", "\n        pass", True, "train"),
    "a name that it does not use": ("unused = @\ndef train(trial): return 1\n", "1", "2", True, "train"),
    "an attribute with a global's name": ("report = @\ndef train(trial): trial.report(1)\n", "1", "2", True, "train"),
    "a list that it appends to": ("seen = @\ndef train(trial): seen.append(1)\n", "[]", "[1]", True, "train"),
    "a dict that it writes to": ("seen = @\ndef train(trial): seen[1] = 2\n", "{}", "{1: 2}", True, "train"),
    "a number that it counts up": ("n = @\ndef train(trial):\n    global n\n    n += 1\n", "1", "2", True, "train"),
    "the order of a set": (USED, "set('abcdef')", "set('fedcba')", True, "train"),
    "another object": (USED, "object()", "object()  # new", True, "train"),
    "an open file": (USED, "sys.stdin", "sys.__stdin__", True, "train"),
    "a body": ("def train(trial): return @\n", "1", "2", False, "train"),
    "a default": ("def train(trial, a=@): return a\n", "1", "2", False, "train"),
    "a keyword's default": ("def train(trial, *, a=@): return a\n", "1", "2", False, "train"),
    "a lambda": ("", "1", "2", False, "lambda trial: @"),
    "a global": (USED, "1", "2", False, "train"),
    "a global of another type": (USED, "1", "1.0", False, "train"),
    "a text": (USED, "'a'", "'b'", False, "train"),
    "a long text": (USED, "'a' * 5000", "'a' * 4999 + 'b'", False, "train"),
    "a list": (USED, "[1, 2]", "[2, 1]", False, "train"),
    "a nested list": (USED, "[[1], [2]]", "[[1], [3]]", False, "train"),
    "a long list": (USED, "[0] * 100_000", "[0] * 100_001", False, "train"),
    "a deep list": (USED, "functools.reduce(lambda a, _: [a], range(900), 0)", "[]", False, "train"),
    "a dict": (USED, "{'a': {'b': 1}}", "{'a': {'b': 2}}", False, "train"),
    "a set": (USED, "{1, 2}", "{1, 3}", False, "train"),
    "a path": (USED, "Path('a')", "Path('b')", False, "train"),
    "a namespace": (USED, "types.SimpleNamespace(a=1)", "types.SimpleNamespace(a=2)", False, "train"),
    "an array": ("import numpy\n" + USED, "numpy.arange(4)", "numpy.arange(4) + 1", False, "train"),
    "a dtype": (TORCH + USED, "torch.float32", "torch.float64", False, "train"),
    "a device": (TORCH + USED, "torch.device('cpu')", "torch.device('meta')", False, "train"),
    "a tensor": (TORCH + USED, "torch.ones(2)", "torch.zeros(2)", False, "train"),
    "tensors in a list": (TORCH + USED, "[torch.ones(2)]", "[torch.zeros(2)]", False, "train"),
    "a tensor of half precision": (TORCH + USED, "torch.ones(2).bfloat16()", "torch.zeros(2).bfloat16()", False, "train"),
    "the shape of a parameter": (TORCH + USED, "nn.Parameter(torch.rand(2))", "nn.Parameter(torch.rand(3))", False, "train"),
    "the values of a parameter": (TORCH + USED, "nn.Parameter(torch.rand(2))", "nn.Parameter(torch.rand(2))", True, "train"),
    "a layer": (TORCH + USED, "nn.Linear(1, 2)", "nn.Linear(1, 3)", False, "train"),
    "a layer in layers": (TORCH + USED, "nn.Sequential(nn.ReLU())", "nn.Sequential(nn.Tanh())", False, "train"),
    "a layer's rate": (TORCH + USED, "nn.Dropout(0.1)", "nn.Dropout(0.2)", False, "train"),
    "a layer's mode": (TORCH + USED, "nn.BatchNorm1d(2)", "nn.BatchNorm1d(2).eval()", True, "train"),
    "an option of a loss": (
        TORCH + USED, "nn.CrossEntropyLoss(label_smoothing=0.1)", "nn.CrossEntropyLoss(label_smoothing=0.2)", False, "train"
    ),
    "a pattern": ("import re\n" + USED, "re.compile('a')", "re.compile('b')", False, "train"),
    "a read-only dict": (USED, "types.MappingProxyType({'a': 1})", "types.MappingProxyType({'a': 2})", False, "train"),
    "a user's dict": ("import collections\n" + USED, "collections.UserDict(a=1)", "collections.UserDict(a=2)", False, "train"),
    "an item to get": ("import operator\n" + USED, "operator.itemgetter(1)", "operator.itemgetter(2)", False, "train"),
    "an object of a module": ("import options\n" + USED, "options.Options(1)", "options.Options(2)", False, "train"),
    "an object with slots": (
        "class A:\n    __slots__ = ('v',)\n    def __init__(self, v): self.v = v\na = A(@)\ndef train(t): return a.v\n",
        "1", "2", False, "train",
    ),
    "a metaclass": ("class M(type):\n    b = @\nclass A(metaclass=M): 0\ndef train(t): return A.b\n", "1", "2", False, "train"),
    "its prepare": ("def p(params): return @\ndef train(t): return 1\ntrain.prepare = p\n", "1", "2", False, "train"),
    "its attribute": ("def train(t): return train.k\ntrain.k = @\n", "1", "2", False, "train"),
    "its attribute that it changes": ("def train(t): train.k += 1\ntrain.k = @\n", "1", "2", True, "train"),
    "a type of object": (USED, "object()", "Exception()", False, "train"),
    "a helper": (NESTED, "1", "2", False, "train"),
    "a helper's global": ("A = @\ndef helper(): return A\ndef train(trial): return helper()\n", "1", "2", False, "train"),
    "a cached helper": ("@functools.cache\ndef helper(): return @\ndef train(t): return helper()\n", "1", "2", False, "train"),
    "a function inside": ("def train(trial):\n    def inner(): return @\n    return inner()\n", "1", "2", False, "train"),
    "a closure": ("def make(n):\n    def inner(trial): return n\n    return inner\n", "1", "2", False, "make(@)"),
    "a partial": ("def train(n, trial): return n\n", "1", "2", False, "functools.partial(train, @)"),
    "a class that it uses": ("class A:\n    b = @\ndef train(trial): return A.b\n", "1", "2", False, "train"),
    "a method that it uses": ("class A:\n    def b(self): return @\ndef train(trial): return A()\n", "1", "2", False, "train"),
    "a base class": ("class A:\n    b = @\nclass C(A): pass\ndef train(trial): return C()\n", "1", "2", False, "train"),
    "a dataclass": ("@dataclasses.dataclass\nclass A:\n    b: int\na = A(@)\ndef train(t): return a\n", "1", "2", False, "train"),
    "an enumeration": ("class A(enum.Enum):\n    B = @\ndef train(trial): return A.B\n", "1", "2", False, "train"),
    "an object to call": ("class A:\n    def __call__(self, trial): return @\n", "1", "2", False, "A()"),
    "an object's content": (
        "class A:\n    def __init__(self, b): self.b = b\n    def __call__(self, t): return self.b\n", "1", "2", False, "A(@)"
    ),
    "a method": ("class A:\n    def train(self, trial): return @\n", "1", "2", False, "A().train"),
    "a value that contains itself": ("a = [@]\na.append(a)\ndef train(trial): return a\n", "1", "2", False, "train"),
    "a function without source": ("exec('def train(trial): return @')\n", "1", "2", False, "train"),
    "a module that it imports": ("def train(trial):\n    import helper_@\n", "a", "b", False, "train"),
}  # fmt: skip


def function_digests(here: Path, programs: list[tuple[str, str]], seed: int) -> list[str]:
    """Return the digest of each program's objective, in a process in which sets have another order."""
    env = {**os.environ, "PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-c", CELLS, str(seed)]
    given = json.dumps(programs)
    done = subprocess.run(command, cwd=here, env=env, input=given, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, str]]:
    """For each case the digests before, again in another process, and after."""
    here = tmp_path_factory.mktemp("functions")
    for module, value in (("helper_a", 1), ("helper_b", 2)):
        (here / f"{module}.py").write_text(f"A = {value}\n")
    (here / "options.py").write_text("class Options:\n    def __init__(self, lr): self.lr = lr\n")

    def filled(place: int) -> list[tuple[str, str]]:
        marked = [(case[0].replace("@f", "\0f").replace("@d", "\0d"), case[4], str(case[place])) for case in FUNCTIONS.values()]
        return [(text.replace("@", value).replace("\0", "@"), objective.replace("@", value)) for text, objective, value in marked]

    found = (function_digests(here, filled(place), seed) for place, seed in ((1, 1), (1, 2), (2, 3)))
    return dict(zip(FUNCTIONS, zip(*found, strict=True), strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_edit_of_a_function_of_a_program(name: str, digests: dict[str, tuple[str, str, str]]) -> None:
    """It is a change, or it is none, in another process with another order of sets."""
    before, again, after = digests[name]
    assert again == before
    assert (after == before) is FUNCTIONS[name][3]


INSTALLED = {
    "site-packages/foo/__init__.py": "from foo import inner\n",
    "site-packages/foo/inner.py": "A = 1\n",
    "site-packages/Foo_Bar-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: Foo-Bar\nVersion: 1.0\n",
    "site-packages/Foo_Bar-1.0.dist-info/RECORD": "foo/__init__.py,,\nfoo/inner.py,,\n",
    "mine.py": "import foo\ndef train(t): pass\n",
}
METADATA = "site-packages/Foo_Bar-1.0.dist-info/METADATA"
PACKAGES: dict[str, tuple[Files, Files, bool]] = {
    "its files": (INSTALLED, {"site-packages/foo/inner.py": "A = 2\n"}, True),
    "its version": (INSTALLED, {METADATA: "Metadata-Version: 2.1\nName: Foo-Bar\nVersion: 2.0\n"}, False),
    "an editable install": (
        {**INSTALLED, "site-packages/Foo_Bar-1.0.dist-info/direct_url.json": '{"url": "", "dir_info": {"editable": true}}'},
        {"site-packages/foo/inner.py": "A = 2\n"},
        False,
    ),
    "a damaged note of an install": (
        {**INSTALLED, "site-packages/Foo_Bar-1.0.dist-info/direct_url.json": "[1"},
        {"site-packages/foo/inner.py": "A = 2\n"},
        True,
    ),
    "files of no package": (
        {"site-packages/foo.py": "A = 1\n", "mine.py": "import foo\ndef train(t): pass\n"},
        {"site-packages/foo.py": "A = 2\n"},
        False,
    ),
    "a folder of the user's with its name": (INSTALLED, {"foo/results.txt": "1\n"}, True),
    "a file of the user's that hides it": (INSTALLED, {"foo.py": "A = 1\n"}, False),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_an_edit_of_a_package(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed counts by its version, what is the user's own by its files."""
    before, after, same = PACKAGES[name]
    write(here, before)
    program = (
        "import pathlib, sys; from sweep.study.training_code import code_of; from tests.support.studies import study_spec;"
        " print(code_of(study_spec({'x': 1}, import_dir=pathlib.Path.cwd())).digest)"
    )

    def digest_here() -> str:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here / "site-packages"), os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run([sys.executable, "-c", program], cwd=here, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    monkeypatch.syspath_prepend(str(here / "site-packages"))
    first = digest_here()
    write(here, after)
    assert (digest_here() == first) is same


LINKS = ["to a file", "to nowhere", "to itself", "to a folder", "a folder of the module's name", "a file that cannot be read"]


@pytest.mark.parametrize("kind", LINKS)
def test_what_cannot_be_read_is_no_error(kind: str, here: Path) -> None:
    """The import will say what is wrong; what can be read counts."""
    write(here, {"mine.py": TRAIN, "real/other.py": "A = 1\n"})
    helper = here / "helper.py"
    if kind == "a folder of the module's name":
        helper.mkdir()
    elif kind == "a file that cannot be read":
        helper.write_text("A = 1\n")
        helper.chmod(0)
    else:
        helper.symlink_to({"to a file": "real/other.py", "to nowhere": "gone.py", "to itself": "helper.py"}.get(kind, "real"))
    edit = Edit({}, {})
    before = digest(here, edit)
    assert digest(here, edit) == before
    if kind == "to a file":
        (here / "real" / "other.py").write_text("A = 2\n")
        assert digest(here, edit) != before


@pytest.mark.parametrize("size", [1 << 21, 100 << 20], ids=["2 MiB", "100 MiB"])
def test_a_huge_module_is_no_wait(size: int, here: Path) -> None:
    """It counts by its bytes, and of a larger one by its ends; in less than a second."""
    write(here, {"mine.py": "import data\ndef train(t): pass\n"})
    text = b"A = '''" + b"a" * size + b"'''\n"
    (here / "data.py").write_bytes(text)
    began = time.process_time()
    before = digest(here, Edit({}, {}))
    assert time.process_time() - began < 1
    (here / "data.py").write_bytes(text[:-5] + b"b'''\n")
    assert digest(here, Edit({}, {})) != before


# The real command line.


@pytest.fixture
def study(here: Path) -> Path:
    """A study with two trials of two steps, whose objective imports a module."""
    write(here, {"mine.py": TRAIN, "helper.py": HELPER})
    return write_study(here, study_text({"x": [1, 2], "steps": 2}))


def values(cli: Cli) -> dict[int, tuple[Any, str | None]]:
    """Return each trial's value and code."""
    return {trial["number"]: (trial["value"], trial["code"]) for trial in cli("trials", "runs/study", "--format", "json").json}


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("lock", "study.db-shm")
    }


def refused(cli: Cli, *words: str) -> str:
    """Run what is refused, check that nothing was stored, and return the message."""
    before = everything_in(Path("runs/study"))
    done = cli(*words)
    assert (done.code, done.out) == (4, ""), done.out + done.err
    assert "[code-changed]" in done.err
    assert "nothing was started" in done.err
    assert "Traceback" not in done.err
    assert everything_in(Path("runs/study")) == before
    return done.err


def stopped(here: Path, study: Path, step: int = 1) -> None:
    """Run a study until its first trial has a checkpoint, and stop it there."""
    write(here, {"mine.py": f"import os, time\n{TRAIN}        time.sleep(30 * (step == {step} and not os.path.exists('go')))\n"})
    interrupt("run", str(study), here=here, when=reached(here / "runs" / "study", step), how="SIGKILL")
    write(here, {"go": "1"})


def test_more_trials_with_other_code_are_refused(cli: Cli, here: Path, study: Path) -> None:
    """With the trials, the file, and what to do; then --keep goes on, and the next session does not ask again."""
    assert cli("run", str(study)).code == 0
    before = values(cli)
    write(here, {"helper.py": "FACTOR = 3\n"})
    told = refused(cli, "run", str(study), "x.values=[1, 2, 3]")
    assert "trials 0-1 were trained by other code" in told
    assert "helper.py has changed" in told
    assert all(word in told for word in ("--fresh", "name=", "--keep", "keep=True"))
    refused(cli, "resume", str(study), "x.values=[1, 2, 3]")
    done = cli("run", str(study), "x.values=[1, 2, 3]", "--keep")
    assert done.code == 0, done.err
    assert "trials 0-1 were trained by other code (helper.py has changed) and stay" in done.out
    after = values(cli)
    assert {number: after[number] for number in before} == before
    assert after[2][0] == 9
    assert len({code for _, code in after.values()}) == 2
    assert "code" in done.out.splitlines()[-8 - 1] or " code " in done.out
    done = cli("run", str(study), "x.values=[1, 2, 3, 4]")
    assert done.code == 0, done.err
    write(here, {"helper.py": HELPER})
    refused(cli, "run", str(study), "x.values=[1, 2, 3, 4, 5]")


def test_several_codes_are_shown(cli: Cli, here: Path, study: Path) -> None:
    """In tables, the report and the HPARAMS tab, for the earlier trials too; not while there is one code only."""
    assert cli("run", str(study)).code == 0
    assert " code" not in cli("trials", str(study)).out
    assert "Different code" not in (here / "runs" / "study" / "report.html").read_text()
    write(here, {"helper.py": "FACTOR = 3\n"})
    assert cli("run", str(study), "x.values=[1, 2, 3]", "--keep").code == 0
    found = cli("trials", "runs/study", "--format", "json").json
    table = cli("trials", "runs/study").out
    report = (here / "runs" / "study" / "report.html").read_text()
    assert "Different code has trained these trials" in report
    for trial in found:
        assert trial["code"] in table
        assert trial["code"] in report
        assert trial["code"] in cli("trials", "runs/study", "--format", "csv").out
        assert trial["code"].encode() in hparams_tags(Path(trial["dir"]))["_hparams_/session_start_info"]
        assert b"code" in hparams_tags(Path(trial["dir"]))["_hparams_/experiment"]


def test_a_parameter_named_code_keeps_its_column(cli: Cli, here: Path) -> None:
    """The digest has another name then."""
    write(here, {"mine.py": "def train(trial):\n    trial.report(1, {'score': 1})\n"})
    study = write_study(here, study_text({"code": ["a", "b"]}))
    assert cli("run", str(study), "code.values=[a]").code == 0
    write(here, {"mine.py": "def train(trial):\n    trial.report(1, {'score': 2})\n"})
    assert cli("run", str(study), "--keep").code == 0
    for trial in cli("trials", "runs/study", "--format", "json").json:
        start = hparams_tags(Path(trial["dir"]))["_hparams_/session_start_info"]
        assert b"code (sweep)" in start
        assert trial["code"].encode() in start


def test_an_unfinished_trial_does_not_go_on_under_other_code(cli: Cli, here: Path, study: Path) -> None:
    """Not without --keep; then it records both codes, also in HPARAMS."""
    stopped(here, study)
    write(here, {"helper.py": "FACTOR = 3\n"})
    assert "trial 0 would go on from a checkpoint of other code" in refused(cli, "resume", str(study))
    refused(cli, "run", str(study))
    done = cli("resume", str(study), "--keep")
    assert done.code == 0, done.err
    assert "trial 0 resumed after step 1" in done.out
    found = values(cli)
    first, second = found[0][1], found[1][1]
    assert first is not None
    assert second is not None
    assert first.endswith(f"+{second}")
    [run] = (here / "runs" / "study").glob("0000_*")
    assert first.encode() in hparams_tags(run)["_hparams_/session_start_info"]


@pytest.mark.parametrize("edit", ["none", "comment", "undone"])
def test_an_unfinished_trial_goes_on_under_the_same_code(cli: Cli, here: Path, study: Path, edit: str) -> None:
    """Without a question."""
    stopped(here, study)
    text = (here / "mine.py").read_text()
    if edit == "comment":
        write(here, {"mine.py": f"# A remark.\n\n{text}"})
    elif edit == "undone":
        write(here, {"mine.py": text.replace("report", "save")})
        refused(cli, "run", str(study))
        write(here, {"mine.py": text})
    done = cli("resume", str(study))
    assert done.code == 0, done.err
    assert "trial 0 resumed after step 1" in done.out
    assert len({code for _, code in values(cli).values()}) == 1


def test_an_unfinished_trial_that_starts_over_may_have_other_code(cli: Cli, here: Path, study: Path) -> None:
    """It has no checkpoint, so nothing is mixed."""
    write(here, {"mine.py": "import time\ndef train(trial):\n    trial.report(1, {'score': 1})\n    time.sleep(30)\n"})
    interrupt("run", str(study), here=here, when=reached(here / "runs" / "study", 1), how="SIGKILL")
    write(here, {"mine.py": TRAIN})
    done = cli("run", str(study))
    assert done.code == 0, done.err
    assert {number: value for number, (value, _) in values(cli).items()} == {0: 2, 1: 4}
    assert len({code for _, code in values(cli).values()}) == 1


def test_a_finished_study_says_so_and_shows_its_results(cli: Cli, here: Path, study: Path) -> None:
    """Once, with exit code 0."""
    assert cli("run", str(study)).code == 0
    write(here, {"helper.py": "FACTOR = 3\n"})
    done = cli("run", str(study))
    assert done.code == 0
    assert done.out.count("helper.py has changed") == 1
    assert "trials 0-1 were trained by other code" in done.out
    assert "2 complete" in done.out
    assert {value for value, _ in values(cli).values()} == {2, 4}
    assert cli("resume", str(study)).code == 2  # nothing to resume, as ever


@pytest.mark.parametrize("way", [["--fresh"], ["name=other"]], ids=["fresh", "another name"])
def test_starting_over_needs_no_word(cli: Cli, here: Path, study: Path, way: list[str]) -> None:
    """All trials are trained by the new code."""
    assert cli("run", str(study)).code == 0
    write(here, {"helper.py": "FACTOR = 3\n"})
    done = cli("run", str(study), *way)
    assert done.code == 0, done.err
    found = cli("trials", "runs/other" if "name=other" in way else "runs/study", "--format", "json").json
    assert {trial["value"] for trial in found} == {3, 6}
    assert len({trial["code"] for trial in found}) == 1


def test_a_bug_is_fixed_without_a_question(cli: Cli, here: Path, study: Path) -> None:
    """All trials failed, so there is nothing to mix."""
    write(here, {"mine.py": "def train(trial):\n    raise ValueError\n"})
    assert cli("run", str(study)).code == 1
    write(here, {"mine.py": TRAIN})
    done = cli("resume", str(study), "--retry-failed")
    assert done.code == 0, done.err
    assert {value for value, _ in values(cli).values()} == {2, 4}


def test_new_trials_start_beside_failed_ones(cli: Cli, here: Path, study: Path) -> None:
    """Of other code."""
    write(here, {"mine.py": "def train(trial):\n    raise ValueError\n"})
    assert cli("run", str(study), "x.values=[1]").code == 1
    write(here, {"mine.py": TRAIN})
    done = cli("run", str(study))
    assert done.code == 1, done.err
    assert values(cli)[1][0] == 4


def test_failed_trials_beside_complete_ones_are_a_choice(cli: Cli, here: Path, study: Path) -> None:
    """The message says what would be trained again beside what."""
    write(here, {"mine.py": TRAIN.replace("import helper\n", "import helper\n") + "        if trial.number: raise ValueError\n"})
    assert cli("run", str(study)).code == 1
    write(here, {"mine.py": TRAIN})
    told = refused(cli, "resume", str(study), "--retry-failed")
    assert "trial 0 was trained by other code" in told
    assert "trial 1, which failed, would be trained again beside them" in told
    done = cli("resume", str(study), "--retry-failed", "--keep")
    assert done.code == 0, done.err
    assert {value for value, _ in values(cli).values()} == {2, 4}
    first, second = values(cli)[0][1], values(cli)[1][1]
    assert first is not None
    assert second is not None
    assert "+" not in second  # it started over
    assert first != second


@pytest.mark.parametrize("kind", ["older", "no parts", "damaged", "a list"])
def test_what_is_stored_of_codes_may_be_missing_or_damaged(cli: Cli, here: Path, study: Path, kind: str) -> None:
    """An older version recorded none: that is no reason to ask. Without the parts the message says less."""
    assert cli("run", str(study)).code == 0
    database = sqlite3.connect(here / "runs" / "study" / "study.db")
    with database:
        if kind == "older":
            database.execute("UPDATE trial_user_attributes SET value_json = json_remove(value_json, '$.code')")
            database.execute("DELETE FROM study_system_attributes WHERE key = 'sweep:code'")
        else:
            code = values(cli)[0][1]
            text = {"no parts": "{}", "damaged": json.dumps({code: 3}), "a list": json.dumps({code: {"files": [1], "kept": 3}})}[
                kind
            ]
            database.execute("UPDATE study_system_attributes SET value_json = ? WHERE key = 'sweep:code'", (text,))
    database.close()
    write(here, {"helper.py": "FACTOR = 3\n"})
    words = ("run", str(study), "x.values=[1, 2, 3]")
    if kind != "older":
        assert "trials 0-1 were trained by other code" in refused(cli, *words)
    done = cli(*words, *(() if kind == "older" else ("--keep",)))
    assert done.code == 0, done.err
    found = values(cli)
    assert (found[0][0], found[2][0]) == (2, 9)
    assert (found[0][1] is None) is (kind == "older")
    assert found[2][1] is not None


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_search_is_refused_and_goes_on(cli: Cli, here: Path, method: str) -> None:
    """With the same proposals."""
    write(here, {"mine.py": TRAIN, "helper.py": HELPER})
    space = {"x": {"min": 0.0, "max": 1.0}, "steps": 1}
    study = write_study(here, study_text(space, method=method, budget={"trials": 2}))
    assert cli("run", str(study)).code == 0
    write(here, {"helper.py": "FACTOR = 3\n"})
    done = cli("run", str(study))
    assert (done.code, done.out.count("has changed")) == (0, 1), done.err
    refused(cli, "run", str(study), "budget.trials=3")
    assert cli("run", str(study), "budget.trials=3", "--keep").code == 0
    assert cli("run", str(study), "budget.trials=3", "name=other").code == 0
    found = [cli("trials", f"runs/{name}", "--format", "json").json for name in ("study", "other")]
    assert [trial["params"]["x"] for trial in found[0][:2]] == [trial["params"]["x"] for trial in found[1][:2]]


def test_repeats_are_not_mixed(cli: Cli, here: Path, study: Path) -> None:
    """A further repeat is a trial that starts."""
    waits = "        if trial.dir.name.endswith('repeat=1') and not os.path.exists('go'): time.sleep(30)\n"
    write(here, {"mine.py": f"import os, time\n{TRAIN}{waits}"})
    interrupt("run", str(study), "repeats=2", here=here, when=reached(here / "runs" / "study", 1, key=(0, 1)), how="SIGKILL")
    write(here, {"helper.py": "FACTOR = 3\n", "go": "1"})
    refused(cli, "run", str(study), "repeats=2")
    done = cli("run", str(study), "repeats=2", "--keep")
    assert done.code == 0, done.err
    first, second = (values(cli)[number][1] for number in (0, 1))
    assert first is not None
    assert second is not None
    assert "+" in first
    assert "+" not in second


def test_a_commands_script(cli: Cli, here: Path) -> None:
    """Counts as an objective does."""
    script = "import sys\nprint('{\"score\": 1}')\n"
    write(here, {"go.py": script})
    study = write_study(here, study_text({"x": [1, 2]}, objective=None, command="python go.py ${args}"))
    assert cli("run", str(study), "x.values=[1]").code == 0
    write(here, {"go.py": f"# A comment.\n{script}"})
    assert cli("run", str(study), "x.values=[1, 2]").code == 0
    write(here, {"go.py": script.replace("1}", "2}")})
    assert "go.py has changed" in refused(cli, "run", str(study), "x.values=[1, 2, 3]")


# From Python.

KEYS = {
    "name": "study",
    "metric": {"name": "score", "goal": "maximize"},
    "method": "grid",
    "parameters": {"x": {"values": [1, 2]}},
    "workers": {"devices": "cpu", "per_device": 1},
}


def trained(factor: int) -> Any:
    def train(trial: sweep.Trial) -> float:
        return trial.params["x"] * factor  # type: ignore[no-any-return]  # parameters have no types

    return train


def test_a_function_that_changes_is_refused_or_kept(here: Path) -> None:
    """As on the command line."""
    sweep.run(KEYS, trained(2), inline=True, quiet=True)
    more = {"x.values": [1, 2, 3]}
    with pytest.raises(sweep.SweepError) as caught:
        sweep.run(KEYS, trained(3), overrides=more, inline=True, quiet=True)
    assert (caught.value.id, caught.value.exit_code) == ("code-changed", 4)
    assert "factor of trained.train has changed" in str(caught.value)
    assert "keep=True" in str(caught.value)
    with pytest.warns(UserWarning, match="trials 0-1 were trained by other code"):
        result = sweep.run(KEYS, trained(3), overrides=more, inline=True, quiet=True, keep=True)
    assert [trial.value for trial in result.trials] == [2, 4, 9]


@pytest.mark.parametrize("quiet", [False, True], ids=["shown", "quiet"])
def test_a_finished_study_is_not_shown_in_silence(here: Path, capsys: pytest.CaptureFixture[str], quiet: bool) -> None:
    """A notice, or a warning each time the same cell runs."""
    sweep.run(KEYS, trained(2), inline=True, quiet=True)
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            result = sweep.run(KEYS, trained(3), inline=True, quiet=quiet)
        shown = "".join(str(one.message) for one in caught) if quiet else capsys.readouterr().out
        assert "trials 0-1 were trained by other code" in shown
        assert [trial.value for trial in result.trials] == [2, 4]


NOTEBOOK = [
    "import sweep\nLR = 2",
    "def train(trial):\n    return trial.params['x'] * LR",
    f"result = sweep.run({KEYS!r}, train)",
    # The same cell again, with a comment and another layout.
    "def train(trial):\n    # A comment.\n    return (\n        trial.params['x'] * LR\n    )",
    f"result = sweep.run({KEYS!r}, train, overrides={{'x.values': [1, 2, 3]}})\nprint(result.trials[2].value)",
    "def train(trial):\n    return trial.params['x'] * LR + 1",
    f"result = sweep.run({KEYS!r}, train, overrides={{'x.values': [1, 2, 3]}})",
    f"result = sweep.run({KEYS!r}, train, overrides={{'x.values': [1, 2, 3, 4]}})",
]


def test_a_notebooks_cell_that_runs_again(here: Path) -> None:
    """In a real kernel: a comment is no change; an edit is a line in the output of a finished study, else an error."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    cells = [nbformat.v4.new_code_cell(source) for source in NOTEBOOK]
    client = nbclient.NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=100, resources={"metadata": {"path": here}})
    with client.setup_kernel():
        for index, cell in enumerate(cells[:-1]):
            client.execute_cell(cell, index)
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="function train has changed"):
            client.execute_cell(cells[-1], len(cells) - 1)
    texts = [[output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs] for cell in cells]
    printed = ["".join(found) for found in texts]
    assert printed[4].endswith("6\n")
    assert "trained by other code" not in printed[4]
    assert "trials 0-2 were trained by other code (function train has changed) and stay" in printed[6]


# Constants.


def test_changed_constants_of_a_finished_grid(cli: Cli, study: Path) -> None:
    """What was trained with which value, and what to type; nothing about columns or workers."""
    assert cli("run", str(study)).code == 0
    for _ in range(2):  # not only the first time
        done = cli("run", str(study), "steps.value=3")
        assert done.code == 0
        assert "2 trials were trained with steps=2 and stay; name=... trains them with steps=3" in done.out
        assert "renewing" not in done.out
        assert "0 workers" not in done.out
    assert {trial["params"]["steps"] for trial in cli("trials", str(study), "--format", "json").json} == {2}


def test_changed_constants_of_an_unfinished_grid(cli: Cli, study: Path) -> None:
    """The others get the new value; a constant that is new is named too."""
    assert cli("run", str(study), "x.values=[1]").code == 0
    done = cli("run", str(study), "steps.value=3", "parameters.more.value=1")
    assert done.code == 0
    assert "1 trial was trained with steps=2 and without more and stays; name=... trains it with steps=3 more=1" in done.out
    found = cli("trials", str(study), "--format", "json").json
    assert [trial["params"] for trial in found] == [{"x": 1, "steps": 2}, {"x": 2, "steps": 3, "more": 1}]


def test_a_failed_trial_gets_the_new_constants(cli: Cli, here: Path, study: Path) -> None:
    """So nothing is said about it."""
    write(here, {"mine.py": "def train(trial):\n    if trial.params['steps'] == 2: raise ValueError\n    return 1\n"})
    assert cli("run", str(study)).code == 1
    done = cli("resume", str(study), "steps.value=3", "--retry-failed")
    assert done.code == 0, done.err
    assert "were trained with" not in done.out
