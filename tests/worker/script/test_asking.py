"""A program is asked for its parameters: it is started, and ended where it is about to read its arguments."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sweep.errors import SweepError
from sweep.study.starting.declared import Declared, Option
from sweep.worker.script import asking

TRAINED = "\nopen('trained', 'w').close()\n"


def asked(folder: Path, text: str, *words: str, limit_s: float = 60) -> Declared:
    """Ask a program; what it declares is known, and it has trained nothing."""
    (folder / "prog.py").write_text(text + TRAINED)
    found = asking.ask(["python", "prog.py", *words], folder, print, limit_s)
    assert not (folder / "trained").exists()
    return found


def options(found: Declared) -> dict[str, Option]:
    return {one.name: one for one in found.options}


def told(found: Declared, **kinds: Any) -> None:
    """Check the kind and the default of each option, in order."""
    assert [(one.name.replace("-", "_"), (one.kind, one.default)) for one in found.options] == list(kinds.items())


ARGPARSE = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("data")
p.add_argument("--lr", type=float, default="1e-3", help="learning rate (default: %(default)s)")
p.add_argument("-b", "--batch-size", type=int, default=64, required=True)
p.add_argument("--optimizer", choices=["sgd", "adam"], default="adam")
p.add_argument("--layers", type=int, nargs="+", default=[8, 16])
p.add_argument("--amp", action="store_true")
p.add_argument("--no-cuda", action="store_false", dest="cuda")
p.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
p.add_argument("--fast", action=argparse.BooleanOptionalAction, default=False)
p.add_argument("--width", type=lambda word: int(word), default=8)
p.add_argument("--shuffle", type=lambda word: word == "True", default=True)
p.add_argument("--bad", type=bool, default=True)
p.add_argument("--text", default=3)
p.add_argument("--tag", action="append")
p.add_argument("-x", type=int)
p.add_argument("--hidden", help=argparse.SUPPRESS)
p.add_argument("--huge", type=float, default=float("inf"))
p.add_argument("--unset", default="==SUPPRESS" + "==")
p.parse_args()
"""


def test_what_argparse_declares(here: Path) -> None:
    """Kinds, defaults, choices, lists, flags by the word that changes something, and what can be no parameter."""
    found = asked(here, ARGPARSE)
    told(
        found,
        data=("positional", None),
        lr=("float", 0.001),
        batch_size=("int", 64),
        optimizer=("text", "adam"),
        layers=("int", [8, 16]),
        amp=("flag", False),
        no_cuda=("flag", False),
        no_compile=("flag", False),
        fast=("flag", False),
        width=("int", 8),
        shuffle=("text", "True"),
        bad=("other", True),
        text=("other", 3),
        tag=("other", None),
        x=("other", None),
        huge=("float", None),
        unset=("text", None),
    )
    by_name = options(found)
    assert by_name["lr"].help == "learning rate (default: 1e-3)"
    assert by_name["data"].required
    assert by_name["batch-size"].required
    assert by_name["layers"].several
    assert by_name["optimizer"].choices == ["sgd", "adam"]
    assert by_name["shuffle"].choices == ["False", "True"]
    assert all(by_name[name].why for name in ("bad", "text", "tag", "x"))


def test_a_parser_that_reads_some_arguments_before_the_others(here: Path) -> None:
    """The options of both are declared."""
    text = """
import argparse
first = argparse.ArgumentParser(add_help=False)
first.add_argument("--config")
whole = argparse.ArgumentParser(parents=[first])
whole.add_argument("--lr", type=float, default=0.1)
args, rest = first.parse_known_args()
whole.parse_args(rest)
"""
    told(asked(here, text), config=("text", None), lr=("float", 0.1))


def test_subcommands_are_declared(here: Path) -> None:
    """The words choose one, and its own options count; without any, the error names them."""
    text = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--seed", type=int)
commands = p.add_subparsers()
commands.add_parser("test")
fit = commands.add_parser("fit")
fit.add_argument("--lr", type=float, default=0.1)
p.parse_args()
"""
    found = asked(here, text, "fit")
    told(found.for_words("prog.py", ["fit"]), lr=("float", 0.1))
    with pytest.raises(SweepError, match="has the subcommands test, fit"):
        found.for_words("prog.py", [])


def test_words_that_are_given_are_left_out(here: Path) -> None:
    """And one that the program needs is asked for."""
    found = asked(here, ARGPARSE)
    assert "lr" not in options(found.for_words("prog.py", ["d", "--lr=3"]))
    with pytest.raises(SweepError, match="needs a word for 'data'"):
        found.for_words("prog.py", [])


def test_a_parser_that_is_no_command_line(here: Path) -> None:
    """Words of the program's own are parsed as ever."""
    text = """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.1)
assert p.parse_args(["--lr", "3"]).lr == 3
q = argparse.ArgumentParser()
q.add_argument("--width", type=int)
q.parse_args()
"""
    told(asked(here, text), width=("int", None))


def test_what_click_declares(here: Path) -> None:
    """Kinds, bounds, choices, both words of a switch, and what can be no parameter."""
    text = """
import click
@click.command()
@click.option("--lr", default=0.01, help="Learning rate.")
@click.option("--batch-size", "-b", type=click.IntRange(1, 96), default=64)
@click.option("--amp/--no-amp", default=True)
@click.option("--dry", is_flag=True)
@click.option("--shuffle", type=bool, default=True)
@click.option("--opt", type=click.Choice(["adam", "sgd"]), default="adam")
@click.option("--pair", nargs=2, type=int)
@click.option("--tag", multiple=True)
@click.option("-v", count=True)
@click.option("--need", required=True, type=float)
@click.argument("path", required=False)
def main(**options): pass
main()
"""
    found = asked(here, text)
    told(
        found,
        lr=("float", 0.01),
        batch_size=("int", 64),
        no_amp=("flag", False),
        dry=("flag", False),
        shuffle=("text", "true"),
        opt=("text", "adam"),
        pair=("int", None),
        tag=("other", None),
        v=("other", 0),
        need=("float", None),
        path=("positional", None),
    )
    by_name = options(found)
    assert (by_name["batch-size"].low, by_name["batch-size"].high) == (1, 96)
    assert by_name["opt"].choices == ["adam", "sgd"]
    assert by_name["need"].required
    assert not by_name["path"].required


def test_what_a_group_of_click_declares(here: Path) -> None:
    """Its commands."""
    text = """
import click
@click.group()
def main(): pass
@main.command()
@click.option("--lr", default=0.01)
def fit(lr): pass
main()
"""
    told(asked(here, text, "fit").for_words("prog.py", ["fit"]), lr=("float", 0.01))


def test_what_typer_declares(here: Path) -> None:
    """As click's; the choices of an enum are its values."""
    pytest.importorskip("typer", reason="typer is not installed")
    text = """
import enum, typer
class Opt(str, enum.Enum):
    adam = "Adam"
    sgd = "SGD"
app = typer.Typer()
@app.command()
def fit(lr: float = typer.Option(0.01, help="Rate"), opt: Opt = Opt.adam, amp: bool = True, data: str = typer.Argument("x")): pass
app()
"""
    found = asked(here, text)
    told(found, lr=("float", 0.01), opt=("text", "Adam"), no_amp=("flag", False), data=("positional", "x"))
    assert options(found)["opt"].choices == ["Adam", "SGD"]


def test_what_tyro_declares(here: Path) -> None:
    """Also of nested dataclasses, with the docstrings of their fields."""
    pytest.importorskip("tyro", reason="tyro is not installed")
    text = """
from dataclasses import dataclass, field
from typing import Literal, Tuple
import tyro
@dataclass
class Opt:
    name: Literal["adam", "sgd"] = "adam"
    \"\"\"Which one.\"\"\"
    lr: float = 1e-3
@dataclass
class Args:
    data: str
    batch_size: int = 64
    amp: bool = True
    hidden: Tuple[int, ...] = (8, 16)
    opt: Opt = field(default_factory=Opt)
tyro.cli(Args)
"""
    found = asked(here, text)
    kinds = {"data": ("text", None), "batch_size": ("int", 64), "no_amp": ("flag", False), "hidden": ("int", [8, 16])}
    told(found, **kinds, **{"opt.name": ("text", "adam"), "opt.lr": ("float", 0.001)})
    by_name = options(found)
    assert by_name["data"].required
    assert (by_name["opt.name"].choices, by_name["opt.name"].help) == (["adam", "sgd"], "Which one.")


def test_what_simple_parsing_declares(here: Path) -> None:
    """A parser of argparse's kind that adds its options late."""
    pytest.importorskip("simple_parsing", reason="simple_parsing is not installed")
    text = """
from dataclasses import dataclass
from simple_parsing import ArgumentParser
@dataclass
class Args:
    lr: float = 1e-3  # the rate
p = ArgumentParser()
p.add_arguments(Args, dest="args")
p.parse_args()
"""
    told(asked(here, text), lr=("float", 0.001))


def test_what_hydra_declares(here: Path) -> None:
    """The values of its configuration, as --cfg job prints it."""
    pytest.importorskip("hydra", reason="Hydra is not installed")
    (here / "conf").mkdir()
    (here / "conf" / "config.yaml").write_text(
        "optimizer: {name: adam, lr: 0.001, nesterov: false}\nepochs: 5\ntwice: ${epochs}\nlayers: [8, 16]\ndata: ???\n"
    )
    text = """
import hydra
@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config):
    raise AssertionError("it must not train")
main()
"""
    found = asked(here, text, "epochs=7")
    assert found.kind == "hydra"
    assert [(one.name, one.kind, one.default) for one in found.options] == [
        ("optimizer.name", "text", "adam"),
        ("optimizer.lr", "float", 0.001),
        ("optimizer.nesterov", "bool", False),
        ("epochs", "int", 7),
        ("twice", "other", "${epochs}"),
        ("layers", "text", [8, 16]),
        ("data", "text", None),
    ]
    assert options(found)["data"].required
    assert not (here / "outputs").exists()


def test_what_wandb_is_told(here: Path) -> None:
    """The configuration that a script gives it."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    found = asked(here, "import wandb\nwandb.init(project='p', config={'lr': 0.1, 'epochs': 3})")
    assert found.kind == "wandb"
    told(found, lr=("float", 0.1), epochs=("int", 3))


def test_the_users_own_site_customization_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the program starts, or copies itself into, is not asked."""
    (here / "own").mkdir()
    (here / "own" / "sitecustomize.py").write_text("import builtins; builtins.OWN = 0.5\n")
    monkeypatch.setenv("PYTHONPATH", f"{here / 'own'}")
    text = """
import argparse, os, subprocess, sys
child = subprocess.run([sys.executable, "-c", "import argparse; argparse.ArgumentParser().parse_args([]); print(OWN)"],
    capture_output=True, text=True, check=True)
if os.fork() == 0:
    argparse.ArgumentParser().parse_args()
    os._exit(3)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=OWN + float(child.stdout))
p.parse_args()
"""
    told(asked(here, text), lr=("float", 1.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "prog.py failed before it read its arguments: ModuleNotFoundError: No module named"),
        ("print('done')", "prog.py ended without reading arguments"),
        ("import os; os.kill(os.getpid(), 9)", "prog.py failed before it read its arguments"),
    ],
)
def test_a_program_that_tells_nothing(here: Path, text: str, message: str) -> None:
    """The error has its last lines, and what to do."""
    (here / "prog.py").write_text(text)
    with pytest.raises(SweepError) as caught:
        asking.ask(["python", "prog.py"], here, print)
    assert message in str(caught.value)
    assert "  do: " in str(caught.value)


def test_a_program_that_does_not_end(here: Path) -> None:
    """It is ended with all that it started, and was seen to be waited for."""
    said: list[str] = []
    begin = time.monotonic()
    text = f"import subprocess\nprint('epoch 1')\nsubprocess.run([{sys.executable!r}, '-c', 'import time; time.sleep(100)'])"
    (here / "prog.py").write_text(text)
    with pytest.raises(SweepError) as caught:
        asking.ask(["python", "prog.py"], here, said.append, limit_s=1.5, say_s=0.5)
    assert time.monotonic() - begin < 30
    assert "did not read its arguments in 2 s" in str(caught.value)
    assert "epoch 1" in str(caught.value)
    assert said


def test_a_program_that_cannot_be_started(here: Path) -> None:
    """The error names it."""
    with pytest.raises(SweepError, match="nowhere"):
        asking.ask(["/nowhere/python", "prog.py"], here, print)
