"""`sweep report --serve`: the page of a study in a browser, kept up to date while the study runs.

Only this machine is answered: the socket is that of 127.0.0.1, and a request must name it or `localhost` as its host, so that no
web page whose name was pointed here (DNS rebinding) reads anything. There are two paths, and no file of the disk is at either.
"""

from __future__ import annotations

import os
import re
import sys
import webbrowser
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sweep.cli.show import check_exists, has_display
from sweep.cli.target import Target
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED, SweepError, one_line
from sweep.report.live import LivePage
from sweep.runner.stopping import raise_on_termination

_HOST = "127.0.0.1"
_NAMES = (_HOST, "localhost")
_NICE = 10  # trials on the same cores come first
_HTML, _JSON, _TEXT = "text/html; charset=utf-8", "application/json", "text/plain; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself has the rest of it
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve_report(targets: Sequence[Target], *, port: int, browser: bool, writes: bool = False) -> int:
    """Serve a study's page until Ctrl-C; return the exit code.

    Args:
        targets: the study, and no other.
        port: another one if it is in use.
        browser: whether to open the page, where there is a display.
        writes: whether files or JSON are wanted, too, which is an error.

    Raises:
        SweepError: there is no study, or several are named, or nothing can be served here.
    """
    if writes:
        what = "--serve writes neither a file nor JSON"
        raise SweepError("serves-alone", what, do=f"sweep report {targets[0].word} --serve")
    if len(targets) > 1:
        words = " ".join(target.word for target in targets)
        what = "one study is served at a time"
        raise SweepError("one-study", what, do=f"sweep report {targets[0].word} --serve\nsweep report {words}   writes one page")
    [target] = targets
    check_exists(target)
    target.snapshot()  # what is damaged is told here
    raise_on_termination()
    try:
        server = _server(LivePage(target.folder, target.snapshot), port)
        with server:
            if server.server_port != port:
                print(f"port {port} is taken")
            address = f"http://{_HOST}:{server.server_port}/"
            print(f"{address}   (Ctrl-C ends it)", flush=True)
            if browser and has_display():
                webbrowser.open(address)
            os.nice(_NICE)  # what it has started keeps its priority
            server.serve_forever()
    except KeyboardInterrupt:
        pass
    return EXIT_OK


class _Server(ThreadingHTTPServer):
    """Say nothing of a reader who has gone."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _server(page: LivePage, port: int) -> _Server:
    handler = type("_PageHandler", (_Handler,), {"live": page})
    for chosen in (port, 0):  # 0 is any free port
        try:
            return _Server((_HOST, chosen), handler)
        except OSError as error:
            problem = error
    what = f"no port of {_HOST} can be opened: {problem.strerror}"
    raise SweepError("cannot-serve", what, do="sweep report STUDY   writes the page to a file", exit_code=EXIT_SOME_FAILED)


class _Handler(BaseHTTPRequestHandler):
    """Answer one connection: `/` is the page, `/state` what has changed."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sweep", ""
    timeout = 60
    live: LivePage

    def do_GET(self) -> None:
        """Answer a known path; any other one is not found."""
        host, _, _ = self.headers.get("Host", "").partition(":")
        path, _, query = self.path.partition("?")
        if host.lower() not in _NAMES:
            self._answer(HTTPStatus.FORBIDDEN, _TEXT, "this page is for this machine alone\n")
            return
        try:
            if path == "/":
                self._answer(HTTPStatus.OK, _HTML, self.live.page())
            elif path == "/state":
                seen = query.removeprefix("seen=")
                self._answer(HTTPStatus.OK, _JSON, self.live.state(int(seen) if re.fullmatch("[0-9]{1,15}", seen) else 0))
            else:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, "there is no such page\n")
        except SweepError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, one_line(error.what))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Print nothing: the terminal is the reader's."""
