"""A process that executes runs, as seen from the program that started it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
from pathlib import Path

from recbole_vae_plugin.runs.files import result_of, write_result
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.runs.worker import work
from recbole_vae_plugin.system.atomic import partial_of

SECONDS_TO_DIE = 5


class WorkerProcess:
    """A process of :func:`~recbole_vae_plugin.runs.worker.work` with the run that it executes.

    Args:
        folder: where the runs' folders go.
        cache: see ``PreparedData``.
        threads: of torch and BLAS.
        options: of ``execute``.

    Attributes:
        run: the one in progress, or ``None``.
        last: the one in progress or before.
    """

    def __init__(self, folder: Path, cache: Path | None, threads: int, options: dict):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.run: Run | None = None
        self.last: Run | None = None
        self._folder = folder
        # where the run's files are until it is done
        self._partial = folder
        arguments = (other, os.getpid(), folder, cache, threads, options)
        self._process = context.Process(target=work, args=arguments, daemon=True)
        self._process.start()
        other.close()

    def start(self, run: Run) -> None:
        self.run = self.last = run
        self._partial = partial_of(self._folder / run.folder, self._process.pid)
        # a process that died while idle is heard of by listen
        with contextlib.suppress(OSError):
            self.connection.send((run, self._partial))

    def listen(self) -> tuple[str, dict]:
        """("epoch", row), to be answered with :meth:`go_on`, or ("done", result). A process that is
        no more is done, too: the result says why it failed."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            # how it ended is known a moment after it has fallen silent
            self._process.join(SECONDS_TO_DIE)
            self.end()
            kind, content = "done", self._record_death()
        if kind == "done":
            self.run = None
        return kind, content

    def go_on(self, yes: bool) -> None:
        # a process that died meanwhile is heard of by listen
        with contextlib.suppress(OSError):
            self.connection.send(yes)

    def _record_death(self) -> dict:
        """A process that was killed wrote no result; say so in its stead."""
        result = result_of(self.run, self._folder)
        if result and "failed" not in result:
            # it died between writing its result and saying so
            return result
        code = self._process.exitcode
        reason = f"its process ended with exit code {code}"
        if code is not None and code < 0:
            hint = ", perhaps out of memory" if code == -9 else ""
            reason = f"its process was ended by signal {-code}{hint}"
        final = self._folder / self.run.folder
        shutil.rmtree(final, ignore_errors=True)
        if self._partial.exists():
            os.replace(self._partial, final)
        return write_result(final, {**self.run.labels, "failed": reason, "seconds": 0.0, "environment": {}})

    @property
    def alive(self) -> bool:
        """Whether it can be given a run; a process that died unheard is taken for alive."""
        return not self.connection.closed

    def end(self) -> None:
        self._process.terminate()
        self._process.join()
        self.connection.close()
