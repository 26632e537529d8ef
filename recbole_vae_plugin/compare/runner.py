"""Planning and execution of the runs of an experiment that have no result yet."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.compare.results import EXPERIMENT, RUNS, read_experiment
from recbole_vae_plugin.runs.files import EpochRow, Result, load_result_if_whole, set_aside_damaged
from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import write_text

LOCK = ".lock"


class Plan:
    """The finished and the remaining runs of a results folder.

    Args:
        experiment: checked.
        folder: for the results: new, empty, or with results of the same experiment.
        only: labels of the methods to run; by default all.

    Raises:
        ValueError: the folder has other content.
    """

    def __init__(self, experiment: Experiment, folder: Path, only: Collection[str] = ()) -> None:
        self.experiment, self.folder = experiment, folder.resolve()
        self.done: list[Run] = []
        self.to_run: list[Run] = []
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._check_folder()
        for run in experiment.runs():
            set_aside_damaged(self.folder / RUNS / run.folder)
            result = load_result_if_whole(self.folder / RUNS / run.folder)
            if result and "failed" in result:
                result = None
            if result and result["fingerprint"] != run.fingerprint:
                refuse(
                    "results",
                    str(folder),
                    f"another folder: in this one {run} has run with other settings. Methods, seeds and data "
                    "sets may be added to an experiment, but not changed once they have run",
                )
            if result:
                self.done.append(run)
                self.record_time(run, result["seconds"])
            elif not only or run.method in only:
                self.to_run.append(run)

    def _check_folder(self) -> None:
        if not self.folder.exists():
            return
        allowed = "a new or empty folder, or one with results of this experiment"
        if not self.folder.is_dir():
            refuse("results", str(self.folder), allowed)
        if (self.folder / EXPERIMENT).is_file():
            known = read_experiment(self.folder, {"name"})["name"]
            if known != self.experiment.name:
                refuse("results", str(self.folder), f"{allowed}; it has results of the experiment {known}")
        elif any(entry.name != LOCK for entry in self.folder.iterdir()):
            refuse("results", str(self.folder), allowed)

    def record_time(self, run: Run, seconds: float) -> None:
        """Note the time of a finished run, for estimates."""
        self._seconds[run.dataset, run.method].append(seconds)

    def seconds_left(self, runs: list[Run], jobs: int) -> float | None:
        """Estimated time for runs; ``None`` before any run has finished."""
        if not self._seconds:
            return None
        typical = mean(mean(seconds) for seconds in self._seconds.values())
        known = self._seconds
        each = [mean(known[key]) if (key := (run.dataset, run.method)) in known else typical for run in runs]
        return max(sum(each) / jobs, max(each, default=0))


def describe(plan: Plan, jobs: int) -> str:
    """The plan as text: methods, seeds, finished and remaining runs, estimated time."""
    experiment = plan.experiment
    lines = [
        f"{experiment.name}: {len(experiment.methods)} methods on {', '.join(experiment.datasets)}",
        f"  methods  {', '.join(experiment.methods)}; tested against {experiment.baseline}",
        f"  seeds    split {_joined(experiment.split_seeds)}; model {_joined(experiment.model_seeds)}",
        f"  runs     {len(plan.done)} done, {len(plan.to_run)} to run "
        f"({_time_left(plan.seconds_left(plan.to_run, jobs))})",
        f"  results  {plan.folder}",
    ]
    return "\n".join(lines)


def _joined(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def run(plan: Plan, jobs: int = 1) -> None:
    """Execute the remaining runs. It can be stopped at any time: finished runs are kept and not repeated.

    Args:
        plan: of the experiment.
        jobs: how many runs are executed in parallel.

    Raises:
        RuntimeError: another process is running an experiment in this folder.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    with locked(plan.folder):
        content = yaml.safe_dump(asdict(plan.experiment), sort_keys=False, allow_unicode=True)
        write_text(plan.folder / EXPERIMENT, content)
        total = len(plan.done) + len(plan.to_run)
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} runs [{elapsed}{postfix}]"
        with tqdm(total=total, initial=len(plan.done), bar_format=form, dynamic_ncols=True) as bar:
            _run_all(plan, jobs, bar)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder; the system releases it if this process is killed."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout:
        raise RuntimeError(f"another process is running an experiment in {folder}") from None


def _run_all(plan: Plan, jobs: int, bar: tqdm) -> None:
    def show(run: Run, row: EpochRow) -> bool:
        bar.set_description_str(f"{run} · epoch {row['epoch']}")
        return True

    jobs = max(1, min(jobs, len(plan.to_run)))
    experiment = plan.experiment
    options = {"keep_checkpoint": experiment.checkpoints, "energy": experiment.energy}
    with Pool(plan.folder / RUNS, jobs, show, group=experiment.name, **options) as pool:
        for run in plan.to_run:
            pool.submit(run)
        for run, result in pool.results():
            bar.update()
            bar.write(_run_line(plan, run, result))
            bar.set_postfix_str(_time_left(plan.seconds_left(pool.unfinished, jobs)))


def _run_line(plan: Plan, run: Run, result: Result) -> str:
    """The line that is printed for a run that has ended; the plan records its time."""
    if "failed" in result:
        return f"FAILED {run}: {result['failed']}"
    plan.record_time(run, result["seconds"])
    metric = plan.experiment.valid_metric.lower()
    return f"{run}: {metric} {result.get('test', {})[metric]:.4f}, {result['seconds']:.0f} s"


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    return f"about {tqdm.format_interval(round(seconds))} left"
