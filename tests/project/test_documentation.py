"""The documentation is true: its commands and examples run, its tables say what the program does."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from sweep import Trial, errors
from sweep.cli.commands import sweep
from sweep.search.methods import option_problems
from sweep.study.command import OWN
from sweep.study.file.reading import read_study
from sweep.study.file.schema import StudyModel
from sweep.study.file.writing import write_study
from sweep.study.keys import default_of, keys_of
from sweep.study.methods import PRUNERS, SAMPLERS
from sweep.study.spec import LogSpec, StudySpec
from sweep.study.timing import TimeBreakdown
from sweep.worker.script.client import ScriptTrial
from tests.conftest import REPOSITORY, Cli, Done

README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "sweep" / "docs"
PAGES = [README, *sorted(DOCS.glob("*.md"))]
TOPICS = ["cluster", "design", "from-wandb", "operations", "own-code", "report", "search", "speed", "study-file", "tensorboard"]
# What the real study is cut down to here; the numbers in the documentation are of the whole one.
QUICK = ["epochs.value=1", "parameters.train_samples.value=500", "batch_size.values=[64]"]
# The keys that an excerpt of a study file may lack.
REST = {
    "name": "name: excerpt",
    "objective": "objective: sweep.objectives.toy:train",
    "metric": "metric: {name: loss, goal: minimize}",
    "method": "method: random",
    "parameters": "parameters: {x: {min: 0.0, max: 1.0}}",
    "budget": "budget: {trials: 2}",
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def text_of(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return what stands on a page below a heading of the second level."""
    return text_of(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def files(page: Path) -> dict[str, str]:
    """Return the page's example files: blocks that begin with the file's name."""
    found = [block for language in ("python", "yaml") for block in blocks(page, language)]
    named = [(re.match(r"# (\S+\.(?:py|yaml))\n", block), block) for block in found]
    return {match[1]: block for match, block in named if match}


def steps(page: Path) -> list[list[str]]:
    """Return the words of every line that runs sweep or a program, in order, comments dropped; then the programs left."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if line.startswith(("sweep ", "python "))]
    started = "\n".join([*blocks(page, "sh"), *blocks(page, "yaml")])
    by_hand = (name for name in files(page) if name.endswith(".py") and not re.search(rf"{name[:-3]}(:|\.py)", started))
    return [*found, *(["python", name] for name in by_hand)]


def commands(page: Path) -> list[list[str]]:
    """Return the words of every `sweep ...` line."""
    return [words for program, *words in steps(page) if program == "sweep"]


def spans(page: Path) -> list[str]:
    """Return what stands in single backticks, outside of blocks."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables' rows, the heads and the lines below them left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {place - 1 for place, row in enumerate(cells) if set("".join(row)) <= set("-:")}
    return [row for place, row in enumerate(cells) if place not in heads and place - 1 not in heads]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ---------------------------------------------------------------- form


def test_the_pages_are_the_topics() -> None:
    """Each has the name by which it is asked for, and the README leads to each."""
    assert [page.stem for page in PAGES[1:]] == TOPICS
    text = README.read_text(encoding="utf-8")
    assert all(f"- [{topic}](sweep/docs/{topic}.md): " in text for topic in TOPICS)


def test_the_readme_is_short() -> None:
    """It can be read in a few minutes; the rest is in the pages."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 160


@each_page
def test_a_page_begins_with_its_purpose(page: Path) -> None:
    """A heading, then one sentence; no HTML, and lines that a terminal holds, but for the rows of some tables."""
    heading, empty, *rest = page.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"# \w[\w' ]*", heading)
    assert empty == ""
    first = " ".join(rest[: rest.index("")])
    assert first.endswith(".")
    assert page == README or (first.startswith("This page ") and ". " not in first)
    assert not re.search(r"</?[a-z]+[ >]", re.sub(r"`[^`]*`", "", prose(page)))
    assert all(len(line) <= 130 for line in rest if not line.startswith("| `"))


@each_page
def test_what_a_page_links_to_is_there(page: Path) -> None:
    """Files, pictures, and the headings of pages."""
    for picture, target in re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_file(), target
        if picture:
            assert path.read_bytes().startswith(b"\x89PNG")
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@each_page
def test_what_a_page_names_is_there(page: Path) -> None:
    """Files of the repository, benchmarks and their options, tests, names of the package, other pages."""
    for span in spans(page):
        if re.fullmatch(r"(sweep|studies|tests)/[\w/.-]+\.\w+", span):
            assert (REPOSITORY / span).is_file(), span
        if match := re.match(r"python -m (tests\.benchmarks\.\w+)(.*)", span):
            spec = importlib.util.find_spec(match[1])
            assert spec is not None, span
            source = inspect.cleandoc(Path(str(spec.origin)).read_text(encoding="utf-8"))
            assert all(f'"{option}"' in source for option in re.findall(r"--[\w-]+", match[2])), span
        if match := re.match(r"pytest .*-k (\w+)", span):
            tests = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
            assert any(re.search(rf"def test_\w*{match[1]}", text) for text in tests), span
        if match := re.match(r"(sweep(?:\.\w+)+)(?::(\w+))?$", span):
            assert importable(match[1], match[2]), span
    for topic in re.findall(r"\bpage\s+\[([\w-]+)\]\(([\w-]+)\.md\)", prose(page)):
        assert topic[0] == topic[1]


def importable(dotted: str, attribute: str | None) -> bool:
    try:
        spec = importlib.util.find_spec(dotted)
    except ModuleNotFoundError:
        spec = None
    if spec is None:  # a name of a module
        module, _, attribute = dotted.rpartition(".")
        return hasattr(importlib.import_module(module), attribute)
    return attribute is None or f"def {attribute}(" in Path(str(spec.origin)).read_text(encoding="utf-8")


# ---------------------------------------------------------------- commands


def check_words(words: list[str]) -> None:
    """Check that the command line takes these words; nothing is started."""
    sweep.commands[words[0]].make_context(words[0], words[1:])


@each_page
def test_the_command_line_takes_each_command_of_a_page(page: Path) -> None:
    """Those in blocks as they are written; those in a text with the options that they name."""
    for words in commands(page):
        check_words(words)
    for span in spans(page):
        if match := re.match(r"sweep ([a-z]+)\b(?!\.)(.*)", span):
            verb, options = match[1], re.findall(r"--[\w-]+", match[2])
            assert set(options) - {"--help"} <= options_of(sweep.commands[verb]), span


def options_of(command: click.Command) -> set[str]:
    return {option for one in command.params if isinstance(one, click.Option) for option in one.opts}


def test_every_command_and_option_is_documented() -> None:
    """In the list of commands, and in the table of options."""
    assert {words[0] for words in commands(DOCS / "operations.md")} == set(sweep.commands)
    found: dict[str, set[str]] = {}
    verbs: list[str] = []
    for verb_cell, option_cell, _ in rows(section("operations", "Commands")):
        verbs = named(verb_cell) or verbs
        for verb in verbs:
            found.setdefault(verb, set()).update(option.split()[0] for option in named(option_cell))
    assert found == {verb: options for verb, command in sweep.commands.items() if (options := options_of(command))}


def test_the_exit_codes_are_the_programs() -> None:
    """Each one, and no other."""
    codes = {int(row[0]) for row in rows(section("operations", "Exit codes"))}
    assert codes == {value for name, value in vars(errors).items() if name.startswith("EXIT_")}


def test_the_json_is_as_documented(cli: Cli, here: Path) -> None:
    """The keys of a trial, of the status and of the plan."""
    shutil.copytree(REPOSITORY / "studies", here / "studies")
    documented = [{key for row in table for key in named(row[0])} for table in tables(section("operations", "JSON"))]
    study = "studies/script.yaml"
    trial = cli("trials", study, "--format", "json").json[0]
    status = cli("status", study, "--json").json
    assert documented == [set(trial), set(status)]
    line = next(line for line in section("operations", "JSON").split("\n\n") if line.startswith("`sweep plan --json`"))
    assert set(named(line)) - {"sweep plan --json"} == set(cli("plan", study, "--json").json)


def tables(text: str) -> Iterator[list[list[str]]]:
    for part in re.findall(r"(?:^\|.*\n)+", text + "\n", flags=re.MULTILINE):
        yield rows(part)


def test_the_parts_of_the_time_are_the_programs() -> None:
    """As `sweep status --json` has them, in their order."""
    documented = [named(row[0])[0] for row in rows(section("operations", "Time"))]
    assert ["wall_s", *documented] == list(TimeBreakdown().to_json())


def test_every_environment_variable_is_documented() -> None:
    """Those that the package reads, and those that it sets for others."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "sweep").rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", sources)) | {"SWEEP_TRIAL"}
    table = {name for row in rows(section("operations", "Environment variables")) for name in named(row[0])}
    assert table == read
    assert all(f'"{name}"' in sources for name in named(section("operations", "Environment variables")) if name.isupper())


# ---------------------------------------------------------------- study files


@each_page
def test_every_study_file_of_a_page_is_sound(page: Path, here: Path) -> None:
    """Whole ones with their objectives; an excerpt together with the keys that it leaves out."""
    shutil.copy(REPOSITORY / "studies" / "train.py", here)
    for name, text in files(page).items():
        (here / name).write_text(text)
    for block in blocks(page, "yaml"):
        study(here, block)


def study(folder: Path, block: str) -> StudySpec:
    keys = set(re.findall(r"^(\w+):", block, flags=re.MULTILINE))
    left_out = {"metrics": "metric", "command": "objective", "program": "objective", "run_cap": "budget"}
    missing = [line for key, line in REST.items() if key not in keys | {left_out[key] for key in keys & left_out.keys()}]
    path = folder / "excerpt.yaml"
    path.write_text("\n".join([*missing, block]))
    return read_study(path, option_problems=option_problems)


def test_the_domains_are_accepted(here: Path) -> None:
    """Each row is one, and no two are the same."""
    domains = [named(row[0])[0] for row in rows(section("study-file", "Domains"))]
    found = [study(here, f"parameters: {{x: {domain}, y: {{min: 0, max: 1}}}}\n").parameters["x"] for domain in domains]
    assert len(domains) == 10
    assert all(one != other for place, one in enumerate(found) for other in found[:place])


def test_the_study_files_reference_is_the_programs() -> None:
    """A row for each key, with the description that the program has."""
    found = re.findall(r"^\| `(\w+)` \| (.*) \|$", section("study-file", "Keys"), flags=re.MULTILINE)
    assert found == [(name, field.description) for name, field in StudyModel.model_fields.items()]


def test_the_defaults_are_the_programs(here: Path) -> None:
    """What is written out in the table is what a file without these keys comes to."""
    table = rows(section("study-file", "Defaults"))
    assert len(table) == 11
    given = [f"{named(key)[0]}: {(named(value) or [value])[0]}" for key, value in table if value != "none"]
    assert study(here, "\n".join(given)) == study(here, "")


def test_the_panels_are_the_programs() -> None:
    """Each key of `log`, with its default."""
    table = {named(row[0])[0]: row[1] for row in rows(section("tensorboard", "Other tabs"))}
    assert table == {key.name: str(default_of(key, field)).lower() for key, field in keys_of(LogSpec)}


def test_the_built_in_objectives_parameters_are_the_programs() -> None:
    """Each one, with its default."""
    from sweep.objectives.training import DEFAULTS

    words = {None: "none", True: "true"}
    table = {named(row[0])[0]: row[1].strip("`") for row in rows(section("study-file", "The built-in objective"))}
    assert table | {"train_samples": "none"} == {
        name: words.get(default) or (default if isinstance(default, str) else f"{default:g}")
        for name, default in DEFAULTS.items()
    }


def test_the_methods_and_pruners_are_the_programs() -> None:
    """By the names of the study file, with Optuna's class and what they need and can do."""
    word = {True: "yes", False: "no"}
    assert [[*named(row[0]), *named(row[1]), *row[2:]] for row in rows(section("search", "Methods"))] == [
        [name, one.optuna, word[one.several_metrics], word[one.constraints], word[one.learns], ", ".join(one.packages) or "-"]
        for name, one in SAMPLERS.items()
    ]
    assert [[*named(row[0]), *named(row[1]), row[2]] for row in rows(section("search", "Pruners"))] == [
        [name, *filter(None, [one.optuna]), ", ".join(one.packages) or "-"] for name, one in PRUNERS.items()
    ]


# ---------------------------------------------------------------- own code


@each_page
def test_every_program_of_a_page_is_python(page: Path) -> None:
    """And belongs to a file, so that it is run."""
    for block in blocks(page, "python"):
        ast.parse(block)
    assert len(blocks(page, "python")) == sum(name.endswith(".py") for name in files(page))


def test_what_a_trial_offers_is_documented() -> None:
    """Every public name of it, and none that it has not got."""
    own = set(re.findall(r"^ {8}(\w+)(?:, \w+)*: ", inspect.getdoc(Trial) or "", flags=re.MULTILINE))
    offered = {name for name in dir(Trial) if not name.startswith("_") and name not in ("finish", "end", "suggest", "go_on")}
    attributes = set(re.findall(r"^ +(\w+): ", (inspect.getdoc(Trial) or "").partition("Attributes:")[2], flags=re.MULTILINE))
    table = {re.match(r"trial\.(\w+)", named(row[0])[0])[1] for row in rows(section("own-code", "A function"))}  # type: ignore[index]  # or the test fails
    assert table == offered | attributes | own
    for name in set(re.findall(r"\btrial\.(\w+)", prose(DOCS / "own-code.md"))):
        assert name in table, name
    client = section("own-code", "Scripts").partition("1. **The client**")[2].partition("2. **")[0]
    assert {name for name in named(client) if name.isidentifier()} <= set(dir(ScriptTrial()))


def test_the_panels_calls_are_the_programs() -> None:
    """By their names and the names of their arguments."""
    from sweep.tensorboard.panels import Panels

    calls = [ast.parse(named(row[0])[0]).body[0] for row in rows(section("own-code", "Panels"))]
    for call in calls:
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        assert isinstance(call.value.func, ast.Name)
        signature = inspect.signature(getattr(Panels, call.value.func.id))
        signature.bind(None, *call.value.args)
    assert len(calls) == 5


def test_the_placeholders_are_the_programs() -> None:
    """Its own, and that of a parameter."""
    found = [named(row[0])[0] for row in rows(section("own-code", "Scripts"))]
    assert sorted(found) == sorted(f"${{{name}}}" for name in (*OWN, "lr", "env:NAME"))


# ---------------------------------------------------------------- design


def test_the_design_has_its_sections() -> None:
    """Docstrings cite them by number."""
    headings = re.findall(r"^## (\d)\. ", text_of("design"), flags=re.MULTILINE)
    assert headings == list("1234567")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "sweep").rglob("*.py"))
    assert set(re.findall(r"design\.md`?, section (\d)", sources)) <= set(headings)


def test_the_layers_are_the_contracts() -> None:
    """In the same order, and each has a row that says what lives there."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    assert [block for block in blocks(DOCS / "design.md", "text") if block.splitlines() == contract["layers"]]
    layers = {name for layer in contract["layers"] for name in layer.split(" | ")} - {"__main__"}
    packages = {named(row[0])[0] for row in rows(section("design", "6. Layers"))}
    assert {name.partition("/")[0] for name in packages} == layers | {"docs"}
    assert all((REPOSITORY / "sweep" / name).is_dir() or (REPOSITORY / "sweep" / f"{name}.py").is_file() for name in packages)


# ---------------------------------------------------------------- everything runs


@pytest.mark.slow
@each_page
def test_every_command_and_program_of_a_page_runs(
    page: Path, cli: Cli, here: Path, fashion_data: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """In order, in an empty folder with the studies, which are cut down, and with the page's own files beside them."""
    shutil.copytree(REPOSITORY / "studies", here / "studies")
    path = here / "studies" / "fashion.yaml"
    path.write_text(write_study(read_study(path, QUICK)))
    for name, text in files(page).items():
        (here / name).write_text(text)
    if "lightning" in page.read_text(encoding="utf-8"):
        pytest.importorskip("lightning", reason="Lightning is not installed")
    if "studies/fashion.yaml" in str(blocks(page, "sh")):
        assert cli("run", "studies/fashion.yaml").code == 0
    if "runs/toy" in str(blocks(page, "sh")):
        assert cli("run", "studies/toy.yaml").code == 0
    for program, *words in steps(page):
        if program == "sweep":
            runs(words, cli, start)
        else:
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    for words in commands(page):
        if words[0] == "run":  # what was run came to its end
            name = next((word.partition("=")[2] for word in words if word.startswith("name=")), Path(words[1]).stem)
            trials = cli("trials", f"runs/{name}", "--format", "json").json
            assert {trial["state"] for trial in trials} in ({"complete"}, {"complete", "pruned"})
            assert len(trials) == {"mine": 10, "quick": 4}.get(name, len(trials))


def runs(words: list[str], cli: Cli, start: Callable[..., subprocess.Popen[str]]) -> None:
    if words[0] == "dashboard" or "--serve" in words:
        port = [] if "--port" in words else ["--port", "6306"]
        process = start(*words, *port)
        assert process.stdout is not None
        place = "/" if "--serve" in words else "/#hparams"
        assert any(re.search(rf"http://127\.0\.0\.1:\d+{place}", line) for line in process.stdout)
        process.terminate()
        assert process.wait(20) == 0
        return
    done: Done = cli(*words)
    # What is finished is not there to be resumed, stopped or followed; and there is no terminal to ask on.
    refused = {"resume": "[nothing-to-resume]", "stop": "[not-running]", "logs": "[no-trial-runs]", "clean": "[not-confirmed]"}
    if words[0] in ("resume", "stop") or (words[0] in refused and done.code):
        assert done.code == 2
        assert refused[words[0]] in done.err
    else:
        assert done.code == 0, f"{words}: {done.out}\n{done.err}"


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


def test_every_example_study_is_listed() -> None:
    """With what it shows."""
    listed = {named(row[0])[0] for row in rows(section("study-file", "Example studies"))}
    assert listed == {f"studies/{path.name}" for path in (REPOSITORY / "studies").glob("*.yaml")}


def test_the_first_two_commands_are_one_line_each() -> None:
    """Set-up and the main job, set-up and the tests; CI runs them as they are written."""
    lines = README.read_text(encoding="utf-8").splitlines()
    first, second = (line for line in lines if line.startswith("python3 -m venv"))
    assert first.endswith("&& .venv/bin/sweep run studies/fashion.yaml")
    assert second.endswith("&& .venv/bin/pytest")


@pytest.mark.parametrize("verb", [None, *sweep.commands])
def test_every_verb_has_help(verb: str | None) -> None:
    """Without a traceback, and with the usage."""
    words = [sys.executable, "-m", "sweep", *([verb] if verb else []), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: sweep {verb or ''}".rstrip())


def test_the_workflows_may_only_read() -> None:
    """And keep what pip has downloaded for the next time."""
    for path in (REPOSITORY / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert "\npermissions:\n  contents: read\n" in text
        assert "cache: pip\n" in text
        assert "cache-dependency-path: pyproject.toml\n" in text


def test_the_top_of_the_repository_is_as_agreed() -> None:
    """pyproject.toml, sweep, tests, studies, README.md and dotfiles; nothing else is tracked."""
    tracked = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("this is no git checkout")
    top = {line.partition("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {"pyproject.toml", "sweep", "tests", "studies", "README.md"}


@pytest.mark.slow
def test_the_hostile_cases_are_counted() -> None:
    """The table has each group of `tests/hostile`, with the number of its cases; together there are at least 400."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "slow", "-n", "0", "tests/hostile"]
    collected = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=90, check=True).stdout
    counts = Counter(re.findall(r"^tests/hostile/test_(\w+)\.py::", collected, re.MULTILINE))
    assert dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", section("operations", "Failures"), re.MULTILINE)) == {
        name: str(count) for name, count in counts.items()
    }
    assert counts.total() >= 400
