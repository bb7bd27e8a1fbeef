"""The harness that asks a TensorBoard repeats a question whose answer does not come whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.tensorboards import TensorBoard


class Unreliable(BaseHTTPRequestHandler):
    """Break off the first answer, close the second connection without one, have nothing loaded at the third."""

    asked = 0

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked += 1
        if self.asked == 2:
            return
        self.send_response(503 if self.asked == 3 else 200)
        self.send_header("Content-Length", "100" if self.asked == 1 else "11")
        self.end_headers()
        self.wfile.write(b'{"whole": 1}'[:11] if self.asked == 1 else b'{"whole":1}')

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def board() -> Iterator[TensorBoard]:
    with HTTPServer(("127.0.0.1", 0), Unreliable) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield TensorBoard(f"http://127.0.0.1:{server.server_port}/#hparams\n", seconds=5)
        server.shutdown()
        thread.join()


def test_a_question_is_repeated_until_its_answer_is_whole(board: TensorBoard) -> None:
    """Also when the connection is closed; an answer that nothing is loaded is an answer."""
    assert board.ask("what") is None
    assert Unreliable.asked == 3
    assert board.ask("what") == {"whole": 1}


def test_a_server_that_does_not_answer_is_an_error() -> None:
    """When the time is up."""
    with pytest.raises(OSError, match="refused"):
        TensorBoard("http://127.0.0.1:9/", seconds=0.2).ask("what")
