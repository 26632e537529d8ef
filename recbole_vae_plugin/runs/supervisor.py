"""A worker process, from outside: runs are sent to it and messages received from it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from recbole_vae_plugin.runs import starting
from recbole_vae_plugin.runs.files import Result, result_of, write_result
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.runs.worker import execute_runs
from recbole_vae_plugin.system.atomic import partial_of

#: Seconds that a process may take to exit after it has closed its connection.
EXIT_TIMEOUT = 5
#: The exit code of a forked process if the fork server is gone.
UNKNOWN = 255


class WorkerProcess:
    """A process of :func:`~recbole_vae_plugin.runs.worker.execute_runs` and the run in progress.

    Args:
        folder: of all runs.
        cache: see ``PreparedData``.
        threads: for torch and BLAS.
        options: keyword arguments of ``execute``.

    Attributes:
        busy: whether a run is in progress.
        last_run: the run in progress, or else the previous one.
    """

    def __init__(self, folder: Path, cache: Path | None, threads: int, options: dict[str, Any]) -> None:
        start = starting.context()
        self.connection, child_end = start.Pipe()
        self.busy = False
        self.last_run: Run | None = None
        self._folder = folder
        # where the files are while the run is in progress
        self._partial = folder
        arguments = (child_end, dict(os.environ), folder, cache, threads, options)
        self._process = start.Process(target=execute_runs, args=arguments, daemon=True)
        self._process.start()
        child_end.close()

    def start(self, run: Run) -> None:
        """Have it execute a run; it must be idle."""
        self.busy, self.last_run = True, run
        self._partial = partial_of(self._folder / run.folder, self._process.pid)
        # receive() reports a process that died while idle
        with contextlib.suppress(OSError):
            self.connection.send((run, self._partial))

    def receive(self) -> tuple[Run, str, Any]:
        """The run in progress with "epoch" and a row, to be answered with :meth:`reply`, or with "done" and
        its result. A process that died is done, too: the result says why it failed."""
        run = self.last_run
        assert run is not None, "only a busy process sends messages"
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            # its exit code is known only a moment after its connection has closed
            self._process.join(EXIT_TIMEOUT)
            self.terminate()
            kind, content = "done", self._record_death(run)
        self.busy = kind != "done"
        return run, kind, content

    def reply(self, should_continue: bool) -> None:
        """Answer an epoch with whether to continue."""
        # receive() reports a process that died meanwhile
        with contextlib.suppress(OSError):
            self.connection.send(should_continue)

    def _record_death(self, run: Run) -> Result:
        """Write the result of a run whose process died, unless it had written one."""
        result = result_of(run, self._folder)
        if result and "failed" not in result:
            # it died between writing its result and sending it
            return result
        code = self._process.exitcode
        reason = f"its process ended with exit code {code}"
        if code == UNKNOWN:
            reason = "its process ended, and so did the one that it was forked from; perhaps both were killed"
        if code is not None and code < 0:
            hint = ", perhaps out of memory" if code == -9 else ""
            reason = f"its process was ended by signal {-code}{hint}"
        final = self._folder / run.folder
        shutil.rmtree(final, ignore_errors=True)
        if self._partial.exists():
            os.replace(self._partial, final)
        return write_result(final, {**run.labels, "failed": reason, "seconds": 0.0, "environment": {}})

    @property
    def alive(self) -> bool:
        """Whether it can be given a run; a death is noticed only by :meth:`receive`."""
        return not self.connection.closed

    def terminate(self) -> None:
        """Kill the process and close the connection."""
        self._process.terminate()
        self._process.join()
        self.connection.close()
