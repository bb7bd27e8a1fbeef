"""The study file: what is read, what is refused, and with which messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.errors import StudyFileError, SweepError
from sweep.study.file.reading import read_study
from sweep.study.file.writing import write_study
from sweep.study.space import Choice, Constant, Domain, Range
from sweep.study.spec import StudySpec
from tests.support.studies import write_study as write

SOUND = """
objective: sweep.objectives.toy:train
metric: {name: loss, goal: minimize}
method: grid
parameters:
  x: {values: [0.1, 0.2]}
  steps: {value: 3}
"""


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(StudyFileError) as caught:
        read_study(write(folder, text), overrides)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def parameter(folder: Path, text: str, method: str = "random") -> Domain:
    study = read_study(
        write(
            folder,
            f"""
            objective: sweep.objectives.toy:train
            metric: {{name: loss, goal: minimize}}
            method: {method}
            budget: {{trials: 3}}
            parameters:
              other: {{values: [1, 2]}}
              p: {text}
            """,
        )
    )
    return study.parameters["p"]


def test_defaults_are_filled_in(here: Path) -> None:
    """The name is the file's stem, and every optional key has its default."""
    study = read_study(write(here, SOUND, "my-study.yaml"))
    assert (study.name, study.seed, study.retries, study.output, study.stop_after_failures) == ("my-study", 0, 1, "runs", 5)
    assert study.parameters == {"x": Choice(values=(0.1, 0.2)), "steps": Constant(value=3)}
    assert study.total == 2
    assert study.import_dir == str(here)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("{values: [1e-3, 1E5]}", Choice(values=(0.001, 100000.0))),
        ("{values: [true, 'yes', 3, null]}", Choice(values=(True, "yes", 3, None))),
        ("{value: null}", Constant(value=None)),
        ("{min: 1, max: 8}", Range(low=1, high=8)),
        ("{min: 1, max: 8.0}", Range(low=1, high=8.0)),
        ("{min: 1e-4, max: 1e-1, log: true}", Range(low=1e-4, high=1e-1, log=True)),
        ("{min: 0, max: 1, step: 0.1}", Range(low=0.0, high=1.0, step=0.1)),
        ("{distribution: uniform, min: 0, max: 1}", Range(low=0.0, high=1.0)),
        ("{distribution: log_uniform_values, min: 1, max: 10}", Range(low=1.0, high=10.0, log=True)),
        ("{distribution: int_uniform, min: 0, max: 5}", Range(low=0, high=5)),
        ("{distribution: q_uniform, min: 0, max: 1, q: 0.25}", Range(low=0.0, high=1.0, step=0.25)),
        ("{distribution: constant, value: 3}", Constant(value=3)),
        ("{distribution: categorical, values: [a, b]}", Choice(values=("a", "b"))),
    ],
)
def test_domains_in_this_spelling_and_in_wandbs(here: Path, text: str, domain: Domain) -> None:
    """Ranges of two ints have ints, `1e-3` is a number, and W&B's distributions have the same meaning as there."""
    found = parameter(here, text)
    assert found == domain
    assert isinstance(found, Range) is False or found.integer == domain.integer  # type: ignore[union-attr]  # 1 == 1.0 in Python


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{values: []}", "parameters.p: values is empty; list at least one"),
        (
            "{values: [0.001, 1e-3]}",
            "parameters.p: 0.001 is listed twice; each value is trained once, use `repeats` for more seeds",
        ),
        ("{values: [1, true]}", "parameters.p: True is listed twice (the same as 1 to Python)"),
        ("{values: [a], value: b}", "parameters.p: has both value and values; give exactly one of value, values, or min and max"),
        ("{log: true}", "parameters.p: has no domain; give exactly one of value, values, or min and max"),
        ("{min: 1}", "parameters.p: has min without max"),
        ("{min: 2, max: 1}", "parameters.p: min (2) must be below max (1); for one value write value: 2"),
        ("{min: 0, max: 1, log: true}", "parameters.p: a log scale needs min above 0, got 0"),
        ("{min: 0, max: 1, step: 2}", "parameters.p: step must be above 0 and at most max - min (1), got 2"),
        ("{min: 1, max: 9, step: 1, log: true}", "parameters.p: has both step and log; keep one"),
        (
            "{values: [.nan]}",
            "parameters.p.values[0]: must be a finite number, a string, true, false, null, or a list of these, got nan",
        ),
        ("{values: [on, off]}", "parameters.p.values[0]: on is a word in YAML 1.2; write true, or 'on' in quotes"),
        (
            "{values: [{a: 1}]}",
            "parameters.p.values[0]: must be a finite number, a string, true, false, null, or a list of these, got",
        ),
        ("{vals: [1]}", "parameters.p.vals: unknown key; did you mean 'values'?"),
        ("{min: a, max: 1}", "parameters.p.min: must be a finite number, got 'a'"),
        ("0.1", "for a constant write p: {value: 0.1}"),
        ("{distribution: unifrom, min: 0, max: 1}", "parameters.p.distribution: 'unifrom' is not known; did you mean 'uniform'?"),
        ("{distribution: int_uniform, min: 0.5, max: 5}", "distribution int_uniform needs whole numbers as min and max"),
        (
            "{values: [!!python/object/apply:os.system [ls]]}",
            "only numbers, strings, booleans, lists and mappings are allowed here",
        ),
    ],
)
def test_a_domain_that_is_none_is_refused_with_its_line(here: Path, text: str, message: str) -> None:
    """The message says what is wrong and what to write, at the parameter's line."""
    with pytest.raises(StudyFileError) as caught:
        parameter(here, text)
    found = [str(problem) for problem in caught.value.problems]
    assert any(message in line for line in found), found
    assert all(line.startswith(f"{here}/study.yaml:8:") for line in found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{values: [0.1, 0.2]}", "[1, 2]", "for several values write x: {values: [1, 2]}"),
        ("{values: [0.1, 0.2]}", "{grid_search: [1, 2]}", "write values: [1, 2]"),
        ("{values: [0.1, 0.2]}", "{min: -1e308, max: 1e308}", "max - min is too large for a number"),
        ("{values: [0.1, 0.2]}", "{min: 0, max: 1, step: 1e-300}", "cannot be told apart in 12 digits"),
        ("{name: loss, goal: minimize}", "loss", "write metric: {name: loss, goal: minimize}"),
        ("goal: minimize", "goal: min", "write goal: minimize"),
        ("method: grid", "method: bayes", "write method: tpe"),
        ("method: grid", "sample: {values: [1]}", "write it under parameters:, indented: sample: {values: [1]}"),
        ("sweep.objectives.toy:train", "mine.py:train", "write objective: mine:train"),
    ],
)
def test_the_form_that_comes_to_mind_first_is_corrected(here: Path, old: str, new: str, message: str) -> None:
    """With what to write here, for the words of other tools too; tests/hostile/test_users.py has many more."""
    found = problems(here, SOUND.replace(old, new))
    assert any(message in line for line in found), found


def test_what_is_no_regular_file_is_not_opened(here: Path) -> None:
    """Opening a pipe would wait for whoever writes into it."""
    os.mkfifo(here / "study.yaml")
    with pytest.raises(SweepError, match="it is no file, but a pipe"):
        read_study(here / "study.yaml")


def test_every_problem_is_reported_at_once(here: Path) -> None:
    """No problem hides another. They are in the order of the file, with lines, before those of the command line."""
    text = """\
    name: a/b
    objectiv: x
    metric: {name: loss, goal: minimise}
    method: gridd
    parameters:
      lr: {vales: [1]}
      a: {min: 0.0, max: 1.0}
      b c: {value: 1}
    repeats: 0
    workers: {devices: [0, a], per_device: 0}
    budget: {trials: 0, time: soon}
    retries: -1
    """
    assert problems(here, text, "lrr.value=3", "seed") == [
        "study.yaml:1: name: must be a folder name: letters, digits, '.', '_', '+' and '-', at most 100, no path, got 'a/b'",
        "study.yaml:1: objective: missing; it is `module:function`; the study file's own folder is importable too;"
        " or write command: for a script",
        "study.yaml:2: objectiv: unknown key; did you mean 'objective'?",
        "study.yaml:3: metric.goal: 'minimise' is not known; did you mean 'minimize'?",
        "study.yaml:4: method: 'gridd' is not known; did you mean 'grid'?",
        "study.yaml:6: parameters.lr.vales: unknown key; did you mean 'values'?",
        "study.yaml:8: parameters.b c: a parameter's name has letters, digits, '_' and '-', begins with a letter, "
        "and has dots between, got 'b c'",
        "study.yaml:9: repeats.count: input should be greater than 0, got 0",
        "study.yaml:10: workers.devices: must be auto, cpu, or a list of GPU indices such as [0, 1], got [0, 'a']",
        "study.yaml:10: workers.per_device: must be auto or a whole number above 0, got 0",
        "study.yaml:11: budget.trials: input should be greater than 0, got 0",
        "study.yaml:11: budget.time: must be a duration such as 30m, 2h, 1h30m or 90s, got 'soon'",
        "study.yaml:12: retries: input should be greater than or equal to 0, got -1",
        "command line: lrr.value: no such key or parameter; did you mean 'lr'? a new parameter is added with "
        "parameters.lrr.value=...",
        "command line: seed: an override is written key=value; for example lr.values='[0.1, 0.01]' or epochs.value=1",
    ]


def test_what_changes_nothing_is_accepted(here: Path) -> None:
    """`repeats: 1` and `pruner: {type: none}` are the defaults."""
    assert read_study(write(here, SOUND + "repeats: 1\npruner: {type: none}\n")).total == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\nb: 3", "this is no valid YAML"),
        ("a: 1\na: 2", "this is no valid YAML: found duplicate key"),
        ("\tx: 1", "this is no valid YAML"),
        ("- a", "a study file is a list of `key: value` lines"),
        ("", "objective: missing"),
    ],
)
def test_text_that_is_no_study_file_is_refused(here: Path, text: str, message: str) -> None:
    """Broken YAML is a problem with a line, never a traceback."""
    (here / "study.yaml").write_text(text)
    with pytest.raises(StudyFileError) as caught:
        read_study(here / "study.yaml")
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_error(here: Path) -> None:
    """So is a file that is no text."""
    with pytest.raises(SweepError, match=r"cannot read .*nowhere.yaml: No such file"):
        read_study(here / "nowhere.yaml")
    (here / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SweepError, match="not UTF-8"):
        read_study(here / "binary.yaml")


def test_samplers_need_a_budget_and_something_to_choose(here: Path) -> None:
    """A search without an end or a choice is refused; so is an infinite grid."""
    random = SOUND.replace("grid", "random")
    assert any("method random never ends by itself; add budget: {trials: 50}" in line for line in problems(here, random))
    constant = random.replace("values: [0.1, 0.2]", "value: 1") + "budget: {trials: 2}\n"
    assert any("nothing to choose" in line for line in problems(here, constant))
    continuum = SOUND.replace("values: [0.1, 0.2]", "min: 0.0, max: 1.0")
    assert any("a grid needs finitely many values" in line for line in problems(here, continuum))


def test_a_determinism_may_be_off_without_quotes(here: Path) -> None:
    """In the file and on the command line; elsewhere the word is refused, since other programs read it as a boolean."""
    for words in ("determinism: off\n", "determinism: 'off'\n", ""):
        override = () if words else ("determinism=off",)
        assert read_study(write(here, SOUND + words), override).determinism == "off"
    assert "off is a word in YAML 1.2" in problems(here, SOUND + "log: {images: off}\n")[0]
    assert "study.yaml:8: determinism: 'of' is not known; did you mean 'off'?" in problems(here, SOUND + "determinism: of\n")[0]


def test_a_strict_determinism_is_refused_for_a_command(here: Path) -> None:
    """What a program of its own computes with is its own affair; the message says what to write there."""
    (here / "train.py").write_text("")
    text = SOUND.replace("objective: sweep.objectives.toy:train", "command: python train.py ${args}")
    read_study(write(here, f"{text}determinism: default\n"))
    assert problems(here, f"{text}determinism: strict\n") == [
        "study.yaml:8: determinism: strict cannot be set for a command, which is a program of its own; remove it, and call"
        " torch.use_deterministic_algorithms(True) in the script"
    ]


def test_a_parameter_named_seed_is_no_hyperparameter(here: Path) -> None:
    """It selects the random seed: it has whole numbers only and is not searched."""
    assert problems(here, SOUND.replace("x:", "seed:"))[0].startswith("study.yaml:6: parameters.seed: must be whole numbers")
    searched = SOUND.replace("method: grid", "method: tpe\nbudget: {trials: 3}").replace("x: {", "seed: {min: 0, max: 9}\n  x: {")
    assert "method tpe would search for the luckiest seed" in problems(here, searched)[0]


def test_a_parameter_may_have_the_name_of_a_key(here: Path) -> None:
    """On the command line a name with parts means the parameter, whether the file has it or not."""
    study = read_study(write(here, SOUND), ["seed.values=[0, 1]", "seed=7"])
    assert (study.seed, study.parameters["seed"]) == (7, Choice(values=(0, 1)))
    assert read_study(write(here, SOUND), ["budget.trials=1"]).budget.trials == 1


def test_an_objective_that_is_not_there_is_found_without_importing_it(here: Path) -> None:
    """Module, submodule, function and syntax are checked in the source; the module is not run."""
    (here / "mine.py").write_text("raise SystemExit('imported!')\ndef train(trial): ...\n")
    (here / "tupled.py").write_text("def one(trial): ...\ntrain, other = one, 1\n")
    assert read_study(write(here, SOUND), ["objective=tupled:train"]).objective == "tupled:train"
    (here / "broken.py").write_text("def train(:\n")
    assert read_study(write(here, SOUND), ["objective=mine:train"]).objective == "mine:train"
    for reference, message in [
        ("mine:trian", "module 'mine' has no 'trian'; did you mean 'train'?"),
        ("mien:train", "there is no module 'mien'"),
        ("sweep.objectives.fashion:train", "there is no module 'sweep.objectives.fashion'"),
        ("broken:train", "broken.py:1: invalid syntax"),
        ("no colon", "must be written module:function"),
    ]:
        assert any(message in line for line in problems(here, SOUND, f"objective={reference}")), reference


def test_any_key_can_be_overridden(here: Path) -> None:
    """A parameter needs no prefix, and a domain of another kind replaces the file's."""
    study = read_study(
        write(here, SOUND),
        [
            "x.value=0.5",
            "steps.values=[1, 2]",
            "seed=7",
            "budget.trials=1",
            "workers={devices: cpu, threads: 2}",
            "parameters.y.max=3",
            "parameters.y.min=1",
            "name=other",
        ],
    )
    assert study.parameters == {"x": Constant(value=0.5), "steps": Choice(values=(1, 2)), "y": Range(low=1, high=3)}
    assert (study.seed, study.budget.trials, study.workers.devices, study.workers.threads, study.name) == (
        7,
        1,
        "cpu",
        2,
        "other",
    )
    assert study.total == 1


def test_a_resolved_study_reads_back_the_same(here: Path) -> None:
    """The file beside the results is an ordinary study file."""
    text = """
    objective: sweep.objectives.toy:train
    metric: {name: loss, goal: minimize, target: 0.5}
    method: tpe
    parameters:
      a: {min: 1e-5, max: 1, log: true}
      b: {values: [x, 'true', true, null, 1e-3]}
      c: {min: 1, max: 9, step: 2}
      d: {value: "0.1"}
    budget: {trials: 20, time: 2h, patience: 5}
    workers: {devices: [0, 1], per_device: 2, threads: 3}
    """
    study = read_study(write(here, text))
    again = read_study(write(here, write_study(study), "resolved.yaml"))
    assert again == study
    assert study.budget.time_s == 7200


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["yes", "off", "null", "~", "1e3", "? a", "- b", "\x85", "\U0001f600", "#", "a: b", "!x"]),
)


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(scalars, min_size=1, max_size=5, unique_by=lambda value: value if isinstance(value, str) else float(value))
)
def test_any_list_of_scalars_survives_being_written_and_read(
    values: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Types are kept: a string that looks like a number, a boolean or a line break remains a string."""
    study = StudySpec(
        name="any",
        objective="sweep.objectives.toy:train",
        import_dir="/",
        metrics=read_study(write(tmp_path_factory.mktemp("s"), SOUND)).metrics,
        method="grid",
        parameters={"p": Choice(values=tuple(values))},  # type: ignore[arg-type]  # hypothesis's types are wider
    )
    path = tmp_path_factory.mktemp("s") / "study.yaml"
    path.write_text(write_study(study), encoding="utf-8")
    found = read_study(path).parameters["p"]
    assert isinstance(found, Choice)
    assert [(type(value), value) for value in found.values] == [(type(value), value) for value in values]


@settings(deadline=None, max_examples=60)
@given(text=st.text(alphabet="abc:{}[]-,'\"!&*# \n0.1", max_size=60))
def test_no_text_makes_a_traceback(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """For any content of the file, the result is a study or a message."""
    path = tmp_path_factory.mktemp("s") / "study.yaml"
    path.write_text(text)
    with pytest.raises(SweepError):
        read_study(path)


RAY = {
    "engine: ray, address: auto": [],
    "engine: ray, address: '10.0.0.1:6379', resources: {spot: 0.5}": [],
    "engine: ray, devices: cpu, address: '[::1]:6379'": [],
    "engine: ray, address: null": [],
    "engine: local, address: auto, resources: {spot: 1}": [],  # of a file for both
    "engine: ray, devices: [0, 1]": ["workers.devices: indices mean nothing on a cluster"],
    "engine: ray, address: head": ["workers.address: must be auto, or HOST:PORT of a cluster"],
    "engine: ray, address: 'ray://head:10001'": ["workers.address: must be auto, or HOST:PORT of a cluster"],
    "address: auto, resources: {spot: 1}": ["workers.address: is for a Ray", "workers.resources: is for a Ray"],
    "engine: ray, resources: {GPU: 1}": ["workers.resources: must not name GPU"],
    "engine: dask": ["workers.engine: "],
}


@pytest.mark.parametrize("workers", RAY)
def test_the_keys_of_a_cluster(workers: str, here: Path) -> None:
    """Those that mean nothing where they are written are problems; the study's own copy of the file is sound."""
    text = f"{SOUND}\nworkers: {{{workers}}}\n"
    if RAY[workers]:
        found = problems(here, text)
        assert len(found) == len(RAY[workers])
        assert all(one in two for one, two in zip(RAY[workers], found, strict=True)), found
        return
    study = read_study(write(here, text))
    assert (study.workers.address is None) == ("local" in workers or "null" in workers)
    assert read_study(write(here, write_study(study))) == study
