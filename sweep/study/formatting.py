"""Numbers, durations, parameters and errors as text for people, in the terminal and in the report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from sweep.errors import one_line, printable
from sweep.study.ranking import objective_values
from sweep.study.record import TrialRecord
from sweep.study.space import swept
from sweep.study.spec import StudySpec, WorkersSpec
from sweep.study.timing import TimeBreakdown
from sweep.study.trial import Params, Scalar

# Strings that are written in quotes because they have another meaning without them.
_QUOTED = {"", "null", "true", "false"}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def number_text(value: float | None) -> str:
    """Return a metric with four digits after the point, a count without, a tiny or huge one with six significant digits."""
    if value is None:
        return "-"
    if isinstance(value, int) or (value.is_integer() and 100 <= abs(value) < 1e15):  # a count
        return str(int(value))
    if 1e3 <= abs(value) < 1e5:  # the mean of a count
        return f"{value:.1f}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.6g}"


def param_text(value: Scalar) -> str:
    """Return a parameter's value as in the study file, a float with six significant digits."""
    if value is None or isinstance(value, bool | tuple):
        return json.dumps(value)
    if isinstance(value, str) and (value in _QUOTED or _NUMBER.fullmatch(value)):
        return f"'{value}'"
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value))


def params_text(params: Params) -> str:
    """Return parameters in one line."""
    return " ".join(f"{one_line(name)}={param_text(value)}" for name, value in params.items())


def duration_text(seconds: float | None) -> str:
    """Return a duration such as `8.3 s`, `4:05` or `2:10:00`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def number_of_run(run: TrialRecord, study: StudySpec) -> str:
    """Return a run's number in tables: its trial's, and the repeat if there are several."""
    return str(run.number) if study.repeats == 1 else f"{run.number}.{run.repeat}"


def size_text(size: int) -> str:
    """Return a number of bytes such as `12 kB` or `3.4 GB`."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"


def time_shares_text(spent: TimeBreakdown) -> str:
    """Return the share of each activity in a study's time."""
    return ", ".join(f"{kind} {share:.1%}".replace("%", " %") for kind, share in spent.shares.items())


def slots_text(count: int) -> str:
    """Return a number of slots, such as `1 slot`."""
    return f"{count} slot{'s' * (count != 1)}"


def cluster_text(workers: WorkersSpec) -> str:
    """Return which Ray cluster runs the trials."""
    if workers.address == "auto":
        return "the Ray cluster that this machine is part of"
    return "a Ray that is started on this machine" if workers.address is None else f"the Ray cluster at {workers.address}"


def waiting_text(slots: int) -> str:
    """Return that so many slots wait for a cluster."""
    return f"{slots_text(slots)} wait{'s' * (slots == 1)} for room on the cluster"


def states_text(counts: Mapping[str, int]) -> str:
    """Return the counts of all non-zero states, such as `2 running, 3 complete`."""
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def trials_text(numbers: Iterable[int]) -> str:
    """Return the numbers of trials in short, such as `trials 0-2, 5`."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    texts = ["-".join(map(str, limits)) for limits in ranges]
    return f"trial{'s' * (len(texts) > 1 or '-' in ''.join(texts))} {', '.join(texts)}"


def run_text(record: TrialRecord, study: StudySpec) -> str:
    """Return the name of a run: its trial, and its repeat if there are several."""
    return f"trial {record.number}" + (f", repeat {record.repeat}" if study.repeats > 1 else "")


def tag_text(record: TrialRecord, study: StudySpec) -> str:
    """Return a trial's swept parameters in one line."""
    names = record.params if study.suggests else swept(study.parameters)
    return params_text({name: record.params[name] for name in names if name in record.params})


def objective_texts(record: TrialRecord, study: StudySpec) -> list[str]:
    """Return a trial's value of each metric, the first with its standard error if it is the mean of several runs."""
    texts = [number_text(value) for value in objective_values(study, record.value, record.metrics)]
    if record.standard_error is not None:
        spread = record.standard_error
        texts[0] += " ±" + (f"{spread:.4f}" if spread >= 1e-3 or not spread else f"{spread:.2g}")
    return texts


def objectives_text(record: TrialRecord, study: StudySpec) -> str:
    """Return a trial's value of each metric in one line."""
    return "  ".join(
        f"{one_line(metric.name)}={text}" for metric, text in zip(study.metrics, objective_texts(record, study), strict=True)
    )


def error_line(record: TrialRecord) -> str:
    """Return the most informative line of a trial's error: the exception, or how its worker died."""
    if not record.error:
        return ""
    lines = [line for line in printable(record.error).strip().split("\n") if line.strip()] or [""]
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]
