"""The charts of the CUSTOM SCALARS tab: what describes them in an event file."""

from __future__ import annotations

from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2

# Category: title of a chart: its kind ("Multiline" or "Margin") and its tags, as torch has it.
Layout = dict[str, dict[str, Any]]


def record(layout: Layout) -> Summary:
    """Return the record that describes all charts of a run.

    Raises:
        ValueError: a chart of a curve and its margin has not three tags.
    """
    categories = [
        layout_pb2.Category(title=category, chart=[_chart(title, *charts[title]) for title in charts])
        for category, charts in layout.items()
    ]
    content = layout_pb2.Layout(category=categories).SerializeToString()
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars"))
    return Summary(value=[Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=metadata)])


def _chart(title: str, kind: str, tags: list[str]) -> Any:
    if kind != "Margin":
        return layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
    if len(tags) != 3:
        raise ValueError(f"the chart {title!r} needs three tags (the curve, its lower and its upper margin), got {len(tags)}")
    series = layout_pb2.MarginChartContent.Series(value=tags[0], lower=tags[1], upper=tags[2])
    return layout_pb2.Chart(title=title, margin=layout_pb2.MarginChartContent(series=[series]))
