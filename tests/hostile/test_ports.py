"""The connection between a script and its trial: strangers, and scripts that know the token and send anything.

Each script attacks its own trial and then makes a report, which must count. All is tried on the private socket and on the port.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hostile.script_cases import Case, Ran, run_cases

pytestmark = pytest.mark.slow

TOOLS = """
import socket, struct, threading
facts = json.loads(os.environ["SWEEP_TRIAL"])
TOKEN = facts["token"].encode() + b"\\n"

def call(first=b""):
    line = socket.socket(socket.AF_UNIX if "socket" in facts else socket.AF_INET)
    line.connect(facts["socket"] if "socket" in facts else ("127.0.0.1", facts["port"]))
    line.settimeout(20)
    line.sendall(first)
    return line

def closed(line):
    try:
        return line.recv(9) == b""
    except ConnectionError:
        return True

def send(line, data):
    try:
        line.sendall(data)
    except ConnectionError:
        pass

def ask(line, request):
    line.sendall((request if isinstance(request, bytes) else json.dumps(request).encode()) + b"\\n")
    return answer(line)

def answer(line):
    text = b""
    while not text.endswith(b"\\n"):
        text += (got := line.recv(1))
        assert got, "it was closed"
    return json.loads(text)

def good():
    from sweep import trial
    trial.report(1, {"score": 7})

REPORT = {"do": "report", "step": 1, "metrics": {"score": 9}}
"""
ONCE = "sweep: a connection without the trial's token was closed"

STRANGERS = {
    "an-http-get": 'b"GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"',
    "an-http-post-with-the-token": 'b"POST / HTTP/1.1\\r\\n\\r\\n" + TOKEN + json.dumps(REPORT).encode() + b"\\n"',
    "a-tls-hello": 'b"\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01\\xfc\\x03\\x03" + bytes(500)',
    "an-ssh-banner": 'b"SSH-2.0-OpenSSH_9.6 a rather long banner\\r\\n"',
    "a-list": "b'[\"x\"]\\n'",
    "a-number": "b'1\\n'",
    "an-object-without-a-token": "json.dumps(REPORT).encode() + b'\\n'",
    "an-object-with-the-token": "json.dumps({'token': facts['token']} | REPORT).encode() + b'\\n'",
    "a-token-that-is-not-ascii": '\'{"do": "report", "token": "\\u00e9"}\\n\'.encode()',
    "a-wrong-token": "b'0' * 32 + b'\\n' + json.dumps(REPORT).encode() + b'\\n'",
    "a-token-with-a-wrong-end": "TOKEN[:-2] + b'g\\n'",
    "a-token-that-is-too-long": "TOKEN[:-1] + b'0\\n'",
    "a-token-that-is-too-short": "TOKEN[:-2] + b'\\n'",
    "a-token-in-capitals": "TOKEN.upper() if TOKEN.upper() != TOKEN else b'\\n'",
    "a-token-after-a-space": "b' ' + TOKEN",
    "a-token-on-the-second-line": "b'\\n' + TOKEN",
    "a-token-with-windows-line-end": "TOKEN[:-1] + b'\\r\\n'",
    "a-token-in-utf-16": "TOKEN.decode().encode('utf-16')",
    "an-empty-line": "b'\\n'",
    "zero-bytes": "bytes(100)",
    "deep-json": "b'[' * 200_000 + b'\\n'",
    "a-line-without-an-end": "b'x' * 10_000_000",
    "letters-that-are-none": "bytes(range(128, 256))",
}

CALLS = {
    "nothing-and-the-end": "call().close()",
    "nothing-for-long": "line = call(); assert closed(line)",
    "half-closed-at-once": "line = call(); line.shutdown(socket.SHUT_WR); assert closed(line)",
    "half-a-token-and-the-end": "line = call(TOKEN[:9]); line.shutdown(socket.SHUT_WR); assert closed(line)",
    "a-token-without-its-end": "line = call(TOKEN[:-1]); line.shutdown(socket.SHUT_WR); assert closed(line)",
    "half-a-token-for-long": "line = call(TOKEN[:9]); assert closed(line)",
    "slow-bytes": """
line = call()
for place in range(30):
    try: line.sendall(b"x")
    except ConnectionError: break
    time.sleep(0.5)
assert place < 20
""",
    "a-reset": """
line = call(b"abc"); line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); line.close()
""",
    "1000-connections": """
lines = [call() for _ in range(300)]
for _ in range(700):
    lines.append(call()); lines.pop(0).close()
""",
    "1000-connections-of-rubbish": """
for _ in range(1000):
    line = call(); send(line, b"rubbish" * 9); line.close()
""",
    "strangers-all-the-time": """
def bother():
    for _ in range(500):
        line = call(); send(line, b"x" * 99); line.close()
threads = [threading.Thread(target=bother) for _ in range(4)]
[thread.start() for thread in threads]
good()
[thread.join() for thread in threads]
""",
    "a-stranger-that-stays": "line = call()\ngood()",
}

KNOWN = {
    "the-token-and-nothing": "call(TOKEN).close()",
    "the-token-and-a-reset": """
line = call(TOKEN); line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); line.close()
""",
    "the-token-byte-by-byte": """
line = call()
for byte in TOKEN: line.sendall(bytes([byte])); time.sleep(0.01)
assert ask(line, {"do": "stop_requested"}) == {"answer": False}
""",
    "the-token-twice": """
line = call(TOKEN)
assert ask(line, TOKEN[:-1])["refused"][0] in ("ValueError", "TypeError")
assert ask(line, {"do": "stop_requested"}) == {"answer": False}
""",
    "everything-at-once": """
line = call(TOKEN + b'{"do": "stop_requested"}\\n' * 3)
assert [answer(line) for _ in range(3)] == [{"answer": False}] * 3
""",
    "a-request-in-pieces": """
line = call(TOKEN + b'{"do": "stop_'); time.sleep(0.2)
assert ask(line, b'requested"}') == {"answer": False}
""",
    "a-request-without-its-end": """
line = call(TOKEN + json.dumps(REPORT).encode()); line.shutdown(socket.SHUT_WR); assert closed(line)
""",
    "half-closed-after-a-request": """
line = call(TOKEN + b'{"do": "stop_requested"}\\n'); line.shutdown(socket.SHUT_WR)
assert answer(line) == {"answer": False}; assert closed(line)
""",
    "1000-requests-at-once": """
line = call(TOKEN + b'{"do": "stop_requested"}\\n' * 1000)
assert [answer(line) for _ in range(1000)] == [{"answer": False}] * 1000
""",
    "rubbish-after-the-token": """
line = call(TOKEN)
for wrong in (b"rubbish", b"", b"\\0", b"\\xff\\xfe", b"[", b"1", b"null", b'["x"]', b'"do"', b"{}", b'{"do": 0}'):
    assert "refused" in ask(line, wrong), wrong
assert ask(line, {"do": "stop_requested"}) == {"answer": False}
""",
    "deep-json-after-the-token": """
line = call(TOKEN)
assert "refused" in ask(line, b"[" * 200_000)
assert "refused" in ask(line, b'{"do": "report", "step": 1, "metrics": ' + b'{"a":' * 100_000)
""",
    "a-request-of-20-MB": """
line = call(TOKEN)
send(line, b"x" * 20_000_000 + b"\\n")
try: assert "refused" in answer(line)
except ConnectionError: pass
assert closed(line)
""",
    "unknown-requests": """
line = call(TOKEN)
for what in ("kill", "__init__", "_report", "_reason", "answer", "close", "", "report ", "REPORT"):
    assert ask(line, {"do": what})["refused"][0] == "ValueError", what
""",
    "wrong-words": """
line = call(TOKEN)
for words in ({}, {"step": 1}, {"metrics": {}}, {"step": 1, "metrics": {}, "x": 1}, {"step": 1, "metrics": [], "self": 1}):
    assert "refused" in ask(line, {"do": "report"} | words), words
assert "refused" in ask(line, {"do": "steps"})
assert "refused" in ask(line, {"do": "save"})
""",
    "wrong-metrics": """
line = call(TOKEN)
for metrics in (None, 1, "x", [], ["score"], {"score": None}, {"score": "x"}, {"score": []}, {"score": {}}, {"score": True}):
    assert "refused" in ask(line, {"do": "report", "step": -9, "metrics": metrics}) or not metrics, metrics
""",
    "wrong-steps": """
line = call(TOKEN)
for step in (None, "x", [], {}, 1.5, "1"):
    assert ask(line, {"do": "report", "step": step, "metrics": {"score": 1}})["refused"][0] == "TypeError", step
""",
    "wrong-numbers-of-steps": """
line = call(TOKEN)
for total in (None, "x", [], {}, 1.5, True, -1):
    assert "refused" in ask(line, {"do": "steps", "total": total}), total
assert ask(line, {"do": "next"}) == {"answer": None}
""",
    "a-state-from-elsewhere": """
line = call(TOKEN)
open("victim", "w").write("kept")
for path in ("/etc/passwd", "victim", os.path.abspath("victim"), "", ".", "\\0", "x" * 5000, facts["dir"],
             facts["dir"] + "/log.txt", facts["dir"] + "/../../../victim", facts["dir"] + "/.state.nowhere", 5, [], {}):
    assert "refused" in ask(line, {"do": "report", "step": -9, "metrics": {}, "state": path}), path
assert open("victim").read() == "kept" and os.path.exists(facts["dir"] + "/log.txt")
""",
    "a-state-with-code-in-it": """
import pickle
class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)
path = facts["dir"] + "/.state.evil"
open(path, "wb").write(pickle.dumps(Evil()))
line = call(TOKEN)
assert "refused" in ask(line, {"do": "report", "step": -9, "metrics": {}, "state": path})
assert not os.path.exists("pwned")
os.remove(path)
""",
    "a-state-that-is-a-link": """
import shutil
os.symlink("/etc/passwd", facts["dir"] + "/.state.link")
line = call(TOKEN)
assert "refused" in ask(line, {"do": "save", "state": facts["dir"] + "/.state.link"})
assert os.path.exists("/etc/passwd")
os.remove(facts["dir"] + "/.state.link")
""",
    "two-connections": """
one, two = call(TOKEN), call(TOKEN)
assert ask(one, {"do": "stop_requested"}) == ask(two, {"do": "stop_requested"}) == {"answer": False}
one.close()
assert ask(two, {"do": "stop_requested"}) == {"answer": False}
""",
    "two-processes": """
if (child := os.fork()) == 0:
    os._exit(0 if ask(call(TOKEN), {"do": "stop_requested"}) == {"answer": False} else 1)
assert os.waitpid(child, 0)[1] == 0
""",
    "600-connections-with-the-token": """
good()
lines = []
for _ in range(600):
    lines.append(call(TOKEN))
told = [ask(line, {"do": "stop_requested"}) for line in lines[:400]]
assert told == [{"answer": False}] * 400
""",
    "the-token-is-in-no-command-line": """
words = open("/proc/self/cmdline").read() + open(f"/proc/{os.getppid()}/cmdline").read()
assert facts["token"] not in words
assert facts["token"] not in open(facts["dir"] + "/log.txt").read()
""",
    "the-folder-is-private": """
folder = os.path.dirname(facts["logdir"])
assert os.stat(folder).st_mode & 0o777 == 0o700 and os.stat(folder).st_uid == os.geteuid()
""",
}


def code(attack: str) -> str:
    """Return the script of an attack: it makes its report, unless the attack does."""
    return TOOLS + attack + ("" if "good()" in attack else "\ngood()")


CASES = {
    **{
        name: Case(code=code(f"line = call()\nsend(line, {sent})\nassert closed(line)"), log=ONCE)
        for name, sent in STRANGERS.items()
    },
    **{name: Case(code=code(attack)) for name, attack in (CALLS | KNOWN).items()},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Run all attacks on one kind of connection when its first test needs them."""
    found: dict[str, Ran] = {}

    def get(kind: str) -> Ran:
        if kind not in found:
            env = {"SWEEP_TRIAL_PORT": "1" if kind == "port" else ""}
            found[kind] = run_cases(tmp_path_factory.mktemp(kind), CASES, env=env)
        return found[kind]

    return get


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["socket", "port"])
@pytest.mark.xdist_group("hostile-ports")
def test_an_attack_costs_the_trial_nothing(ran: Callable[[str], Ran], kind: str, name: str) -> None:
    """The report that follows counts, and nothing that a stranger sent does; the log says so at most once."""
    trials = ran(kind)
    trials.check(name, CASES[name])
    log = (trials.folder / trials.trials[name].folder / "log.txt").read_text(errors="replace")
    assert log.count(ONCE) <= 1
