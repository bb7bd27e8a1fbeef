"""Run trials in warm processes of this machine, one for each slot, so that one that dies fails only its own trial.

    runner thread                       slot's thread                    process (main thread)
    next_event(command) ── submit ──►   send ══════ pipe ══════════════► recv, serve(...)
    Future ◄───────────── result ────   recv ◄═════ pipe ══════════════  send(event)
                                        EOFError: the process died ─► Died(exit code), a new process next time
    stop() ─────────────────────────── a byte ══ second pipe ══════════► trial.stop_requested, at any time

On Linux the processes are copies of a template that has made the slow imports (see `template`); elsewhere loky starts them.
Neither imports the user's main module, and each has its own environment. Each leads a session of its own: the terminal's
Ctrl-C reaches only the runner, and a kill of the group ends grandchildren too. A worker ends with its runner, even if the runner
is killed with -9: one that waits finds its pipe closed, one that computes gets SIGKILL from the kernel (PR_SET_PDEATHSIG on
Linux), and the guardian, a tiny process that finds its own pipe closed, kills the groups.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from sweep.storage.files import tail
from sweep.study.trial import GroupSpec, TrialResult, TrialSpec
from sweep.worker.devices import Slot
from sweep.worker.executors.process import be_worker
from sweep.worker.executors.starting import COPIES, FromScratch, borrow, give_back
from sweep.worker.executors.template import Copy, Template, TemplateDied, TemplateUnfit
from sweep.worker.processes import Guardian
from sweep.worker.protocol import Answer, Channel, Command, Died, Event, Load, Prepared, belongs, not_started, unpacked

_DYING_S = 2.0
_POLL_S = 0.5
_TRIES = 2  # the first template may have been killed a moment ago
guardian = Guardian()


class LocalWorker:
    """A worker that is a process of this machine.

    Args:
        slot: its device and environment.
        serve: the worker's loop, called in the process with a channel, the slot and a log; picklable.
        imports: modules that are slow to import and that every worker needs; copies of a template share them.
        copied: whether to start processes as copies of a template.
    """

    def __init__(
        self, slot: Slot, serve: Callable[[Channel, Slot, Any], None], imports: Sequence[str] = (), *, copied: bool = COPIES
    ) -> None:
        self.slot, self._serve, self._imports, self._copied = slot, serve, imports, copied
        # PR_SET_PDEATHSIG acts when the *thread* that made the process ends, so this thread lives as long as the worker.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"slot-{slot.index}")
        self._process: Copy | FromScratch | None = None
        self._pipe: Any = None
        self._stop_pipe: Any = None
        self._attempt: Command = Load()  # the one in flight, if it starts trials
        self._closed = self._doomed = False
        self._awaited: Template | None = None  # while it may import
        self._log = ""  # a file that there is only while there is a process, since the guardian then removes it

    @property
    def pid(self) -> int | None:
        """Return the process's id, None while there is no process."""
        return self._process.pid if self._process is not None else None

    def next_event(self, command: Command) -> Future[Event]:
        """Give the command to the process, which is started if there is none; the future is its next event."""
        return self._thread.submit(self._exchange, command)

    def stop(self) -> None:
        """Ask the trial in flight to make a checkpoint and stop at its next step."""
        with contextlib.suppress(OSError, AttributeError):  # the process is gone, or there was none yet
            self._stop_pipe.send_bytes(b"stop")

    def kill(self) -> None:
        """Kill the process and all that it started; an event that is awaited becomes `Died`."""
        self._doomed = True
        if (process := self._process) is not None:
            _kill_group(process.pid)
        elif (template := self._awaited) is not None:  # else a process that is starting is killed as soon as it has an id
            template.kill()

    def suspended(self) -> bool:
        """Return whether the process is suspended; False where there is no /proc."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2][:1]
        except OSError:
            return False
        return state in (b"T", b"t")

    def close(self) -> None:
        """Kill the process and all that it started, and start no other."""
        self._closed = True
        self.kill()
        self._thread.shutdown(wait=True)
        if self._process is not None:
            self._died()
        give_back(self)

    def _exchange(self, command: Command) -> Event:
        if self._closed:
            return Died(exit_code=None)
        if not isinstance(command, Answer) and self._process is not None and (self._doomed or not self._process.is_alive()):
            self._died()  # after its last event: the new command is not the cause
        self._attempt = command if isinstance(command, TrialSpec | GroupSpec) else self._attempt
        try:
            process = self._process or self._start()
        except OSError as error:
            return Died(exit_code=None, reason="" if error.errno == errno.ECANCELED else not_started(error))
        try:
            self._pipe.send(command)
            event = self._receive(process)
            while not belongs(event, self._attempt):  # late, from an attempt that has ended
                event = self._receive(process)
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._died()
        if isinstance(event, TrialResult | Prepared) and event.spent:
            _kill_group(process.pid)
            self._died()  # the next call has a new process
        return event

    def _receive(self, process: Copy | FromScratch) -> Event:
        self._wait_for_event(process)
        return unpacked(self._pipe.recv_bytes())

    def _wait_for_event(self, process: Copy | FromScratch) -> None:
        """Wait for the pipe or the process's death: a process that it forked may keep the pipe open."""
        if process.death is None:
            while not self._pipe.poll(_POLL_S) and process.is_alive():
                pass
        else:
            wait([self._pipe, process.death])
        if not self._pipe.poll(0):
            raise EOFError

    def _start(self) -> Copy | FromScratch:
        self._doomed = False
        with contextlib.ExitStack() as undone, contextlib.ExitStack() as theirs:
            tempfile.gettempdir()  # before the last descriptors are taken: it would say that no folder can be used
            self._pipe, pipe = Pipe()
            undone.callback(self._pipe.close)
            theirs.enter_context(pipe)
            stop_pipe, self._stop_pipe = Pipe(duplex=False)
            undone.callback(self._stop_pipe.close)
            theirs.enter_context(stop_pipe)
            pipes = pipe, stop_pipe
            descriptor, self._log = tempfile.mkstemp(prefix="sweep-worker-", suffix=".log")
            os.close(descriptor)
            undone.callback(Path(self._log).unlink, missing_ok=True)
            process = self._copy(pipes) or FromScratch(pipes, self._serve, self.slot, self._log)
            undone.callback(_kill_group, process.pid)
            guardian.watch(process.pid, process.mark, self._log)
            self._process = process
            undone.pop_all()
        if self._closed or self._doomed:  # while the process was starting
            _kill_group(process.pid)
        return process

    def _copy(self, pipes: Sequence[Connection]) -> Copy | None:
        """Return a copy of a template that serves at the other ends of these pipes, None if there can be none.

        Raises:
            OSError: the template cannot be started, or this worker was killed meanwhile.
        """
        for _ in range(_TRIES if self._copied else 0):
            template = self._awaited = borrow(self, self.slot, self._imports)
            args = self._serve, self.slot, self._log, template.pid
            try:
                self._check_wanted()
                return template.spawn(be_worker, *args, pipes=pipes, env=self.slot.env)
            except TemplateDied:
                self._check_wanted()
            except TemplateUnfit:
                self._copied = False
                give_back(self)
                break
            finally:
                self._awaited = None
        return None

    def _check_wanted(self) -> None:
        if self._closed or self._doomed:
            raise OSError(errno.ECANCELED, "the start was cancelled")

    def _died(self) -> Died:
        process, self._process = self._process, None
        if process is None:
            return Died(exit_code=None)
        process.end(_DYING_S)  # the pipe closes a moment before the process has an exit code
        _kill_group(process.pid)  # what it started, and the process itself if only its pipe closed
        code = process.end()
        guardian.forget(process.pid)
        self._pipe.close()
        self._stop_pipe.close()
        log = tail(Path(self._log))
        Path(self._log).unlink(missing_ok=True)
        return Died(exit_code=code, log=log)


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # the process makes the group itself, a moment after its start
        try:
            kill(pid, signal.SIGKILL)
            return
        except (ProcessLookupError, PermissionError):
            continue
