"""The connection between a script and its trial; tests/hostile/test_ports.py has the attacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.script.conftest import Line, Run, log

ATTACK = """
import json, os, socket
facts = json.loads(os.environ["SWEEP_TRIAL"])
assert ("port" in facts) == bool(os.environ.get("SWEEP_TRIAL_PORT"))
def call():
    line = socket.socket(socket.AF_UNIX if "socket" in facts else socket.AF_INET)
    line.connect(facts["socket"] if "socket" in facts else ("127.0.0.1", facts["port"]))
    line.settimeout(20)
    return line
"""


@pytest.fixture(params=["", "1"], ids=["socket", "port"])
def _kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEP_TRIAL_PORT", request.param)


@pytest.mark.usefixtures("_kind")
def test_nothing_is_read_before_the_token(trial: Run, tmp_path: Path, line: Line) -> None:
    """Whatever a stranger sends is closed, told once, and costs the trial nothing."""
    script = (
        ATTACK
        + """
report = b'{"do": "report", "step": 1, "metrics": {"score": 9}}\\n'
token = facts["token"].encode()
post = b"POST / HTTP/1.1\\r\\n\\r\\n" + token + b"\\n" + report
wrong = (b"0" * 32 + b"\\n" + report, token[:-1] + b"\\n" + report, bytes(99))
for sent in (b'["x"]\\n', '{"token": "\\u00e9"}\\n'.encode(), b"[" * 100_000, post, *wrong):
    stranger = call()
    try:
        stranger.sendall(sent)
        assert stranger.recv(9) == b"", sent
    except ConnectionError:
        pass
strangers = [call() for _ in range(100)]
from sweep import trial
trial.report(1, {"score": 1})
"""
    )
    assert trial(script).metrics == {"score": 1}, log(tmp_path)
    assert len(line.reports) == 1
    assert log(tmp_path).count("sweep: a connection without the trial's token was closed") == 1


@pytest.mark.usefixtures("_kind")
def test_a_request_that_is_not_valid_is_refused(trial: Run, tmp_path: Path) -> None:
    """With the token, too; the trial goes on."""
    script = (
        ATTACK
        + """
known = call()
known.sendall(facts["token"].encode() + b"\\n")
for wrong in (b"x", b'["x"]', b"[" * 100_000, b'{"do": "__init__"}', b'{"do": "report"}',
              b'{"do": "report", "step": 1, "metrics": 5}',
              b'{"do": "report", "step": 1, "metrics": {}, "state": "/etc/passwd"}', b'{"do": "steps", "total": "x"}'):
    known.sendall(wrong + b"\\n")
    assert b"refused" in known.recv(999), wrong
from sweep import trial
if os.fork() == 0:
    trial.report(1, {"score": 1}); os._exit(0)
os.wait()
trial.report(2, {"score": 2})
"""
    )
    assert trial(script).metrics == {"score": 2}, log(tmp_path)
