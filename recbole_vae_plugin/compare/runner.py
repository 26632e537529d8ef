"""Runs the cells of an experiment that have no result yet, in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path
from statistics import mean

import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from recbole_vae_plugin.compare.experiment import Cell, Experiment
from recbole_vae_plugin.compare.results import (
    EXPERIMENT,
    RUNS,
    read_experiment,
    read_result,
    set_aside_damaged,
)
from recbole_vae_plugin.runs.files import labels, write_result
from recbole_vae_plugin.runs.worker import work
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import partial_of, remove_left_over, replacing, temporary_folder
from recbole_vae_plugin.system.processors import threads_for

LOCK = ".lock"
#: Beside it processes that run side by side share the data that they have prepared.
CACHE = Path(tempfile.gettempdir(), "recbole-vae")


class Plan:
    """Which cells are done and which are to run, in a results folder.

    Args:
        experiment: checked.
        folder: where results go; new, empty, or with results of the same experiment.
        only: labels of the methods to run; by default all.

    Raises:
        ValueError: the folder holds something else.
    """

    def __init__(self, experiment: Experiment, folder: Path, only: Collection[str] = ()):
        self.experiment, self.folder = experiment, folder.resolve()
        self.done: list[Cell] = []
        self.to_run: list[Cell] = []
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._check_folder()
        for cell in experiment.cells():
            set_aside_damaged(self.folder / RUNS / cell.folder)
            result = read_result(self.folder / RUNS / cell.folder)
            if result and "failed" in result:
                result = None
            if result and result["fingerprint"] != cell.fingerprint:
                refuse(
                    "results",
                    str(folder),
                    f"another folder: there {cell} was run with other settings. An experiment may gain "
                    "methods, seeds and data sets, but what has been run must stay as it was",
                )
            if result:
                self.done.append(cell)
                self.note(cell, result["seconds"])
            elif not only or cell.contestant in only:
                self.to_run.append(cell)

    def _check_folder(self) -> None:
        if not self.folder.exists():
            return
        allowed = "a new or empty folder, or one with results of this experiment"
        if not self.folder.is_dir():
            refuse("results", str(self.folder), allowed)
        if (self.folder / EXPERIMENT).is_file():
            there = read_experiment(self.folder, {"name"})["name"]
            if there != self.experiment.name:
                refuse("results", str(self.folder), f"{allowed}; it holds the experiment {there}")
        elif any(entry.name != LOCK for entry in self.folder.iterdir()):
            refuse("results", str(self.folder), allowed)

    def note(self, cell: Cell, seconds: float) -> None:
        """Learn from a run how long others will take."""
        self._seconds[cell.dataset, cell.contestant].append(seconds)

    def seconds_left(self, cells: list[Cell], jobs: int) -> float | None:
        """An estimate for cells that are still to run; ``None`` while nothing is known."""
        if not self._seconds:
            return None
        typical = mean(mean(seconds) for seconds in self._seconds.values())
        known = self._seconds
        each = [
            mean(known[key]) if (key := (cell.dataset, cell.contestant)) in known else typical
            for cell in cells
        ]
        return max(sum(each) / jobs, max(each, default=0))


def describe(plan: Plan, jobs: int) -> str:
    """The plan in words: what is compared, what is done, what is to run and how long it may take."""
    experiment = plan.experiment
    lines = [
        f"{experiment.name}: {len(experiment.methods)} methods on {', '.join(experiment.datasets)}",
        f"  methods  {', '.join(experiment.methods)}; tested against {experiment.baseline}",
        f"  seeds    split {_list(experiment.split_seeds)}; model {_list(experiment.model_seeds)}",
        f"  runs     {len(plan.done)} done, {len(plan.to_run)} to run "
        f"({_in_words(plan.seconds_left(plan.to_run, jobs))})",
        f"  results  {plan.folder}",
    ]
    return "\n".join(lines)


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def run(plan: Plan, jobs: int = 1) -> None:
    """Run what has no result yet. Whenever it is stopped, finished runs stay and are not repeated.

    Args:
        plan: of the experiment.
        jobs: processes that run cells side by side.

    Raises:
        RuntimeError: another process is running an experiment in this folder.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    with locked(plan.folder), temporary_folder(CACHE) as cache:
        remove_left_over_runs(plan.folder / RUNS)
        content = yaml.safe_dump(asdict(plan.experiment), sort_keys=False, allow_unicode=True)
        with replacing(plan.folder / EXPERIMENT) as partial:
            partial.write_text(content, encoding="utf-8")
        total = len(plan.done) + len(plan.to_run)
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} runs [{elapsed}{postfix}]"
        with tqdm(total=total, initial=len(plan.done), bar_format=form, dynamic_ncols=True) as bar:
            _run_all(plan, jobs, cache, bar)
        # of processes that had not noticed yet that their runner was killed
        remove_left_over_runs(plan.folder / RUNS)


def remove_left_over_runs(runs: Path) -> None:
    """Remove what runs that were killed have left, also those that nobody asks for again."""
    for folder in runs.glob("*/*/"):
        remove_left_over(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second runner out of the folder; the system frees the lock if this one is killed."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RuntimeError(f"another process is running an experiment in {folder}") from None


class Worker:
    """A process with the cell that it runs.

    Args:
        runs: where the cells' folders go.
        cache: see ``PreparedData``.
        threads: of torch and BLAS.
        options: of ``run_cell``.
    """

    def __init__(self, runs: Path, cache: Path | None, threads: int, **options):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.cell: Cell | None = None
        self.last: Cell | None = None
        self.runs = runs
        #: where the cell's files are until it is done
        self.partial: Path | None = None
        arguments = (other, os.getpid(), runs, cache, threads, options)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        other.close()

    def start(self, cell: Cell) -> None:
        self.cell = self.last = cell
        self.partial = partial_of(self.runs / cell.folder, self.process.pid)
        # a process that died while idle is heard of by listen
        with contextlib.suppress(OSError):
            self.connection.send((cell, self.partial))

    def choose(self, waiting: deque[Cell]) -> Cell:
        """The next cell, if possible one on the data that this process has prepared."""
        for cell in waiting:
            same = self.last and (cell.dataset, cell.split_seed) == (self.last.dataset, self.last.split_seed)
            if same:
                waiting.remove(cell)
                return cell
        return waiting.popleft()

    def listen(self) -> tuple[str, dict]:
        """("epoch", row), to be answered with :meth:`go_on`, or ("done", result). A process that is
        no more is done, too: the result says why it failed."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.end()
            return "done", self._record_death()

    def go_on(self, yes: bool = True) -> None:
        # a process that died meanwhile is heard of by listen
        with contextlib.suppress(OSError):
            self.connection.send(yes)

    def _record_death(self) -> dict:
        """A process that was killed wrote no result; say so in its stead."""
        final = self.runs / self.cell.folder
        result = read_result(final)
        same = result and result["fingerprint"] == self.cell.fingerprint
        if same and "failed" not in result:
            # it died between writing its result and saying so
            return result
        code = self.process.exitcode
        reason = f"its process ended with exit code {code}"
        if code is not None and code < 0:
            hint = ", for want of memory perhaps" if code == -9 else ""
            reason = f"its process was ended by signal {-code}{hint}"
        shutil.rmtree(final, ignore_errors=True)
        if self.partial.exists():
            os.replace(self.partial, final)
        return write_result(final, {**labels(self.cell), "failed": reason, "seconds": 0.0, "environment": {}})

    @property
    def alive(self) -> bool:
        return not self.connection.closed

    def end(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()


def _run_all(plan: Plan, jobs: int, cache: Path, bar: tqdm) -> None:
    waiting = deque(plan.to_run)
    jobs = max(1, min(jobs, len(waiting)))
    shared = cache if jobs > 1 else None
    threads = threads_for(jobs)
    workers: list[Worker] = []
    try:
        while waiting or any(worker.cell for worker in workers):
            while len(workers) < jobs and waiting:
                options = {"keep_checkpoint": plan.experiment.checkpoints}
                workers.append(Worker(plan.folder / RUNS, shared, threads, **options))
            for worker in workers:
                if worker.cell is None and waiting:
                    worker.start(worker.choose(waiting))
            busy = {worker.connection: worker for worker in workers if worker.cell}
            for connection in wait(list(busy)):
                _listen(busy[connection], plan, bar)
            workers = [worker for worker in workers if worker.alive]
            left = [*waiting, *(worker.cell for worker in workers if worker.cell)]
            bar.set_postfix_str(_in_words(plan.seconds_left(left, jobs)))
    finally:
        for worker in workers:
            worker.end()


def _listen(worker: Worker, plan: Plan, bar: tqdm) -> None:
    """Hear one message of a worker."""
    cell = worker.cell
    kind, content = worker.listen()
    if kind == "epoch":
        worker.go_on()
        bar.set_description_str(f"{cell} · epoch {content['epoch']}")
        return
    worker.cell = None
    bar.update()
    if "failed" in content:
        bar.write(f"FAILED {cell}: {content['failed']}")
        return
    plan.note(cell, content["seconds"])
    metric = plan.experiment.valid_metric.lower()
    bar.write(f"{cell}: {metric} {content['test'][metric]:.4f}, {content['seconds']:.0f} s")


def _in_words(seconds: float | None) -> str:
    if seconds is None:
        return "time left unknown yet"
    return f"about {tqdm.format_interval(round(seconds))} left"
