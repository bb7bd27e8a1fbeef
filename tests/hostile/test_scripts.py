"""Scripts of every kind: what they print, how they end, what they report, how they are started, what they are given."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.hostile.script_cases import Case, Ran, run_cases
from tests.support.command_line import COMMAND, Running, run_sweep
from tests.support.reading import records
from tests.support.studies import study_text, write_study
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow

EVENTS = """
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

def add(writer, step, tag, number):
    writer.add_event(Event(wall_time=1.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=number)])))
"""
NEVER = "the command never reported 'score': in the first line that has it"

OUTPUT = {
    "latin-1": Case(code="os.write(1, 'caf\\u00e9\\n'.encode('latin-1')); GOOD", log="caf\ufffd\n"),
    "utf-16": Case(code="os.write(1, 'wide\\n'.encode('utf-16-le') + b'\\n'); GOOD", log="w\0i\0d\0e\0"),
    "no-newline-at-the-end": Case(code="os.write(1, b'{\"score\": 7}')"),
    "no-newline-at-the-end-of-the-log": Case(code="GOOD; os.write(1, b'the end')", log="the end\n"),
    "binary": Case(code="os.write(1, bytes(range(256)) * 4000 + b'\\n'); GOOD"),
    "zero-bytes": Case(code="os.write(1, b'\\0' * 100_000 + b'\\n'); GOOD"),
    "escapes": Case(code="os.write(1, b'\\x1b]0;title\\x07\\x1b[2J\\n'); GOOD"),
    "a-line-of-40-MB": Case(code="sys.stdout.write('x' * 40_000_000 + '\\n'); GOOD", seconds=10),
    "a-line-of-40-MB-to-stderr": Case(code="sys.stderr.write('x' * 40_000_000 + '\\n'); GOOD", seconds=10),
    "40-MB-without-a-newline": Case(code="GOOD; sys.stdout.write('x' * 40_000_000)", seconds=10),
    "100-MB-in-all": Case(code="for _ in range(100): sys.stdout.write(('x' * 99 + '\\n') * 10_000)\nGOOD", seconds=25),
    "a-progress-bar-of-40-MB": Case(code="for n in range(400_000): sys.stdout.write('%99d\\r' % n)\nprint(); GOOD", seconds=15),
    "a-report-of-5-MB": Case(code="print(json.dumps({'score': 7, 'note': 'x' * 5_000_000}))", not_in_log="xxx"),
    "a-report-that-is-too-long": Case(code="print(json.dumps({'score': 1, 'note': 'x' * 9_000_000})); GOOD", log="xxx"),
    "json-inside-a-long-line": Case(code="print('x' * 8_400_000 + '{\"score\": 1}'); GOOD"),
    "a-report-in-two-writes": Case(code="os.write(1, b'{\"sco'); time.sleep(0.2); os.write(1, b're\": 7}\\n')"),
    "a-letter-in-two-writes": Case(
        code="os.write(1, b'caf\\xc3'); time.sleep(0.2); os.write(1, b'\\xa9\\n'); GOOD", log="caf\u00e9"
    ),
    "windows-line-ends": Case(code="os.write(1, b'{\"score\": 7}\\r\\n')"),
    "line-separators-in-a-string": Case(code='print(\'{"score": 7, "note": "a\\u2028b\\x0b"}\'.replace(chr(11), \'\'))'),
    "closed-stdout": Case(code="os.close(1)\nfrom sweep import trial\ntrial.report(1, {'score': 7})"),
    "closed-stdout-and-stderr": Case(
        code="os.close(1); os.close(2)\nopen(sys.argv[1] + '/metrics.jsonl', 'w').write('{\"score\": 7}\\n')"
    ),
    "a-daemon-holds-the-pipes": Case(
        code="import subprocess; subprocess.Popen(['sleep', '40'], start_new_session=True); GOOD", seconds=25
    ),
    "a-daemon-prints-for-ever": Case(
        # Writes of at most PIPE_BUF bytes are whole; those of `yes` end within a line, and the metric would be in its middle.
        code="""
        import subprocess
        spam = "import os; [0 for _ in iter(lambda: os.write(1, b'spam ' * 10 + bytes([10])), 0)]"
        subprocess.Popen([sys.executable, '-c', spam], start_new_session=True); GOOD
        """,
        seconds=20,
    ),
    "a-child-prints-after-the-end": Case(code="if os.fork() == 0: time.sleep(60)\nelse: GOOD", seconds=30),
    "all-on-stderr": Case(code="print('{\"score\": 1}', file=sys.stderr); GOOD", log='{"score": 1}'),
}

ENDS = {
    "exit-code-2": Case(code="GOOD; print('bad flag'); sys.exit(2)", error="bad flag (exit code 2)"),
    "exit-code-255": Case(code="GOOD; sys.exit(255)", error="the command exited with code 255"),
    "exit-with-a-text": Case(code="GOOD; sys.exit('no data in /tmp/x')", error="no data in /tmp/x (exit code 1)"),
    "an-exception": Case(
        code="GOOD; raise RuntimeError('a b')", error="RuntimeError: a b (exit code 1)", details="\ntry it by hand:  cd "
    ),
    "an-exception-of-two-lines": Case(code="GOOD; raise RuntimeError('one\\ntwo')", error="RuntimeError: one (exit code 1)"),
    "an-exception-from-another": Case(
        code="GOOD\ntry: 1 / 0\nexcept Exception as error: raise KeyError('lr') from error", error="KeyError: 'lr' (exit code 1)"
    ),
    "an-exception-and-then-words": Case(
        code="import atexit; atexit.register(lambda: print('bye', flush=True)); GOOD; raise RuntimeError('a b')",
        error="RuntimeError: a b (exit code 1)",
    ),
    "an-exception-and-then-warnings": Case(
        code="import atexit; atexit.register(lambda: print('  warning', file=sys.stderr)); GOOD; raise RuntimeError('a b')",
        error="RuntimeError: a b (exit code 1)",
    ),
    "a-syntax-error": Case(code="def (", points=(), error="SyntaxError: invalid syntax (exit code 1)"),
    "a-missing-module": Case(
        code="import nowhere_at_all", points=(), error="ModuleNotFoundError: No module named 'nowhere_at_all' (exit code 1)"
    ),
    "wrong-words": Case(
        code="import argparse; argparse.ArgumentParser().parse_args(['--lr'])", points=(), error="unrecognized arguments: --lr"
    ),
    "a-line-of-signs-last": Case(code="GOOD; sys.exit('out of luck\\n=======')", error="out of luck (exit code 1)"),
    "a-silent-failure": Case(
        code="sys.exit(3)", points=(), error="the command exited with code 3", details="(it printed nothing)"
    ),
    "a-segmentation-fault": Case(code="GOOD; os.kill(os.getpid(), 11)", error="was ended by SIGSEGV"),
    "killed": Case(
        code="GOOD; print('step 3'); sys.stdout.flush(); os.kill(os.getpid(), 9)",
        error="was ended by SIGKILL",
        details="\nit printed last: step 3\n",
    ),
    "aborted": Case(code="GOOD; os.abort()", error="was ended by SIGABRT"),
    "a-signal-without-a-name": Case(code="GOOD; os.kill(os.getpid(), 40)", error="was ended by signal 40"),
    "half-a-report-and-the-end": Case(code="GOOD; os.write(1, b'{\"score\": 0.')", log='{"score": 0.'),
    "half-a-report-and-a-failure": Case(
        code="os.write(1, b'{\"score\": 0.'); os._exit(1)", points=(), error='{"score": 0. (exit'
    ),
    "stopped-and-continued": Case(
        code="""
        if (child := os.fork()) == 0:
            time.sleep(0.3); os.kill(os.getppid(), 18); os._exit(0)
        os.kill(os.getpid(), 19); GOOD
        """
    ),
    "stdin-is-empty": Case(code="assert sys.stdin.read() == ''; GOOD"),
    "input-fails": Case(code="input('name? ')", points=(), error="EOFError: EOF when reading a line (exit code 1)"),
    "no-terminal": Case(code="assert not any(map(os.isatty, (0, 1, 2))); GOOD"),
    "another-working-directory": Case(code="os.chdir('/'); GOOD"),
    "another-working-directory-connected": Case(code="os.chdir('/')\nfrom sweep import trial\ntrial.report(1, {'score': 7})"),
    "another-temporary-folder": Case(
        code="os.environ['TMPDIR'] = '/nowhere'\nfrom sweep import trial\ntrial.report(1, {'score': 7})"
    ),
    "its-own-session": Case(code="GOOD; os.getpgid(0) == os.getpid() or os.setsid()"),
    "closes-every-descriptor": Case(code="GOOD; os.closerange(0, 200)"),
    "ignores-sigterm": Case(code="import signal; signal.signal(15, signal.SIG_IGN); GOOD"),
    "no-descriptors-left": Case(
        code="import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\nfrom sweep import trial\n"
        "trial.report(1, {'score': 7})",
        points=(),
        error="(exit code 1)",
    ),
}

NUMBERS = {
    "nan": Case(code="print('{\"score\": NaN}')", points=(), error="score is nan at step 1", cause="not-finite"),
    "infinity": Case(code="print('{\"score\": Infinity}')", points=(), error="score is inf at step 1", cause="not-finite"),
    "1e400": Case(code="print('{\"score\": 1e400}')", points=(), error="score is inf at step 1", cause="not-finite"),
    "-1e400": Case(code="print('{\"score\": -1e400}')", points=(), error="score is -inf at step 1", cause="not-finite"),
    "an-integer-of-400-digits": Case(
        code="print('{\"score\": 1%s}' % ('0' * 400))", points=(), error="score is inf at step 1", cause="not-finite"
    ),
    "an-integer-of-5000-digits": Case(code="print('{\"score\": 1%s}' % ('0' * 5000)); GOOD"),
    "an-integer-of-30-digits": Case(code="print('{\"score\": 1%s}' % ('0' * 30))", points=((1, 1.0000000150474662e30),)),
    "nan-as-words": Case(code="print('loss=nan score=inf'); GOOD", log="loss=nan"),
    "a-step-of-23-digits": Case(
        code='print(\'{"score": 7, "step": 12345678901234567890123}\')',
        points=(),
        error=NEVER,
        details="whole number below 2**63",
    ),
    "a-step-of-23-digits-beside-good-ones": Case(
        code='print(\'{"score": 7, "step": 1}\\n{"score": 8, "step": 12345678901234567890123}\\n{"score": 9, "step": 2}\')',
        points=((1, 7), (2, 9)),
        log="sweep: this line is no report: its step must be a whole number below 2**63",
    ),
    "a-step-of-19-digits": Case(code='print(\'{"score": 7, "step": 9223372036854775807}\')', points=((2**63 - 1, 7),)),
    "a-step-of-1e22": Case(code='print(\'{"score": 7, "step": 1e22}\')', points=(), error=NEVER),
    "a-step-of-nan": Case(code='print(\'{"score": 7, "step": NaN}\')', points=(), error=NEVER),
    "a-step-of-2.5": Case(code='print(\'{"score": 7, "step": 2.5}\')', points=(), error=NEVER, details="got 2.5"),
    "a-step-of-3.0": Case(code='print(\'{"score": 7, "step": 3.0}\')', points=((3, 7),)),
    "a-step-as-a-string": Case(code='print(\'{"score": 7, "step": "3"}\')', points=((3, 7),)),
    "a-step-as-words": Case(code='print(\'{"score": 7, "step": "1/10"}\')'),
    "a-step-of-true": Case(code='print(\'{"score": 7, "step": true}\')'),
    "a-step-of-null": Case(code='print(\'{"score": 7, "step": null}\')'),
    "a-step-that-is-a-list": Case(code='print(\'{"score": 7, "step": [1]}\')'),
    "step-0": Case(code='print(\'{"score": 6, "step": 0}\\n{"score": 7, "step": 1}\')', points=((0, 6), (1, 7))),
    "only-step-0": Case(code='print(\'{"score": 7, "step": 0}\')', points=((0, 7),)),
    "negative-steps": Case(
        code="for n in (-3, -2, -1): print(json.dumps({'score': n, 'step': n}))", points=((-3, -3), (-2, -2), (-1, -1))
    ),
    "steps-backwards": Case(
        code="for n in (3, 2, 1, 4): print(json.dumps({'score': n, 'step': n}))",
        points=((3, 3), (4, 4)),
        log="step 2 came after step 3",
    ),
    "a-step-twice": Case(code="for n in (1, 1, 2): print(json.dumps({'score': n, 'step': n}))", points=((1, 1), (2, 2))),
    "a-metric-of-true": Case(code="print('{\"score\": true}')", points=(), error=NEVER, details="score is no number: True"),
    "a-metric-as-a-string": Case(code='print(\'{"score": "0.5"}\')', points=(), error=NEVER, details="'0.5'"),
    "a-metric-of-null": Case(code="print('{\"score\": null}')", points=(), error=NEVER, details="None"),
    "a-metric-that-is-a-list": Case(code="print('{\"score\": [1, [2]]}'); GOOD", log="score is no number: [1, [2]]"),
    "a-metric-that-is-an-object": Case(code='print(\'{"score": {"a": 1}}\'); GOOD'),
    "duplicate-keys": Case(code='print(\'{"score": 1, "score": 7}\')'),
    "deep-json": Case(code="print('[' * 200_000); print('{\"a\":' * 200_000); GOOD"),
    "a-report-with-deep-json": Case(code="print('{\"score\": 1, \"a\": %s}' % ('[' * 100_000 + ']' * 100_000)); GOOD"),
    "digits-of-another-alphabet": Case(code="print('{\"score\": \\u0667}'); GOOD"),
    "thousands-separators": Case(code="print('{\"score\": 1,000}'); GOOD", log="1,000"),
    "two-objects-in-a-line": Case(code='print(\'{"score": 1} {"score": 2}\'); GOOD'),
    "an-object-with-no-quotes": Case(code="print({'score': 1}); GOOD", log="{'score': 1}"),
    "other-names": Case(code="print(json.dumps({'score': 7, '\\u00e9/\\u2603': 2, 'a b\"<': 3}, ensure_ascii=False))"),
    "a-name-of-half-a-letter": Case(code='print(\'{"score": 7, "x\\\\ud800": 1}\')'),
    "an-empty-name": Case(code='print(\'{"score": 7, "": 1}\')'),
    "10000-metrics-in-a-line": Case(code="print(json.dumps({'score': 7} | {f'm{n}': n for n in range(10_000)}))", seconds=60),
    "another-metric-of-23-digits": Case(code='print(\'{"score": 7, "n": 12345678901234567890123}\')'),
}

FILES = {
    "metrics-jsonl-is-a-folder": Case(code="os.mkdir(sys.argv[1] + '/metrics.jsonl'); GOOD"),
    "metrics-jsonl-is-a-named-pipe": Case(code="os.mkfifo(sys.argv[1] + '/metrics.jsonl'); time.sleep(0.6); GOOD"),
    "metrics-jsonl-never-ends": Case(code="os.symlink('/dev/zero', sys.argv[1] + '/metrics.jsonl'); time.sleep(0.6); GOOD"),
    "metrics-jsonl-leads-nowhere": Case(code="os.symlink('/nowhere/x', sys.argv[1] + '/metrics.jsonl'); time.sleep(0.6); GOOD"),
    "metrics-jsonl-has-a-line-of-40-MB": Case(
        code="open(sys.argv[1] + '/metrics.jsonl', 'w').write('x' * 40_000_000 + '\\n{\"score\": 7}\\n')", seconds=6
    ),
    "metrics-jsonl-has-no-newline": Case(code="open(sys.argv[1] + '/metrics.jsonl', 'w').write('{\"score\": 7}')"),
    "metrics-jsonl-is-binary": Case(code="open(sys.argv[1] + '/metrics.jsonl', 'wb').write(bytes(range(256)) * 999); GOOD"),
    "metrics-jsonl-is-removed": Case(
        code="path = sys.argv[1] + '/metrics.jsonl'; open(path, 'w').write('{\"score\": 7}\\n'); time.sleep(0.7); os.remove(path)"
    ),
    "event-files-of-rubbish": Case(
        code="""
        for name in ("a", "b"):
            open(f"{sys.argv[2]}/events.out.tfevents.1.{name}", "wb").write(b"rubbish" * 999)
        GOOD
        """
    ),
    "an-empty-event-file": Case(code="open(sys.argv[2] + '/events.out.tfevents.1.x', 'w'); GOOD"),
    "an-event-file-is-a-folder": Case(code="os.mkdir(sys.argv[2] + '/events.out.tfevents.1.x'); time.sleep(0.6); GOOD"),
    "an-event-file-is-a-named-pipe": Case(code="os.mkfifo(sys.argv[2] + '/events.out.tfevents.1.x'); time.sleep(0.6); GOOD"),
    "an-event-file-never-ends": Case(
        code="os.symlink('/dev/zero', sys.argv[2] + '/events.out.tfevents.1.x'); time.sleep(0.6); GOOD"
    ),
    "an-event-file-leads-in-a-circle": Case(
        code="path = sys.argv[1] + '/events.out.tfevents.1.x'; os.symlink(path, path); time.sleep(0.6); GOOD"
    ),
    "folders-in-a-circle": Case(code="os.symlink(sys.argv[1], sys.argv[1] + '/again'); time.sleep(0.6); GOOD"),
    "a-cut-record": Case(
        code=EVENTS
        + """
writer = EventFileWriter(sys.argv[2]); add(writer, 1, "score", 7); add(writer, 2, "score", 8); writer.close()
[name] = os.listdir(sys.argv[2]); path = sys.argv[2] + "/" + name; os.truncate(path, os.path.getsize(path) - 9)
"""
    ),
    "a-damaged-record": Case(
        code="""
import struct
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
data = b"\\xff" * 50; length = struct.pack("<Q", 50)
record = length + struct.pack("<I", masked_crc32c(length)) + data + b"0000"
open(sys.argv[2] + "/events.out.tfevents.1.x", "wb").write(record * 3)
GOOD
"""
    ),
    "100000-points": Case(
        code=EVENTS
        + """
writer = EventFileWriter(sys.argv[2], max_queue_size=200_000)
for step in range(100_000): add(writer, step, "batch", step)
add(writer, 1, "score", 7); writer.close()
""",
        seconds=60,
    ),
    "events-at-step-0-only": Case(
        code=EVENTS + "writer = EventFileWriter(sys.argv[2]); add(writer, 0, 'score', 7); writer.close()", points=((0, 7),)
    ),
    "events-at-negative-steps": Case(
        code=EVENTS
        + "writer = EventFileWriter(sys.argv[2]); add(writer, -2, 'score', 7); add(writer, -1, 'score', 8); writer.close()",
        points=((-2, 7), (-1, 8)),
    ),
    "events-at-steps-of-19-digits": Case(
        code=EVENTS + "writer = EventFileWriter(sys.argv[2]); add(writer, 2**63 - 1, 'score', 7); writer.close()",
        points=((2**63 - 1, 7),),
    ),
    "a-tensor-of-words": Case(
        code=EVENTS
        + """
from tensorboard.plugins.scalar.metadata import create_summary_metadata
from tensorboard.util.tensor_util import make_tensor_proto
import numpy
writer = EventFileWriter(sys.argv[2])
for what in (numpy.array([b"word"]), numpy.zeros(3), numpy.array([], dtype="float32")):
    value = Summary.Value(tag="score", tensor=make_tensor_proto(what), metadata=create_summary_metadata("", ""))
    writer.add_event(Event(wall_time=1.0, step=1, summary=Summary(value=[value])))
writer.close()
GOOD
"""
    ),
    "tags-of-the-trial": Case(
        code=EVENTS
        + """
writer = EventFileWriter(sys.argv[2])
value = Summary.Value(tag="_hparams_/session_start_info")
value.metadata.plugin_data.plugin_name = "hparams"
value.metadata.plugin_data.content = b"rubbish"
summary = Summary(value=[value])
writer.add_event(Event(wall_time=1.0, step=0, summary=summary)); add(writer, 1, "score", 7); writer.close()
"""
    ),
    "no-log-folder-any-more": Case(code="import shutil; shutil.rmtree(sys.argv[2]); time.sleep(0.6); GOOD"),
    "folders-come-and-go": Case(
        code="""
        import shutil
        for n in range(300):
            os.makedirs(sys.argv[2] + f"/{n}/a/b"); shutil.rmtree(sys.argv[2] + f"/{n}")
        GOOD
        """
    ),
    "a-private-folder-made-public": Case(code="os.chmod(os.path.dirname(sys.argv[2]), 0o777); GOOD"),
    "a-private-folder-without-rights": Case(code="os.chmod(os.path.dirname(sys.argv[2]), 0); GOOD"),
}

CLIENT = {
    "two-processes-report": Case(
        code="""
        from sweep import trial
        trial.report(1, {"score": 1})
        if (child := os.fork()) == 0:
            trial.report(2, {"score": 2}); os._exit(0)
        os.waitpid(child, 0); trial.report(3, {"score": 7})
        """,
        points=((1, 1), (2, 2), (3, 7)),
    ),
    "two-processes-report-one-step": Case(
        code="""
        from sweep import trial
        if (child := os.fork()) == 0:
            trial.report(1, {"score": 7}); os._exit(0)
        os.waitpid(child, 0); trial.report(1, {"score": 8})
        """,
        error="ValueError: trial.report needs steps that grow: step 1 came after step 1",
    ),
    "two-processes-print": Case(
        code="""
        if (child := os.fork()) == 0:
            print('{"score": 1, "step": 1}', flush=True); os._exit(0)
        os.waitpid(child, 0); print('{"score": 7, "step": 2}')
        """,
        points=((1, 1), (2, 7)),
    ),
    "threads-report": Case(
        code="""
        import threading
        from sweep import trial
        lock = threading.Lock(); steps = iter(range(1, 41))
        def work():
            for _ in range(10):
                with lock: trial.report(next(steps), {"score": 7})
        threads = [threading.Thread(target=work) for _ in range(4)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        """,
        points=tuple((step, 7) for step in range(1, 41)),
    ),
    "numpy-numbers": Case(
        code="""
        import numpy
        from sweep import trial
        for step in trial.steps(numpy.int64(2)): trial.report(numpy.int64(step), {"score": numpy.float32(7)})
        """,
        points=((1, 7), (2, 7)),
    ),
    "a-wrong-metric": Case(
        code="from sweep import trial\ntrial.report(1, {'score': 'seven'})",
        points=(),
        error="TypeError: metric 'score' must be a number",
    ),
    "a-metric-of-400-digits": Case(
        code="from sweep import trial\ntrial.report(1, {'score': 10**400})",
        points=(),
        error="metric 'score' is too large for a float",
        cause="not-finite",
    ),
    "a-step-of-words": Case(
        code="from sweep import trial\ntrial.report('one', {'score': 7})",
        points=(),
        error="TypeError: the step of trial.report must be a whole number, got str: 'one'",
    ),
    "a-wrong-number-of-steps": Case(
        code="from sweep import trial\nfor step in trial.steps(2.5): pass", points=(), error="TypeError: 'float' object cannot be"
    ),
    "a-refusal-that-is-caught": Case(
        code="""
        from sweep import trial
        for wrong in ({"score": "x"}, {"score": None}, {"score": float("nan")}):
            try: trial.report(1, wrong)
            except (TypeError, ValueError): pass
        trial.report(2, {"score": 7})
        """,
        points=((2, 7),),
    ),
    "a-state-that-cannot-be-kept": Case(
        code="from sweep import trial\ntrial.report(1, {'score': 7}, {'x': object()})", points=(), error="TypeError: "
    ),
}

GROUPS = {"output": OUTPUT, "ends": ENDS, "numbers": NUMBERS, "files": FILES, "client": CLIENT}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    """Run the cases of a group when its first test needs them."""
    found: dict[str, Ran] = {}

    def get(group: str) -> Ran:
        if group not in found:
            found[group] = run_cases(tmp_path_factory.mktemp(group), GROUPS[group])
        return found[group]

    return get


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, cases in GROUPS.items() for name in cases])
@pytest.mark.xdist_group("hostile-scripts")
def test_a_script(ran: Callable[[str], Ran], group: str, name: str) -> None:
    """The trial has the right numbers or a clear error, and the sweep went on to its end."""
    ran(group).check(name, GROUPS[group][name])


VALUES = {
    "spaces": "a b  c",
    "quotes": 'it\'s "so"',
    "dollars": "$HOME ${HOME} $(touch pwned) `touch pwned`",
    "a-placeholder": "${args} ${dir}",
    "semicolons": "; touch pwned; && | > pwned",
    "a-dash": "-1",
    "a-long-option": "--help",
    "an-equals-sign": "--v=2",
    "a-glob": "*",
    "a-tilde": "~",
    "backslashes": "\\n\\\\",
    "letters": "caf\u00e9 \u2603",
    "a-percent-sign": "%s %d %(x)s",
    "braces": "{v} {0}",
    "a-comment": "# no",
    "an-at-sign": "@file",
    "a-null": "null",
    "a-number": "1e-3",
    "a-path": "../../etc/passwd",
    "a-thousand-letters": "x" * 1000,
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Run a trial for each value, whose script keeps what it was given."""
    here = tmp_path_factory.mktemp("values")
    (here / "show.py").write_text(
        "import json, os, sys\nfrom sweep import trial\n"
        "told = {'argv': sys.argv[1:], 'params': trial.params}\n"
        "json.dump(told, open(trial.dir / 'told.json', 'w'))\ntrial.report(1, {'score': 7})\n"
    )
    command = ["python", "show.py", "${args}", "--also=${v}", "${json}", "${v}"]
    text = study_text({"v": [*VALUES.values()]}, objective=None, command=command, workers={"devices": "cpu", "per_device": 2})
    done = run_sweep("run", str(write_study(here, text)), here=here)
    assert done.code == 0, done.out + done.err
    assert not (here / "pwned").exists()
    folder = here / "runs" / "study"
    names = {value: name for name, value in VALUES.items()}
    return {
        names[str(trial.params["v"])]: json.loads((folder / trial.folder / "told.json").read_text()) for trial in records(folder)
    }


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.xdist_group("hostile-values")
def test_a_value_reaches_the_script_as_it_is(given: dict[str, dict[str, object]], name: str) -> None:
    """As one word, whatever is in it: no shell reads it, and it is never an option of its own in `${args}`."""
    value = VALUES[name]
    assert given[name] == {"argv": [f"--v={value}", f"--also={value}", json.dumps({"v": value}), value], "params": {"v": value}}


def program(here: Path, name: str, text: bytes, *, mode: int = 0o755) -> None:
    """Write a program."""
    (here / name).write_bytes(text)
    (here / name).chmod(mode)


GOOD_SH = b"#!/bin/sh\necho '{\"score\": 7}'\n"
COMMANDS: dict[str, tuple[str, str]] = {  # what is typed, and what is answered
    "a-script-that-is-not-executable": ("./plain.sh ${args}", "plain.sh is not executable; chmod +x"),
    "a-python-script-that-is-not-executable": ("./plain.py ${args}", "name its interpreter:  command: python plain.py"),
    "a-folder": ("./folder ${args}", "folder is a folder, not a program"),
    "a-missing-program": ("./nowhere.sh ${args}", "there is no program"),
    "a-missing-program-on-the-path": ("nowhere-at-all ${args}", "there is no program 'nowhere-at-all' on the PATH"),
    "a-program-without-its-folder": ("good.sh ${args}", "there is no program 'good.sh' on the PATH; write ./good.sh"),
    "a-missing-script": ("python nowhere.py ${args}", "there is no file 'nowhere.py'"),
    "a-script-that-is-a-folder": ("python folder.py ${args}", "there is no file 'folder.py'"),
    "windows-line-ends": ("./windows.sh ${args}", "ends with a carriage return, as on Windows; sed -i 's/\\r$//'"),
    "an-interpreter-that-is-missing": ("./interpreter.sh ${args}", "/nowhere/bin/python, does not exist"),
    "no-interpreter": ("./no_interpreter.sh ${args}", "has no interpreter: its first line does not begin with #!"),
    "a pipe": ("python train.py ${args} | tee log", "| is for a shell, and none runs the command; write bash -c"),
    "an output": ("python train.py ${args} > log", """write bash -c 'python train.py "$@" > log' - ${args}"""),
    "errors to the output": ("python train.py ${args} 2>&1", "2>&1 is for a shell"),
    "two commands": ("cd src && python train.py ${args}", "&& is for a shell"),
    "a semicolon": ("cd src; python train.py ${args}", "cd src; python train.py"),
    "in the background": ("python train.py ${args} &", "& is for a shell"),
    "a variable before it": ("A=1 python train.py ${args}", "write env A=1 python ..."),
    "a home": ("~/train.py ${args}", "no shell replaces ~"),
    "$args": ("python train.py $args", "$args is no placeholder, and no shell replaces it; write ${args}"),
    "$lr": ("python train.py --lr=$lr", "$lr is no placeholder, and no shell replaces it; write ${lr}"),
    "{lr}": ("python train.py --lr={lr}", "{lr} is no placeholder, and no shell replaces it; write ${lr}"),
    "{{lr}}": ("python train.py --lr={{lr}}", "{{lr}} is no placeholder"),
    "${{lr}}": ("python train.py --lr=${{lr}}", "is no placeholder, and no shell replaces it; write ${lr}"),
    "%lr%": ("python train.py --lr=%lr%", "%lr% is no placeholder, and no shell replaces it; write ${lr}"),
    "%(lr)s": ("python train.py --lr=%(lr)s", "%(lr)s is no placeholder"),
    "<lr>": ("python train.py --lr=<lr>", "<lr> is no placeholder"),
    "$(lr)": ("python train.py --lr=$(lr)", "$(lr) is no placeholder"),
    "args-inside-a-word": ("python train.py --all=${args}", "${args} becomes several words and must be a whole word"),
    "a-wrong-name": ("python train.py --lr=${lrr}", "${lrr} is neither a parameter nor a placeholder; did you mean 'lr'?"),
    "no-parameter-at-all": (
        "python train.py",
        "no word names a parameter, so each trial would run the same command; add ${args}",
    ),
    "a-parameter-with-a-condition": ("python train.py --m=${m}", "${m} has no value in trials to which its condition (when)"),
    "an-open-quote": ("python train.py 'x", "cannot be split into words"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_cannot_work_is_found_before_anything_starts(cli: Cli, here: Path, name: str) -> None:
    """With what to write or type instead."""
    command, message = COMMANDS[name]
    program(here, "good.sh", GOOD_SH)
    program(here, "plain.sh", GOOD_SH, mode=0o644)
    program(here, "plain.py", b"#!/usr/bin/env python\n", mode=0o644)
    program(here, "train.py", b"print('{\"score\": 7}')\n")
    program(here, "windows.sh", GOOD_SH.replace(b"\n", b"\r\n"))
    program(here, "interpreter.sh", b"#!/nowhere/bin/python\n")
    program(here, "no_interpreter.sh", b"echo hello\n")
    (here / "folder").mkdir()
    (here / "folder.py").mkdir()
    parameters = {"lr": [0.1, 0.01], "m": {"values": [1, 2], "when": {"lr": 0.1}}}
    done = cli("run", str(write_study(here, study_text(parameters, objective=None, command=command))))
    assert done.code == 2, done.out
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("flags.py", "import argparse\n", "sweep init flags.py "),
        ("flags 2.py", "import argparse\n", "sweep init 'flags 2.py' "),
        ("mine.py", "def train(trial):\n    pass\n", "sweep init mine.py "),
        ("train.sh", "echo hello\n", "command: sh train.sh ${args}"),
        ("study.ipynb", "{}", "sweep.run(study, train)"),
        ("latin.py", "# caf\udce9\n", "sweep init latin.py "),
    ],
)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_program_in_place_of_a_study_file(cli: Cli, here: Path, verb: str, name: str, text: str, message: str) -> None:
    """It says how to get a study file."""
    (here / name).write_bytes(text.encode(errors="surrogateescape"))
    done = cli(verb, name)
    assert done.code == 2
    assert "not a study file  [not-a-study-file]" in done.err
    assert message in done.err


LATE: dict[str, tuple[str, str]] = {  # what the first trial does to the program, and how the second one fails
    "removed": ("rm prog.sh", "the command cannot be started: there is no program"),
    "made-a-folder": ("rm prog.sh; mkdir prog.sh", "prog.sh is a folder, not a program"),
    "no-longer-executable": ("chmod -x prog.sh", "prog.sh is not executable"),
    "interpreter-gone": ("printf '#!/nowhere/sh\\n' > new; chmod +x new; mv new prog.sh", "/nowhere/sh, does not exist"),
    "windows": ("printf '#!/bin/sh\\r\\n' > new; chmod +x new; mv new prog.sh", "ends with a carriage return"),
    "another-machine": ("printf '\\177ELF\\2\\1\\1' > new; chmod +x new; mv new prog.sh", "it is no program for this machine"),
    "empty": ("printf '' > new; chmod +x new; mv new prog.sh", "has no interpreter"),
}


@pytest.mark.parametrize("name", LATE)
def test_a_program_that_changes_while_the_sweep_runs(cli: Cli, here: Path, name: str) -> None:
    """The trial fails with the reason and with what to do, and the sweep goes on to its end."""
    change, message = LATE[name]
    program(here, "prog.sh", b"#!/bin/sh\necho '{\"score\": 7}'\n" + change.encode() + b"\n")
    done = cli("run", str(write_study(here, study_text({"x": [1, 2]}, objective=None, command="./prog.sh ${args}"))))
    assert done.code == 1, done.out + done.err
    first, second = records(here / "runs" / "study")
    assert (first.state, first.value, second.state) == ("complete", 7, "failed")
    assert message in (second.error or "")
    assert "Traceback" not in (second.error or "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["python", "train.py", "${args}", "x" * 200_000], "its words and variables are too long for the system"),
        (["python", "train.py", "${args}", *["x" * 90_000] * 40], "its words and variables are too long for the system"),
    ],
    ids=["a-word-of-200-kB", "words-of-3.6-MB"],
)
def test_words_that_are_too_long_for_the_system(cli: Cli, here: Path, words: list[str], message: str) -> None:
    """The trial fails with the reason."""
    program(here, "train.py", b"print('{\"score\": 7}')\n")
    done = cli("run", str(write_study(here, study_text({"x": [1]}, objective=None, command=words))))
    assert done.code == 1, done.out + done.err
    [trial] = records(here / "runs" / "study")
    assert message in (trial.error or "")


_STARTS = {
    "sigchld-ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "sigterm-and-sigpipe-ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGPIPE, signal.SIG_IGN)",
    "every-signal-blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "sigchld-blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])",
    "no-umask": "os.umask(0)",
    "a-strict-umask": "os.umask(0o777 & 0o077)",
    "ascii-output": "os.environ['PYTHONIOENCODING'] = 'ascii'",
    "no-locale": "os.environ.update(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0')",
    "a-long-temporary-folder": "os.makedirs('t' * 120); os.environ['TMPDIR'] = os.path.abspath('t' * 120)",
    "a-temporary-folder-of-spaces": "os.makedirs('t $x'); os.environ['TMPDIR'] = os.path.abspath('t $x')",
    "a-port": "os.environ['SWEEP_TRIAL_PORT'] = '1'",
}


@pytest.mark.parametrize("how", ["", "--inline"], ids=["workers", "inline"])
@pytest.mark.parametrize("name", _STARTS)
def test_a_sweep_of_scripts_is_started_in_a_strange_way(here: Path, name: str, how: str) -> None:
    """Its scripts run as usual: they may be ended, their exit codes count, their output is kept."""
    script = """
import signal, sys
from sweep import trial
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a signal is blocked"
assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
sys.stdout.buffer.write("caf\\u00e9 \\u2603\\n".encode())
sys.stdout.flush()
trial.report(1, {"score": 7})
sys.exit(trial.params["code"])
"""
    (here / "script.py").write_text(script)
    write_study(here, study_text({"code": [0, 3]}, objective=None, command="python script.py ${args}"))
    words = [*COMMAND, "run", "study.yaml", *filter(None, [how])]
    starter = f"import os, signal, sys\n{_STARTS[name]}\nos.execv({words[0]!r}, {words!r})"
    done = subprocess.run([sys.executable, "-c", starter], cwd=here, capture_output=True, timeout=300, check=False)
    found = records(here / "runs" / "study")
    assert [(trial.state, trial.value) for trial in found] == [("complete", 7), ("failed", 7)], done.stdout + done.stderr
    assert "exited with code 3" in (found[1].error or "")
    assert done.returncode == 1
    if not how:
        assert "caf" in (here / "runs" / "study" / found[0].folder / "log.txt").read_text()


def test_a_folder_of_a_predictable_name_is_neither_used_nor_touched(here: Path, cli: Cli) -> None:
    """Somebody else may have made it: nothing is written through it, and nothing in it is removed."""
    (here / "tmp").mkdir()
    (here / "theirs").mkdir()
    (here / "theirs" / "file").write_text("kept")
    for name in (f"sweep-{os.getuid()}-{'0' * 16}", "sweep-script-link"):
        (here / "tmp" / name).symlink_to(here / "theirs")
    (here / "tmp" / "sweep-script-public").mkdir(mode=0o755)
    (here / "tmp" / "sweep-script-public" / "file").write_text("kept")
    (here / "tmp" / "sweep-script-file").write_text("kept")
    (here / "script.py").write_text("import os, sys; os.stat(sys.argv[1]); print(sys.argv[1]); print('{\"score\": 7}')")
    study = study_text({"x": [1]}, objective=None, command="python script.py ${logdir} ${x}")
    done = cli("run", str(write_study(here, study)), env={"TMPDIR": str(here / "tmp")})
    assert done.code == 0, done.out + done.err
    assert (here / "theirs" / "file").read_text() == "kept"
    assert (here / "tmp" / "sweep-script-public" / "file").read_text() == "kept"
    assert len([*(here / "tmp").iterdir()]) == 4, "the private folder is removed"


@pytest.mark.parametrize("victim", ["worker", "runner"])
def test_a_killed_worker_s_private_folder_is_removed_at_the_next_chance(here: Path, victim: str) -> None:
    """That of a running trial is private and stays."""
    (here / "tmp").mkdir()
    (here / "script.py").write_text("import os, time; time.sleep(0 if os.path.exists('go') else 600); print('{\"score\": 7}')")
    study = write_study(here, study_text({"x": [1]}, objective=None, command="python script.py ${args}", retries=1))
    env = {"TMPDIR": str(here / "tmp")}
    with Running("run", str(study), here=here, env=env) as running:
        [folder] = running.wait_until(lambda: [*(here / "tmp").glob("sweep-script-*/logs")])
        found = folder.parent.lstat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o700, os.geteuid())
        wait_for(lambda: [p for p in running.processes() if p.cmdline()[1:2] == ["script.py"]])
        (here / "go").touch()
        if victim == "worker":
            running.processes("sweep-slot")[0].kill()
            assert running.end() == 0, running.out
        else:
            running.send(signal.SIGKILL)
            running.end()
    if victim == "runner":
        assert run_sweep("resume", str(study), here=here, env=env).code == 0
    assert not [*(here / "tmp").glob("sweep-script-*")]


def test_a_script_that_ignores_sigterm_ends_with_the_sweep(here: Path) -> None:
    """Ctrl-C waits for it only so long, then it is killed, and the trial waits to be resumed."""
    (here / "script.py").write_text(
        "import os, signal, time; signal.signal(15, signal.SIG_IGN); open('pid', 'w').write(str(os.getpid()))\n"
        "time.sleep(0 if os.path.exists('go') else 600); print('{\"score\": 7}')"
    )
    study = write_study(here, study_text({"x": [1]}, objective=None, command="python script.py ${args}"))
    with Running("run", str(study), here=here) as running:
        running.wait_until(lambda: (here / "pid").exists() and (here / "pid").read_text())
        running.send(signal.SIGINT)
        assert running.end(60) == 130
    (here / "go").touch()
    assert run_sweep("resume", str(study), here=here).code == 0


def test_failures_with_one_cause_are_one_line_of_the_report(cli: Cli, here: Path) -> None:
    """Whatever numbers, shapes, paths, addresses and values of the trial's parameters are in the messages."""
    (here / "script.py").write_text("""
import sys
x, name = int(sys.argv[1]), sys.argv[2]
texts = [f"size mismatch for w: {[x] * x} vs [{x}, 64]", f"no file /data/{x}/a.csv", f"object at {id(x):#x} and {name}"]
raise RuntimeError(texts[int(sys.argv[3])])
""")
    study = study_text(
        {"x": [1, 2, 3], "name": ["sgd", "adam"], "what": [0, 1, 2]},
        objective=None,
        command="python script.py ${x} ${name} ${what}",
        stop_after_failures=99,
    )
    assert cli("run", str(write_study(here, study))).code == 1
    page = (here / "runs" / "study" / "report.html").read_text()
    table = page.partition('<section id="failures">')[2].partition("</section>")[0]
    assert table.count("RuntimeError: ") == 3
    assert table.count('<td class="right">6</td>') == 3
