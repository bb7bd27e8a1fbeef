"""The page that shows several studies side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweep.report import studies_sentences
from sweep.report.frame import now_text, rendered
from sweep.report.measured import Measured
from sweep.report.settings import factors
from sweep.report.studies import Studies
from sweep.report.studies_charts import effect_name, numbered_trials, studies_charts
from sweep.storage.files import write_text
from sweep.study.formatting import param_text
from sweep.study.space import Constant


def write_studies_page(found: Studies, path: Path) -> None:
    """Write the page atomically, as one that loads no other file.

    Raises:
        OSError: the file cannot be written.
    """
    metrics = dict.fromkeys("" if found.apart else one.study.metric.name for one in found.facts)
    values = {
        "found": found,
        "words": studies_sentences,
        "made": now_text(),
        "names": list(dict.fromkeys(name for one in found.facts for name in factors(one.study))),
        "constants": [
            {name: param_text(domain.value) for name, domain in one.study.parameters.items() if isinstance(domain, Constant)}
            for one in found.facts
        ],
        "metric": next(iter(metrics)) or "metric",
        "metrics": _metrics(found),
        "effect_name": effect_name,
    }
    data: dict[str, Any] = {"metrics": [], "trials": numbered_trials(found), "charts": studies_charts(found)}
    write_text(path, rendered("studies.html", (" and " if len(found.labels) == 2 else ", ").join(found.labels), data, values))


def _metrics(found: Studies) -> dict[str, list[Measured | None]]:
    """Return the metrics of the best settings beside the objective, by name, with a place for each study."""
    own = {one.study.metric.name for one in found.facts}
    items = [{item.name: item for item in one.answer.metrics if not item.bookkeeping} for one in found.facts]
    names = dict.fromkeys(name for study in items for name in study if name not in own)
    return {name: [study.get(name) for study in items] for name in names}
