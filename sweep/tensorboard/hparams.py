"""The records of TensorBoard's HPARAMS tab.

`SummaryWriter.add_hparams` makes a second run at each call, shows booleans as numbers, gives no domains and writes the status
success at once (pytorch#32651, pytorch#45481). The plugin's rules, from its source (tensorboard 2.21,
plugins/hparams/backend_context.py and list_session_groups.py) and checked with both loaders:

- For each run and tag the first record counts. So a session start is written when the trial starts (its status is then
  unknown), and exactly one session end when it ends.
- Any one of several experiment records counts: every trial writes the same complete one, made from the study.
- A number's domain is a list of fewer than ten values, or an interval; the filter of a longer list fails.
- Only the first few columns are shown at first: swept parameters are marked as differing, the objective is the first metric.
- Several metrics come first, then the constrained ones, then `front` and `feasible` (1 or 0): the tab sorts and filters by
  each, and the SCATTER PLOT MATRIX draws metric against metric.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Value
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from sweep.study.space import Choice, Constant, Domain, Numbers, listed
from sweep.study.trial import Params, Scalar
from sweep.tensorboard import event_files
from sweep.tensorboard.columns import FRONT
from sweep.tensorboard.event_writer import EventWriter

_MOST_CHECKBOXES = 9


def experiment(space: Mapping[str, Domain | None], metrics: Iterable[str]) -> Summary:
    """Return the record that describes the whole study: every hyperparameter with type and domain, every metric.

    Args:
        space: the parameters in the order of their columns; one without a domain is any text.
        metrics: tags, the objective first; duplicates are dropped.
    """
    record = api_pb2.Experiment(
        hparam_infos=[_hparam_info(name, domain) for name, domain in space.items()],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in dict.fromkeys(metrics)],
    )
    return _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=record))


def session_start(params: Params, space: Mapping[str, Domain | None], group: str | None = None) -> Summary:
    """Return the record that makes a trial's row appear; runs of one group share a row, which shows their metrics' means."""
    record = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time(), group_name=group)
    _set_hparams(record, params, space)
    return _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=record))


def session_end(*, success: bool) -> Summary:
    """Return the record of a trial's status."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    record = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=record))


def write_description(folder: Path, space: Mapping[str, Domain | None], metrics: Iterable[str]) -> None:
    """Write a run that has only the description of the columns."""
    _write(folder, experiment(space, metrics))


def append_front(run_folder: Path, *, inside: bool, step: int, mend: bool = False) -> None:
    """Write into a run that has ended whether its trial is in the Pareto front; the last record counts.

    `step` is larger than those before. `mend` cuts off half a record first, which a killed runner may have left.
    """
    if mend:
        event_files.cut_torn_ends(run_folder)
    paths = sorted(run_folder.glob(event_files.PATTERN))
    if not paths:  # somebody removed them
        return
    summary = Summary(value=[Summary.Value(tag=FRONT, simple_value=float(inside))])
    with contextlib.suppress(FileNotFoundError):  # the trial was dropped at this moment
        event_files.append(paths[-1], [Event(wall_time=time.time(), step=step, summary=summary).SerializeToString()])


def append_end(run_folder: Path, params: Params, *, success: bool) -> None:
    """Write the end of a trial whose process is gone, into one more event file in its folder; its start too, if there is none."""
    run_folder.mkdir(exist_ok=True)
    event_files.cut_torn_ends(run_folder)
    for path in run_folder.glob(event_files.PATTERN):
        if found := _tagged(path, metadata.SESSION_END_INFO_TAG):  # written just before the process died; the first one counts
            event_files.cut_before(path, found[0])
    has_row = any(_tagged(path, metadata.SESSION_START_INFO_TAG) for path in run_folder.glob(event_files.PATTERN))
    if has_row:  # its function may have asked for more parameters since it appeared
        _rewrite(run_folder, lambda infos, row: _set_hparams(row, {k: v for k, v in params.items() if k not in row.hparams}, {}))
    _write(run_folder, *([] if has_row else [session_start(params, {})]), session_end(success=success), suffix=".end")


def renew(run_folder: Path, params: Params, space: Mapping[str, Domain | None]) -> None:
    """Describe the hyperparameters of an existing run again, by today's space: a column may have other values, or another type.

    The number and the order of the records stay.
    """

    def change(infos: Any, row: Any) -> None:
        del infos[:]
        infos.extend(_hparam_info(name, domain) for name, domain in space.items())
        row.hparams.clear()
        _set_hparams(row, params, space)

    _rewrite(run_folder, change)


def set_column(run_folder: Path, name: str, text: str | None) -> None:
    """Give an existing run a column of text, or another text in it; None removes the column."""

    def change(infos: Any, row: Any) -> None:
        others = [info for info in infos if info.name != name]
        del infos[:]
        infos.extend(others)
        row.hparams.pop(name, None)
        if text is not None:
            infos.append(_hparam_info(name, None))
            row.hparams[name].string_value = text

    _rewrite(run_folder, change)


def _rewrite(run_folder: Path, change: Callable[[Any, Any], None]) -> None:
    """Change the descriptions of columns and the rows in the files of a run, each given with an empty one of the other kind."""
    for path in event_files.of_run(run_folder):
        for tag in (metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG):
            if (found := _tagged(path, tag)) is None:
                continue
            start, length, event = found
            before = event.SerializeToString(deterministic=True)
            for value in event.summary.value:
                content = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
                other = plugin_data_pb2.HParamsPluginData()
                described, row = (content, other) if tag == metadata.EXPERIMENT_TAG else (other, content)
                change(described.experiment.hparam_infos, row.session_start_info)
                value.metadata.plugin_data.content = content.SerializeToString()
            if (now := event.SerializeToString(deterministic=True)) != before:
                event_files.replace_record(path, start, length, now)


def _write(folder: Path, *summaries: Summary, suffix: str = "") -> None:
    """Write one more event file, which holds these records."""
    with contextlib.closing(EventWriter(folder, suffix)) as writer:
        for summary in summaries:
            writer.add_event(Event(wall_time=time.time(), summary=summary))


def _tagged(path: Path, tag: str) -> tuple[int, int, Event] | None:
    """Return where the first record with a tag is in a file, and the record."""
    found = (record for record in event_files.events(path) if any(value.tag == tag for value in record[2].summary.value))
    return next(found, None)


def _set_hparams(record: Any, params: Params, space: Mapping[str, Domain | None]) -> None:
    for name, value in params.items():
        record.hparams[name].CopyFrom(_value(value, _data_type(space.get(name, Constant(value=value)))))


def domains_of(hparams: Mapping[str, Any], discrete: Mapping[str, Sequence[Any]] | None) -> dict[str, Domain]:
    """Return a space for the arguments of `add_hparams`, outside a study."""
    discrete = discrete or {}
    return {
        name: Choice(values=tuple(plain(item) for item in discrete[name])) if name in discrete else Constant(value=plain(value))
        for name, value in hparams.items()
    }


def plain(value: Any) -> Scalar:
    """Return a hyperparameter as a plain scalar: the item of a NumPy or 0-d torch scalar, anything else as text."""
    item = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    return item if item is None or isinstance(item, (bool, int, float, str)) else str(item)


def _hparam_info(name: str, domain: Domain | None) -> api_pb2.HParamInfo:
    info = api_pb2.HParamInfo(name=name, type=_data_type(domain), differs=True)
    if isinstance(domain, Numbers):
        info.domain_interval.min_value, info.domain_interval.max_value = domain.low, domain.high
    elif domain is not None:
        values = listed(domain)
        info.differs = len(values) > 1
        if info.type == api_pb2.DATA_TYPE_FLOAT64 and len(values) > _MOST_CHECKBOXES:
            numbers = [float(value) for value in values if isinstance(value, int | float)]
            info.domain_interval.min_value, info.domain_interval.max_value = min(numbers), max(numbers)
        else:
            shown = (False, True) if info.type == api_pb2.DATA_TYPE_BOOL else values
            info.domain_discrete.CopyFrom(ListValue(values=[_value(value, info.type) for value in shown]))
    return info


def _data_type(domain: Domain | None) -> int:
    if isinstance(domain, Numbers):
        return int(api_pb2.DATA_TYPE_FLOAT64)
    types = {type(value) for value in listed(domain)} if domain is not None else {str}
    if types <= {bool}:
        return int(api_pb2.DATA_TYPE_BOOL)
    return int(api_pb2.DATA_TYPE_FLOAT64 if types <= {int, float} else api_pb2.DATA_TYPE_STRING)  # a column has one type


def _value(value: Scalar, kind: int) -> Value:
    if kind == api_pb2.DATA_TYPE_BOOL:
        return Value(bool_value=bool(value))
    if kind == api_pb2.DATA_TYPE_FLOAT64 and isinstance(value, int | float):
        return Value(number_value=float(value))
    return Value(string_value=json.dumps(value) if isinstance(value, tuple) else str(value))


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    summary = Summary()
    summary.value.add(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
    return summary
