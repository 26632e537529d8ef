"""Runs side by side, each in a process: what waits, what is in progress, and what comes of it."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import wait
from pathlib import Path

from recbole_vae_plugin.runs.files import remove_left_over_runs
from recbole_vae_plugin.runs.process import WorkerProcess
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.system.atomic import temporary_folder
from recbole_vae_plugin.system.processors import threads_for

#: Next to it processes that run at the same time share the data that they have prepared.
CACHE = Path(tempfile.gettempdir(), "recbole-vae")


def always(run: Run, row: dict) -> bool:
    """Let every run go on to its end."""
    return True


class Pool:
    """Processes for runs; to be used in a ``with``, at the end of which all of them end.

    Args:
        folder: where the runs' folders go.
        jobs: how many runs are executed at the same time.
        goes_on: told of each epoch of a run; answers whether the run is to go on.
        options: of ``execute``.
    """

    def __init__(self, folder: Path, jobs: int, goes_on: Callable[[Run, dict], bool] = always, **options):
        # the processes change their working directory
        self._folder, self._jobs, self._goes_on, self._options = folder.resolve(), jobs, goes_on, options
        self._waiting: deque[Run] = deque()
        self._processes: list[WorkerProcess] = []
        self._cache: Path | None = None
        self._at_end = ExitStack()

    def __enter__(self) -> Pool:
        remove_left_over_runs(self._folder)
        # a split that several processes need is made by one of them
        if self._jobs > 1:
            self._cache = self._at_end.enter_context(temporary_folder(CACHE))
        # of processes that had not noticed yet that their parent was killed
        self._at_end.callback(remove_left_over_runs, self._folder)
        return self

    def __exit__(self, *raised) -> None:
        for process in self._processes:
            process.end()
        self._at_end.close()

    def submit(self, run: Run) -> None:
        """Have a run executed as soon as a process is free."""
        self._waiting.append(run)

    @property
    def left(self) -> list[Run]:
        """Runs that wait or are in progress."""
        return [*self._waiting, *(process.run for process in self._processes if process.run)]

    def results(self) -> Iterator[tuple[Run, dict]]:
        """All that was submitted, each run with its result when it ends."""
        while self.left:
            yield from self.listen()

    def listen(self, timeout: float | None = None) -> list[tuple[Run, dict]]:
        """Start what can start and hear what the processes have to say; returns runs that ended.

        Args:
            timeout: seconds after which nothing was said; by default there is no limit.
        """
        self._start()
        busy = {process.connection: process for process in self._processes if process.run}
        ended = []
        for connection in wait(list(busy), timeout):
            process = busy[connection]
            run = process.run
            kind, content = process.listen()
            if kind == "epoch":
                process.go_on(self._goes_on(run, content))
            else:
                ended.append((run, content))
        self._processes = [process for process in self._processes if process.alive]
        return ended

    def _start(self) -> None:
        """Give waiting runs to idle processes, and to new ones while there may be more."""
        idle = [process for process in self._processes if not process.run]
        while self._waiting and (idle or len(self._processes) < self._jobs):
            process = idle.pop() if idle else self._new_process()
            process.start(self._take(process.last))

    def _new_process(self) -> WorkerProcess:
        threads = threads_for(self._jobs)
        self._processes.append(WorkerProcess(self._folder, self._cache, threads, self._options))
        return self._processes[-1]

    def _take(self, last: Run | None) -> Run:
        """The next run, if possible one on the data that the process has prepared for its last."""
        run = next((run for run in self._waiting if run.shares_data_with(last)), self._waiting[0])
        self._waiting.remove(run)
        return run
