"""A pool of worker processes: a queue of runs, executed in parallel, and their results."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from recbole_vae_plugin.runs.files import EpochRow, Result, remove_left_over_runs
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.runs.supervisor import WorkerProcess
from recbole_vae_plugin.system.atomic import remove_left_over, temporary_folder
from recbole_vae_plugin.system.processors import threads_for

#: Prefix of the folder in which the processes of a pool share prepared data.
CACHE = Path(tempfile.gettempdir(), "recbole-vae")


class Pool:
    """Worker processes for runs; a context manager that terminates them on exit.

    Args:
        folder: of all runs.
        jobs: how many runs are executed in parallel.
        should_continue: called with each epoch of a run; returns whether to continue the run. By default no
            run is stopped.
        options: keyword arguments of ``execute``.
    """

    def __init__(
        self,
        folder: Path,
        jobs: int,
        should_continue: Callable[[Run, EpochRow], bool] = lambda run, row: True,
        **options: Any,
    ) -> None:
        # absolute: the processes change their working directory
        self._folder, self._jobs, self._options = folder.resolve(), jobs, options
        self._should_continue = should_continue
        self._queue: deque[Run] = deque()
        self._processes: list[WorkerProcess] = []
        self._cache: Path | None = None
        self._at_end = ExitStack()

    def __enter__(self) -> Pool:
        remove_left_over_runs(self._folder)
        # also the prepared data of pools that were killed
        remove_left_over(CACHE.parent)
        # a split that several processes need is prepared by one of them
        if self._jobs > 1:
            self._cache = self._at_end.enter_context(temporary_folder(CACHE))
        # left by processes of an earlier pool that outlived it for a moment
        self._at_end.callback(remove_left_over_runs, self._folder)
        return self

    def __exit__(self, *raised: object) -> None:
        for process in self._processes:
            process.terminate()
        self._at_end.close()

    def submit(self, run: Run) -> None:
        """Queue a run."""
        self._queue.append(run)

    @property
    def unfinished(self) -> list[Run]:
        """Runs that are queued or in progress."""
        in_progress = [each.last_run for each in self._processes if each.busy and each.last_run]
        return [*self._queue, *in_progress]

    def results(self) -> Iterator[tuple[Run, Result]]:
        """All submitted runs with their results, in the order in which they end."""
        while self.unfinished:
            yield from self.poll()

    def poll(self, timeout: float | None = None) -> list[tuple[Run, Result]]:
        """Start queued runs and handle messages of the processes; returns the runs that ended.

        Args:
            timeout: seconds to wait for a message; by default there is no limit.
        """
        self._start()
        busy = [process for process in self._processes if process.busy]
        ready = wait([process.connection for process in busy], timeout)
        ended = []
        for process in busy:
            if process.connection not in ready:
                continue
            run, kind, content = process.receive()
            if kind == "epoch":
                process.reply(self._should_continue(run, content))
            else:
                ended.append((run, content))
        self._processes = [process for process in self._processes if process.alive]
        return ended

    def _start(self) -> None:
        """Assign queued runs to idle processes, and to new ones up to the limit."""
        idle = [process for process in self._processes if not process.busy]
        while self._queue and (idle or len(self._processes) < self._jobs):
            process = idle.pop() if idle else self._new_process()
            process.start(self._next_run(process.last_run))

    def _new_process(self) -> WorkerProcess:
        threads = threads_for(self._jobs)
        self._processes.append(WorkerProcess(self._folder, self._cache, threads, self._options))
        return self._processes[-1]

    def _next_run(self, last: Run | None) -> Run:
        """Take a run from the queue, preferably one on the data that the process has loaded for its last."""
        run = next((run for run in self._queue if run.shares_data_with(last)), self._queue[0])
        self._queue.remove(run)
        return run
