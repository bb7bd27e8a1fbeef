"""Read and check a study file, or a dict of its keys."""

from __future__ import annotations

import codecs
import dataclasses
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sweep.errors import EXIT_LOCKED, Problem, StudyFileError, SweepError
from sweep.study.command import NOT_STUDIES, not_a_study
from sweep.study.file import hints, wandb
from sweep.study.file.checks import (
    OptionProblem,
    OptionProblems,
    check_metrics,
    check_name,
    check_objective,
    check_one_of,
    check_together,
    to_domains,
)
from sweep.study.file.findings import problem_of
from sweep.study.file.inheriting import FindParents, inherit
from sweep.study.file.own_space import check_own_space
from sweep.study.file.parameters import Parameter
from sweep.study.file.schema import StudyModel, has_parts
from sweep.study.file.source import Overrides, Source, given_source, read_source
from sweep.study.file.values import ParameterName
from sweep.study.file.writing import FORMAT
from sweep.study.keys import keys_of
from sweep.study.space import Domain, Numbers
from sweep.study.spec import StudySpec

_FORMAT = re.compile(r"# sweep format (\d+)")
_LARGEST = 4 << 20  # bytes; the values of a file that size are more than are read
_KNOWN_KEYS = {key: has_parts(field.annotation) for key, field in StudyModel.model_fields.items()}


def no_problems(key: str, name: str, options: Mapping[str, Any]) -> tuple[OptionProblem, ...]:
    """Report no problems of options, for a study that is only read."""
    return ()


def read_study(
    path: Path,
    overrides: Overrides = (),
    *,
    import_dir: Path | None = None,
    find_objective: bool = True,
    option_problems: OptionProblems = no_problems,
    find_parents: FindParents | None = None,
) -> StudySpec:
    """Read a study file and check all of it, without importing the objective.

    Args:
        path: the YAML file.
        overrides: `key=value` words of the command line, or keys with their values, applied in order.
        import_dir: folder searched for the objective's module; default: the file's own.
        find_objective: check whether the objective exists; not needed to read results.
        option_problems: yields what is wrong with the options of a sampler or pruner; not needed to read results.
        find_parents: finds the trials that a study with the key `from` goes on from; not needed for a study's own copy.

    Raises:
        StudyFileError: the file has problems; it contains all of them.
        SweepError: the file cannot be read; or what `find_parents` raises.
    """
    if path.suffix in NOT_STUDIES:
        raise not_a_study(path)
    text = _text_of(path)
    if (written := _FORMAT.match(text)) and int(written[1]) > FORMAT:
        raise SweepError(
            "newer-version",
            f"{path} was written by a newer version of sweep (format {written[1]}, this one knows {FORMAT})",
            do="pip install --upgrade sweep\nor keep the folder and start another study:  sweep run STUDY name=another-name",
            exit_code=EXIT_LOCKED,
        )
    source = read_source(str(path), text, overrides, _KNOWN_KEYS, None if written else wandb.translate)
    folder = str((import_dir or path.parent).resolve())
    return _checked(source, folder, path.stem, find_objective, option_problems, find_parents)


def is_wandb_file(path: Path) -> bool:
    """Return whether a file is a sweep file of W&B's.

    Raises:
        SweepError: it cannot be read.
    """
    return wandb.is_sweep(read_source(str(path), _text_of(path), (), _KNOWN_KEYS, None).data)


def _text_of(path: Path) -> str:
    """Return a study file's text.

    Raises:
        SweepError: it is no file, or not UTF-8, or too large for one.
    """
    reason, do = "it is not UTF-8 text", f"save it as UTF-8:  iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))} > study.yaml"
    try:
        # Opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(path.stat().st_mode):
            reason, do = "it is no file, but a pipe, a device or a socket", "save its text in a file, and name that"
        else:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
            if len(data) <= _LARGEST:
                return data.decode("utf-8-sig")
            reason, do = f"it has more than {_LARGEST >> 20} MiB", "is it a data file? a study file is a page of YAML"
    except OSError as error:
        reason, do = error.strerror or str(error), f"ls -l {shlex.quote(str(path))}"
    except UnicodeDecodeError as error:
        if not error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            line = error.object.count(b"\n", 0, error.start) + 1
            reason, do = f"line {line} is not UTF-8 text", "is it a text file? save it as UTF-8 in the editor"
    raise SweepError("study-not-readable", f"cannot read {path}: {reason}", do=do)


def given_study(
    data: Mapping[str, Any],
    overrides: Overrides = (),
    *,
    import_dir: Path,
    find_objective: bool = True,
    option_problems: OptionProblems = no_problems,
    find_parents: FindParents | None = None,
) -> StudySpec:
    """Check a study given as a dict of a study file's keys, which must have a name; the rest is as for `read_study`."""
    source = given_source(data, overrides, _KNOWN_KEYS, wandb.translate)
    return _checked(source, str(import_dir.resolve()), None, find_objective, option_problems, find_parents)


def _checked(
    source: Source,
    import_dir: str,
    default_name: str | None,
    find_objective: bool,
    option_problems: OptionProblems,
    find_parents: FindParents | None,
) -> StudySpec:
    if source.is_whole and find_parents is not None:
        inherit(source, default_name, find_parents)
    problems = source.problems
    unread, broken = len(problems), {problem.key for problem in problems if problem.key}
    values: dict[str, Any] = {}
    domains: dict[str, Domain] = {}
    if source.is_whole:
        values = _valid_keys(source)
        problems += check_one_of(source, "objective", "command", "for a script")
        problems += check_one_of(source, "metric", "metrics", "for a list of several")
        problems += check_metrics(source, values)
        if find_objective:
            problems += check_objective(source, values, import_dir)
        problems += check_own_space(source, values, import_dir if find_objective else None)
        domains = to_domains(source, values.get("parameters") or {})
        problems += check_together(source, values, domains, option_problems)
        if values.get("name", "") is None:
            values["name"] = default_name
            problems += check_name(source, default_name)
    if problems:
        # What cannot be read has no value, which is no further problem, neither its own nor of what contains it.
        problems = [one for place, one in enumerate(problems) if place < unread or not _concerns(one.key, broken)]
        raise StudyFileError(source.name or "the dict", sorted(dict.fromkeys(problems), key=_order))
    return _study(values, domains, import_dir, source.notes)


def _valid_keys(source: Source) -> dict[str, Any]:
    """Return the value of each key that is valid by itself, defaults included; record what is wrong in the source."""
    fields = StudyModel.model_fields
    values: dict[str, Any] = {}
    for key in [key for key in source.data if key not in fields]:
        source.add((key,), "unknown key", hints.top_level(key, source.data[key], fields, Parameter.model_fields))
    for key, field in fields.items():
        given = source.data.get(key)
        if key == "parameters" and given and isinstance(given, dict):
            # Each by itself, so that the others' domains are checked, too, if one is malformed.
            values[key] = {}
            for name, value in given.items():
                _valid(source, (key, name), ParameterName, name)
                values[key] |= _valid(source, (key, name), Parameter, value)
        elif key in source.data:
            values |= _valid(source, (key,), field.rebuild_annotation(), given)
        elif field.is_required():
            source.add((key,), "missing", f"it is {field.description}")
        else:
            values[key] = field.get_default()
    return values


def _valid(source: Source, path: tuple[str, ...], kind: Any, given: Any) -> dict[str, Any]:
    """Return the last part of a path with its value, nothing if it is not valid; record what is wrong in the source."""
    try:
        return {path[-1]: TypeAdapter(kind).validate_python(given, strict=True)}
    except ValidationError as error:
        source.problems += [problem_of(source, path, detail) for detail in error.errors(include_url=False)]
        return {}


def _study(values: dict[str, Any], domains: dict[str, Domain], import_dir: str, notes: list[str]) -> StudySpec:
    # In a range of floats `lr: 1` is 1.0.
    floats = {name for name, domain in domains.items() if isinstance(domain, Numbers) and not domain.integer}
    points = values["enqueue"]
    found: dict[str, Any] = {field.name: values[key.name] for key, field in keys_of(StudySpec)} | {
        "import_dir": import_dir,
        "notes": notes,
        "metrics": values["metrics"] or [values["metric"]],
        "parameters": domains,
        "suggests": not domains,
        "enqueue": [{name: float(value) if name in floats else value for name, value in point.items()} for point in points],
        "pruner": {} if values["pruner"].get("type") == "none" else values["pruner"],
    }
    if found["workers"].engine == "local":
        found["workers"] = dataclasses.replace(found["workers"], address=None, resources={})
    found |= {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    return StudySpec(**found)


def _concerns(key: str, broken: set[str]) -> bool:
    return bool(key) and any(one == key or one.startswith((f"{key}.", f"{key}[")) for one in broken)


def _order(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.where.rpartition(":")
    return (file, int(line)) if line.isdigit() else ("~", 0)
