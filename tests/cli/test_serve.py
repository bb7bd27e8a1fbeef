"""`sweep report --serve`: what is answered, how often a study is read, and the page in a browser while a sweep runs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.report.live import LivePage
from sweep.storage.folder import StudyFolder
from sweep.storage.snapshot import Snapshot
from sweep.storage.stored_study import stored_study
from tests.support import browser as tb
from tests.support.command_line import Running, run_sweep
from tests.support.studies import make_study, study_text, write_study
from tests.support.waiting import eventually, no_process_left, wait_for

TOY: dict[str, Any] = {"objective": "sweep.objectives.toy:train", "metric": {"name": "loss", "goal": "minimize"}}
KEEPS_WORKERS = True  # the browser; the test that has one looks for itself


def asked(address: str, path: str = "/", *, method: str = "GET", host: str | None = None) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    connection = http.client.HTTPConnection(address.partition("//")[2].rstrip("/"), timeout=20)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = tmp_path_factory.mktemp("served")
    path = write_study(folder, study_text({"x": [0.1, 0.2], "steps": 2}, **TOY))
    assert run_sweep("run", str(path), here=folder).code == 0
    return StudyFolder(root=folder / "runs" / "study")


def test_only_the_page_is_served_and_to_this_machine_alone(study: StudyFolder) -> None:
    """Two paths, by GET, under a name of this machine; Ctrl-C ends it with 0."""
    here = study.root.parent.parent
    with no_process_left(), Running("report", "study.yaml", "--serve", "--no-browser", here=here) as running:
        address = running.line("http://").split()[0]
        assert address.startswith("http://127.0.0.1:")
        status, page = asked(address)
        assert status == 200
        assert "connect-src 'self'" in page
        status, text = asked(address, "/state")
        state = json.loads(text)
        assert (status, state["ended"]) == (200, True)
        assert json.loads(asked(address, f"/state?seen={state['serial']}")[1]).keys() == {"serial", "version", "ended", "again_s"}
        for path in ("/study.yaml", "/../study.yaml", "//etc/passwd", "/state/", "/?x", "/state?seen=-1&%00"):
            assert asked(address, path)[0] == (200 if "?" in path else 404), path
        port = address.rstrip("/").rpartition(":")[2]
        hosts = {f"localhost:{port}": 200, "localhost:9": 200, "evil.example": 403, f"a.localhost:{port}": 403, "": 403}
        for host, expected in hosts.items():
            assert asked(address, host=host)[0] == expected, host
        assert asked(address, method="POST")[0] == 501
        with Running("report", "study.yaml", "--serve", "--port", port, "--no-browser", here=here) as other:
            assert other.line("http://").split()[0] != address
            assert f"port {port} is taken" in other.out
            other.send(signal.SIGTERM)
            assert other.end(20) == 0
        running.send(signal.SIGINT)
        assert running.end(20) == 0
        assert "Traceback" not in running.out


def test_a_study_is_read_only_when_it_changed_and_after_a_while(study: StudyFolder) -> None:
    """A reading that took long is followed by a long pause, whoever asks."""
    calls: list[float] = []

    def take() -> Snapshot:
        calls.append(time.monotonic())
        began = time.thread_time()
        while time.thread_time() - began < 0.1:
            pass
        return replace(Snapshot.take(stored_study(study), study), runner={"pid": 1})

    live = LivePage(study, take)
    first = json.loads(live.state())
    assert first["again_s"] >= 5
    assert "now" in first
    os.utime(study.environment)
    assert json.loads(live.state(first["serial"]))["serial"] == first["serial"]
    assert len(calls) == 1


def test_a_study_without_changes_is_not_read_again(study: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its session has ended; a file that is written has it read again."""
    calls: list[int] = []

    def take() -> Snapshot:
        calls.append(1)
        return Snapshot.take(stored_study(study), study)

    monkeypatch.setattr("sweep.report.live._STATE_S", 0.0)
    monkeypatch.setattr("sweep.report.live._STATE_TIMES", 0.0)
    live = LivePage(study, take)
    for _ in range(3):
        live.state()
    assert len(calls) == 1
    os.utime(study.environment)
    live.state()
    assert len(calls) == 2


def test_one_study_is_served_at_a_time(study: StudyFolder) -> None:
    """Several are refused with what to type, and so are options that would write a file."""
    here = study.root.parent.parent
    done = run_sweep("report", "runs/study", "study.yaml", "--serve", here=here)
    assert (done.code, "[one-study]" in done.err) == (2, True)
    done = run_sweep("report", "runs/study", "--serve", "--out", "page.html", here=here)
    assert (done.code, "[serves-alone]" in done.err) == (2, True)


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(bool(tb.missing()), reason=tb.missing())
def test_the_page_follows_a_sweep_and_ends_as_its_report(here: Path) -> None:
    """The reader's place, open details and charts stay while it grows; at the end it is the file's page."""
    make_study(here, {"x": [1, 2, 3, 4, 5, 6], "steps": 10, "sleep": 0.2}, workers={"devices": "cpu", "per_device": 2})
    with no_process_left(), Running("run", "study.yaml", here=here) as sweep, tb.chromium(webgl=False) as chromium:
        sweep.line("trial 0 step 1")
        with Running("report", "runs/study", "--serve", "--no-browser", here=here) as running:
            page = chromium.new_context(viewport={"width": 1200, "height": 700}).new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(running.line("http://").split()[0])

            def ended() -> int:
                return int(page.locator("#now .value").inner_text().split()[0])

            page.wait_for_selector("#now tbody progress")  # of a running trial
            page.wait_for_selector("#chart-timeline canvas")
            wait_for(lambda: ended() >= 2)
            page.locator("#study details").first.evaluate("details => { details.open = true; }")
            page.evaluate("document.querySelector('#chart-timeline canvas').kept = true; scrollTo(0, 400)")
            before = float(page.evaluate("scrollY"))
            wait_for(lambda: ended() > 2)
            assert page.evaluate("document.querySelector('#chart-timeline canvas').kept") is True
            assert page.locator("#study details").first.evaluate("details => details.open") is True
            assert float(page.evaluate("scrollY")) == before
            assert float(page.evaluate("document.body.dataset.refreshMs")) < 1000
            page.screenshot(path=Path(os.environ.get("SWEEP_SCREENSHOTS", here)) / "report-live.png", full_page=True)
            assert sweep.end() == 0
            page.get_by_text("No session runs: this is the report of all that has run.").wait_for()
            file = chromium.new_page()
            file.goto((here / "runs" / "study" / "report.html").as_uri())
            assert page.locator("main").text_content() == file.locator("main").text_content()
            charts = file.locator("figure[id]:has(canvas)").count()
            eventually(lambda: [page.locator(f"figure[id]{that}").count() for that in ("", ":has(canvas)")], [charts, charts])
            assert not complaints
            running.send(signal.SIGINT)
            assert running.end(20) == 0
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.get_by_text("The page's server has ended or cannot be reached").wait_for()
