"""`sweep dashboard` and `sweep report`: a study in a browser."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from sweep.cli.dashboard import side_by_side, tensorboard
from sweep.cli.remarks import renew_shown
from sweep.cli.target import Target
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, SweepError
from sweep.runner.stopping import raise_on_termination
from sweep.storage.files import write_text
from sweep.storage.folder import near
from sweep.storage.suggested import with_suggested


def show_dashboard(targets: Sequence[Target], *, host: str, port: int, browser: bool) -> int:
    """Run TensorBoard on the studies until Ctrl-C; return the exit code.

    Raises:
        SweepError: there is no study, or TensorBoard does not start, or it ends by itself.
    """
    for target in targets:
        _check_exists(target)
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
                if browser and _has_display():
                    webbrowser.open(address)
                code = process.wait()
    except KeyboardInterrupt:
        return EXIT_OK
    raise SweepError("tensorboard-ended", f"TensorBoard ended by itself with exit code {code}", exit_code=EXIT_SOME_FAILED)


def show_report(target: Target, *, out: str | None, figures: str | None, figure_format: str, form: str) -> None:
    """Write the report, and the figures if their folder is given, and print where they are; or print its statements as JSON.

    Raises:
        SweepError: nothing has run yet, or a file cannot be written.
    """
    from sweep.report.facts import gather
    from sweep.report.figures import write_figures
    from sweep.report.page import write_page
    from sweep.report.plain_data import answer_json

    _check_exists(target)
    facts = gather(target.snapshot())
    path = Path(out).expanduser() if out else target.folder.report
    try:
        if form == "json":
            text = json.dumps(answer_json(facts.answer), indent=2) + "\n"
            if out:
                write_text(path, text)
            else:
                sys.stdout.write(text)
        else:
            write_page(facts, path)
        if form != "json" or out:
            print(f"report   {near(path)}")
        if figures:
            for picture in write_figures(facts, Path(figures).expanduser(), figure_format):
                print(f"figure   {near(picture)}", flush=True, file=sys.stderr if form == "json" else sys.stdout)
    except OSError as error:
        do = f"make room, or choose another place:  sweep report {target.word} --out FILE"
        what = f"a file could not be written: {error}"
        raise SweepError("report-not-written", what, do=do, exit_code=EXIT_SOME_FAILED) from error


def _check_exists(target: Target) -> None:
    if not target.folder.root.exists():
        what = f"there is no study in {target.folder.root} yet"
        raise SweepError("no-study", what, do=f"sweep run {target.word}")


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
