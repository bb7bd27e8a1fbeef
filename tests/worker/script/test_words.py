"""A command's words: placeholders, what is checked before anything starts, and how it is stored."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from sweep.errors import StudyFileError, SweepError
from sweep.study import command
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study
from sweep.study.trial import Scalar, with_lists
from tests.support.studies import write_study as write
from tests.worker.script.conftest import Run

STUDY = """
command: python script.py ${args}
metric: {name: score, goal: maximize}
method: grid
parameters:
  x: {values: [1, 2]}
workers: {per_device: 1}
"""


def test_placeholders_are_filled_in() -> None:
    """`${args}` becomes a word for each parameter, the others are replaced inside a word, and no shell sees them."""
    words = ["python", "${args}", "--out=${dir}/x", "${lr}-${size}", "${json}", "${number} ${seed} ${device} ${step}", "$HOME"]
    own: dict[str, Scalar] = {"number": 7, "seed": 5, "dir": "/a b", "logdir": "/l", "device": "cpu", "step": 0}
    assert command.filled(words, {"lr": 1e-5, "size": 32, "shuffle": False, "n": None}, own) == [
        "python", "--lr=1e-05", "--size=32", "--shuffle=false", "--n=null", "--out=/a b/x", "1e-05-32",
        '{"lr": 1e-05, "size": 32, "shuffle": false, "n": null}', "7 5 cpu 0", "$HOME",
    ]  # fmt: skip
    assert command.filled(["${seed}", "${args}"], {"seed": 1}, own) == ["1", "--seed=1"]


def test_words_may_have_the_values_that_python_writes() -> None:
    """As W&B's agent passes them: `True`, a mapping for each group of names with dots, flags for true alone."""
    params: dict[str, Scalar] = {"amp": True, "fast": False, "n": None, "opt.lr": 0.1, "opt.name.first": "a b", "data.x": 1}
    groups = {"opt.lr": 0.1, "opt": {"lr": 0.1, "name": {"first": "a b"}}}

    def words(word: str) -> list[str]:
        return command.filled([word], params, {}, groups=["opt"])

    opt = str(groups["opt"])
    assert words("${python_args}") == ["--amp=True", "--fast=False", "--n=None", f"--opt={opt}", "--data.x=1"]
    assert words("${python_args_apart}")[:4] == ["--amp", "True", "--fast", "False"]
    assert words("${python_flags}") == ["--amp", "--n=None", f"--opt={opt}", "--data.x=1"]
    assert words("${python_pairs}") == ["amp=True", "fast=False", "n=None", f"opt={opt}", "data.x=1"]
    assert words("${python_pairs_added}")[0] == "+amp=True"
    assert words("${python_pairs_forced}")[-1] == "++data.x=1"
    assert words("${args}")[3] == f"--opt={json.dumps(groups['opt'])}"
    assert json.loads(words("${json}")[0])["opt"] == groups["opt"]
    assert words("lr=${opt.lr}") == ["lr=0.1"], "a parameter of a group has a placeholder of its own"


def test_a_placeholder_is_a_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled in where the trial runs."""
    monkeypatch.setenv("MY_DATA", "/data")
    assert command.filled(["--data=${env:MY_DATA}/x"], {}, {}) == ["--data=/data/x"]


def test_a_script_may_read_its_parameters_from_a_file(trial: Run) -> None:
    """As JSON, outside the run folder."""
    script = """
        import json, sys
        params = json.load(open(sys.argv[1]))
        print(json.dumps({"step": 1, "score": params["size"] if params["shuffle"] is True else 0}))
    """
    assert trial(script, "${json_file}").metrics["score"] == 32


VALUES: dict[str, Scalar] = {"amp": True, "quiet": False, "warmup": None, "layers": (8, 16), "lr": -1e-5, "act": "-x y", "n": ()}


def test_flags_are_what_argparse_reads() -> None:
    """A boolean is a flag or nothing, a list is several words, null is nothing, and a value with a dash in front arrives."""
    words = command.filled(["a", "${flags}"], VALUES, {})
    assert words == ["a", "--amp", "--layers", "8", "16", "--lr=-1e-05", "--act=-x y", "--n"]
    parser = argparse.ArgumentParser()
    for name in ("amp", "quiet"):
        parser.add_argument(f"--{name}", action="store_true")
    for name, kind in (("lr", float), ("act", str), ("warmup", int)):
        parser.add_argument(f"--{name}", type=kind)
    for name in ("layers", "n"):
        parser.add_argument(f"--{name}", type=int, nargs="*")
    assert vars(parser.parse_args(words[1:])) == VALUES | {"layers": [8, 16], "n": []}
    assert command.filled(["${args}"], {"layers": (8, (1, "x"))}, {}) == ['--layers=[8, [1, "x"]]']


def test_overrides_are_what_hydra_reads(tmp_path: Path) -> None:
    """Each value arrives with its type and every character, and so does a folder's name in a word beside them."""
    parsers = pytest.importorskip("hydra.core.override_parser.overrides_parser", reason="needs hydra-core")
    odd = ["a,b", "x=1", "a b", "it's", 'say "so"', "[1]", "{a: 1}", "(c)", "back\\", "\\'", "a\\b", "null", "True", "1e3", "",
           "é", "#", "~", "a:b", "$HOME", "${lr}", "-1", "/a/b.c", " ", "inf", "a\n"]  # fmt: skip
    values: dict[str, Scalar] = {f"v{place}": text for place, text in enumerate(odd)}
    values |= VALUES | {"deep": ((1, "a,b"), (), None, False), "all": tuple(odd), "big": 1e300}
    folder = "/runs/0003_lr=0.1_name=a,b/it's"
    words = command.filled(["${overrides}", "hydra.run.dir=${dir}", "--config-dir=${dir}", "+lr2=${lr}"], values, {"dir": folder})
    *words, config, lr = words
    assert (config, lr) == (f"--config-dir={folder}", "+lr2=-1e-05")
    read = {one.key_or_group: one.value() for one in parsers.OverridesParser.create().parse_overrides(words)}
    plain = omegaconf_plain(read)
    assert plain == {name: with_lists(value) for name, value in values.items()} | {"hydra.run.dir": folder}
    assert all(type(plain[name]) is type(with_lists(value)) for name, value in values.items())


def omegaconf_plain(values: dict[str, object]) -> dict[str, object]:
    """Return values as an application of Hydra sees them."""
    from omegaconf import OmegaConf

    found = OmegaConf.create({"whole": list(values.values())})
    whole = OmegaConf.to_container(found, resolve=True)
    assert isinstance(whole, dict)
    return dict(zip(values, whole["whole"], strict=True))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("python here.py ${xx}", "command[2]: ${xx} is neither a parameter nor a placeholder; did you mean 'x'?"),
        ("python here.py ${ars}", "did you mean 'args'?"),
        ("python here.py a=${args}", "command[2]: ${args} becomes several words and must be a whole word; put spaces around it"),
        (
            "python here.py --d=${env:NO_SUCH} ${args}",
            "the environment has no variable 'NO_SUCH'; export NO_SUCH=...",
        ),
        ("python there.py", "command[1]: there is no file 'there.py' in FOLDER"),
        ("pyhton here.py", "command[0]: there is no program 'pyhton' on the PATH"),
        ("./none.sh", "command[0]: there is no program 'FOLDER/none.sh'"),
        ("cd a && python here.py ${args}", """write bash -c 'cd a && python here.py "$@"' - ${args}"""),
        (
            "python here.py ${args} > log",
            """> is for a shell, and none runs the command; write bash -c 'python here.py "$@" > log' -""",
        ),
        ("X=1 python here.py ${args}", "X=1 is for a shell, and none runs the command; write env X=1 python ..."),
        ("~/here.py ${args}", "no shell replaces ~: write the whole path"),
        ("python here.py $args", "$args is no placeholder, and no shell replaces it; write ${args}"),
        ("python here.py --x={x}", "{x} is no placeholder, and no shell replaces it; write ${x}"),
        ("python here.py %x%", "%x% is no placeholder"),
        ("python here.py", "no word names a parameter, so each trial would run the same command; add ${args}"),
        (
            "./here.py ${x}",
            "here.py is not executable; chmod +x FOLDER/here.py  or name its interpreter:  command: python here.py",
        ),
        (". ${x}", "there is no program '.' on the PATH"),
        ("python 'here.py", "cannot be split into words (No closing quotation)"),
        ("[]", "command: must be a program and its arguments"),
        ("[python, [a]]", "command: must be a list of words"),
    ],
)
def test_a_command_that_cannot_run_is_found_before_anything_starts(here: Path, command: str, message: str) -> None:
    """With the nearest spelling or what to write instead."""
    (here / "here.py").touch()
    with pytest.raises(StudyFileError) as caught:
        read_study(write(here, STUDY.replace("python script.py ${args}", command)))
    assert message.replace("FOLDER", str(here)) in str(caught.value)


def test_torchrun_that_is_not_on_the_path(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment that is not activated: it is a module of torch."""
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(StudyFileError) as caught:
        read_study(write(here, STUDY.replace("python script.py", "torchrun --standalone script.py")))
    assert "no program 'torchrun' on the PATH; write python -m torch.distributed.run" in str(caught.value)


def test_exactly_one_of_objective_and_command(here: Path) -> None:
    """Both, or neither, is a problem of the study file."""
    both = STUDY.replace("metric:", "objective: sweep.objectives.toy:train\nmetric:")
    for text, message in (
        (both, "command: cannot be combined with objective; keep one of the two"),
        (STUDY[37:], "objective: missing"),
    ):
        with pytest.raises(StudyFileError, match=message):
            read_study(write(here, text))


def test_a_command_is_written_back_as_it_was(here: Path) -> None:
    """As a list of words, whether it was written as one or as a line."""
    (here / "script.py").touch()
    study = read_study(write(here, STUDY.replace("${args}", "'a \"b' ${args} ${dir}/é")))
    assert study.command == ("python", "script.py", 'a "b', "${args}", "${dir}/é")
    assert read_study(write(here, write_study(study), "again.yaml"), ["name=study"]) == study
    listed = STUDY.replace("python script.py ${args}", '[python, script.py, "${args}", 3]')
    assert read_study(write(here, listed)).command == ("python", "script.py", "${args}", "3")


@pytest.mark.parametrize(
    "words", ["python mine.py", "sh -c 'echo $x'", "python here.py ${x} {y}", "python -m here", "python here.py ${dir}"]
)
def test_a_command_that_may_be_right_is_not_refused(here: Path, words: str) -> None:
    """One whose script uses the client, a program for a shell, other braces."""
    (here / "here.py").touch()
    (here / "mine.py").write_text("from sweep import trial" if "mine" in words else "")
    assert read_study(write(here, STUDY.replace("python script.py ${args}", words))).command


def test_a_script_in_place_of_a_study_file(here: Path) -> None:
    """The error names the command that makes a study file for it."""
    (here / "a.py").write_text("")
    with pytest.raises(SweepError, match="not a study file") as caught:
        read_study(here / "a.py")
    assert f"sweep init {here / 'a.py'}" in str(caught.value)
