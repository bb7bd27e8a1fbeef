"""The text of a first study file, with a comment for each choice that was made in it."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.errors import StudyFileError, SweepError, one_line
from sweep.study.file.reading import given_study, is_wandb_file, read_study
from sweep.study.file.writing import changed_keys, flow
from sweep.study.spec import SEED
from sweep.study.starting.proposals import MOST_GRID, TRIALS, Proposal, is_search

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./${}-]+", re.ASCII)
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_WIDEST, _HELP, _COMMENT = 44, 76, 110


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a first study file says besides its parameters.

    Attributes:
        about: what it is for, a few words.
        runs: the keys that say what runs: `objective`, or `command` with `cwd` and `env`; each value is YAML.
        why: a comment for each of these.
        metrics: the name and the goal of each metric.
        metric_notes: comments above them.
        proposals: the parameters; None if the objective asks for them itself.
    """

    about: str
    runs: dict[str, str]
    metrics: Sequence[tuple[str, str]]
    why: dict[str, str] = field(default_factory=dict)
    metric_notes: Sequence[str] = ()
    proposals: Sequence[Proposal] | None = ()


def words_text(words: Sequence[str]) -> str:
    """Return a command's words as the value of its key."""
    plain = all(_PLAIN_WORD.fullmatch(word) and not word.endswith(":") for word in words)
    return " ".join(words) if plain else flow(shlex.join(words))


def in_own_words(path: Path) -> str:
    """Return the text of a study file that says what a sweep file of W&B's does.

    Raises:
        StudyFileError, SweepError: see `read_study`; also when it is no such file.
    """
    if not is_wandb_file(path):
        do = f"sweep plan {shlex.quote(str(path))}   shows what it says"
        raise SweepError("is-a-study", f"{path} is a study file already", do=do)
    study = read_study(path)
    lines = _wrapped(f"{path.name}, a sweep file of W&B's, in sweep's own words. sweep run {path.name} runs the same study.")
    lines += [line for note in study.notes for line in _wrapped(note)]
    for key, value in changed_keys(study).items():
        if key == "parameters":
            lines += ["parameters:", *(f"  {_flow(name)}: {_flow(domain)}" for name, domain in value.items())]
        else:
            lines.append(f"{key}: {words_text(value) if key == 'command' else _flow(value)}")
    return "\n".join(lines) + "\n"


def sound(proposal: Proposal) -> Proposal:
    """Return a proposal as it is if a study file may have it, else one without values that says why."""
    domains = [
        found for swept in (False, True) if (found := proposal.domain(swept=swept, search=True)) and found.get("values") != []
    ]
    if proposal.option.name == SEED:
        return Proposal(
            option=proposal.option, possible=False, note="each trial has a seed of its own; repeats: 3 trains with three"
        )
    for domain in domains:
        keys: dict[str, Any] = {"name": "first", "objective": "any:function", "metric": {"name": "loss", "goal": "minimize"}}
        parameters = {"any_other": {"values": [1, 2]}, proposal.option.name: domain}
        keys |= {"method": "random", "budget": {"trials": 1}, "parameters": parameters}
        try:
            given_study(keys, import_dir=Path(), find_objective=False)
        except StudyFileError as error:
            return Proposal(
                option=proposal.option, possible=False, note=f"not possible: {error.problems[0].message}".partition(", got ")[0]
            )
    return proposal


def first_study(start: Start) -> str:
    """Return the text of a study file."""
    lines = _wrapped(f"{start.about}: a first study, made by sweep init. Change what you like; sweep plan shows what would run.")
    for key, value in start.runs.items():
        lines += _wrapped(start.why.get(key, ""))
        lines.append(f"{key}: {value}")
    lines += [line for note in start.metric_notes for line in ([f"# {note}"] if note.startswith(" ") else _wrapped(note))]
    metrics = [f"{{name: {_flow(name)}, goal: {goal}}}" for name, goal in start.metrics]
    lines.append(f"metric: {metrics[0]}" if len(metrics) == 1 else f"metrics: [{', '.join(metrics)}]")
    if start.proposals is None:
        lines += ["# The function asks for its parameters itself, so there are none here.", "method: tpe"]
        return "\n".join([*lines, f"budget: {{trials: {TRIALS}}}"]) + "\n"
    swept = [one for one in start.proposals if one.swept]
    search = is_search(swept)
    if search:
        lines.append(f"# A grid of the swept parameters would have more than {MOST_GRID} trials, so they are searched.")
    lines += [f"method: {'tpe' if search else 'grid'}", "parameters:"]
    lines += [*_parameters(start.proposals, search=search)]
    lines += [f"budget: {{trials: {TRIALS}}}"] if search else []
    return "\n".join(lines) + "\n"


def _wrapped(comment: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(one_line(comment), _COMMENT, break_on_hyphens=False)]


def _parameters(found: Sequence[Proposal], *, search: bool) -> Iterator[str]:
    active = [one for one in found if one.swept or one.constant]
    rows = [(f"  {_flow(one.option.name)}: {_flow(one.domain(swept=one.swept, search=search))}", _comment(one)) for one in active]
    width = min(_WIDEST, max((len(row) for row, _ in rows), default=0))
    yield from (f"{row:{width}}  # {comment}".rstrip("# ") for row, comment in rows)
    rest = [one for one in found if one not in active]
    if rest:
        yield "  # The others. Remove a # to use the line; write {value: ...} to set one, {values: [..., ...]} to sweep it."
    rows = []
    for one in rest:
        domain = one.domain(swept=False, search=search)
        rows.append(
            (
                f"  # {_flow(one.option.name)}: {_flow(domain) if domain else '{value: ...}' if one.possible else '-'}",
                _comment(one),
            )
        )
    width = min(_WIDEST, max((len(row) for row, _ in rows), default=0))
    yield from (f"{row:{width}}  # {comment}".rstrip("# ") if comment else row for row, comment in rows)


def _comment(one: Proposal) -> str:
    text = re.sub(r"\s*[(\[]default[:=]?[^)\]]*[)\]]", "", one.option.help).strip()
    text = text.rstrip(".") if len(text) <= _HELP else f"{text[: _HELP - 3].rstrip()}..."
    shown = (one.swept or bool(one.option.choices)) and one.option.default is not None
    default = f"default {_flow(one.option.default)}" if shown else ""
    return one_line("; ".join(filter(None, [text, default, one.note])))


def _flow(value: Any) -> str:
    """Write plain data as YAML on one line, with quotes only where a text may need them."""
    if isinstance(value, str):
        return value if _PLAIN_TEXT.fullmatch(value) and value.lower() not in _NO_TEXTS else flow(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return flow(value)


# Words that YAML, or a reader who knows YAML 1.1, takes for something else than a text.
_NO_TEXTS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
