"""`sweep dashboard` and `sweep report`: a study in a browser."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cli.dashboard import side_by_side, tensorboard
from sweep.cli.remarks import renew_shown
from sweep.cli.target import Target
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, SweepError
from sweep.runner.stopping import raise_on_termination
from sweep.storage.files import write_text
from sweep.storage.folder import near, recorded
from sweep.storage.suggested import with_suggested
from sweep.study.file.reading import read_study
from sweep.study.file.writing import flow, plain_keys

if TYPE_CHECKING:
    from sweep.report.charts import Chart

_LONGEST_NAME = 120  # of the studies together, in the page's file name


def show_dashboard(targets: Sequence[Target], *, host: str, port: int, browser: bool) -> int:
    """Run TensorBoard on the studies until Ctrl-C; return the exit code.

    Raises:
        SweepError: there is no study, or TensorBoard does not start, or it ends by itself.
    """
    for target in targets:
        check_exists(target)
    raise_on_termination()
    try:
        for target in targets:
            renew_shown(target)
        with side_by_side([(with_suggested(target.study, target.folder), target.folder) for target in targets]) as logdir:
            print(f"starting TensorBoard on {', '.join(str(target.folder.root) for target in targets)}", flush=True)
            with tensorboard(logdir, host=host, port=port, merged=len(targets) > 1) as (address, process):
                if f":{port}/" not in address:
                    print(f"port {port} is taken")
                print(f"{address}   (Ctrl-C ends it)", flush=True)
                if browser and has_display():
                    webbrowser.open(address)
                code = process.wait()
    except KeyboardInterrupt:
        return EXIT_OK
    raise SweepError("tensorboard-ended", f"TensorBoard ended by itself with exit code {code}", exit_code=EXIT_SOME_FAILED)


def show_report(targets: Sequence[Target], *, out: str | None, figures: str | None, figure_format: str, form: str) -> None:
    """Write the report of a study, or of several side by side, and print where it is; or print its statements as JSON.

    Args:
        targets: the studies.
        out: the file; default: `report.html` in the study's folder, or `report-A-B.html` beside the first one's.
        figures: the folder for the charts as pictures, if they are wanted.
        figure_format: of these.
        form: `html` or `json`.

    Raises:
        SweepError: nothing has run yet, a study is named twice, or a file cannot be written.
    """
    for target in targets:
        check_exists(target)
    made = _single(targets[0]) if len(targets) == 1 else _side_by_side(targets)
    path = Path(out).expanduser() if out else made.place
    try:
        if form == "json":
            text = json.dumps(made.data(), indent=2) + "\n"
            if out:
                write_text(path, text)
            else:
                sys.stdout.write(text)
        else:
            made.write(path)
        if form != "json" or out:
            print(f"report   {near(path)}")
        if figures:
            from sweep.report.figures import write_figures

            for picture in write_figures(made.charts(), Path(figures).expanduser(), figure_format):
                print(f"figure   {near(picture)}", flush=True, file=sys.stderr if form == "json" else sys.stdout)
    except OSError as error:
        words = " ".join(target.word for target in targets)
        do = f"make room, or choose another place:  sweep report {words} --out FILE"
        what = f"a file could not be written: {error}"
        raise SweepError("report-not-written", what, do=do, exit_code=EXIT_SOME_FAILED) from error


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What a report is made of: its place, and what makes the page, the plain data and the charts."""

    place: Path
    write: Callable[[Path], None]
    data: Callable[[], dict[str, Any]]
    charts: Callable[[], list[Chart]]


def _single(target: Target) -> _Report:
    from sweep.report.charts import charts
    from sweep.report.facts import gather
    from sweep.report.page import write_page
    from sweep.report.plain_data import answer_json

    facts = gather(target.snapshot())
    return _Report(
        place=target.folder.report,
        write=lambda path: write_page(facts, path),
        data=lambda: answer_json(facts.answer),
        charts=lambda: charts(facts),
    )


def _side_by_side(targets: Sequence[Target]) -> _Report:
    from sweep.report.facts import gather
    from sweep.report.plain_data import studies_json
    from sweep.report.studies import side_by_side
    from sweep.report.studies_charts import studies_charts
    from sweep.report.studies_page import write_studies_page

    roots = [target.folder.root.resolve() for target in targets]
    if twice := [target.word for target, root in zip(targets, roots, strict=True) if roots.count(root) > 1]:
        what = f"the same study is named more than once: {', '.join(twice)}"
        raise SweepError("same-study", what, do=f"sweep report {targets[0].word}   shows one study")
    names = [target.study.name for target in targets]
    labels = [name if names.count(name) == 1 else near(target.folder.root) for name, target in zip(names, targets, strict=True)]
    found = side_by_side([gather(target.snapshot()) for target in targets], labels, [_file_words(target) for target in targets])
    return _Report(
        place=roots[0].parent / f"report-{'-'.join(names)[:_LONGEST_NAME]}.html",
        write=lambda path: write_studies_page(found, path),
        data=lambda: studies_json(found),
        charts=lambda: studies_charts(found),
    )


def _file_words(target: Target) -> str:
    """Return what names the study after `sweep run`: its file, which its folder names, and how the study differs from it."""
    stored = recorded(target.folder).get("study_file")
    path = target.path
    if path.is_dir():
        path = Path(stored) if isinstance(stored, str) and "\0" not in stored else Path(f"{target.study.name}.yaml")
    words = [near(path) if path.is_absolute() else str(path)]
    with contextlib.suppress(SweepError):  # the file is there no more, or is wrong by now
        now, then = plain_keys(target.study), plain_keys(read_study(path, find_objective=False))
        own, written = now.pop("parameters", {}), then.pop("parameters", {})
        words += [f"parameters.{name}={flow(domain)}" for name, domain in own.items() if domain != written.get(name)]
        words += [f"{key}={flow(value)}" for key, value in now.items() if value != then.get(key) and key != "name"]
    return shlex.join(words)


def check_exists(target: Target) -> None:
    """Check that there is a study.

    Raises:
        SweepError: nothing has run yet.
    """
    if not target.folder.root.exists():
        what = f"there is no study in {target.folder.root} yet"
        raise SweepError("no-study", what, do=f"sweep run {target.word}")


def has_display() -> bool:
    """Return whether a browser can be opened here."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
