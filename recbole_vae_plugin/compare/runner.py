"""Planning and execution of the searches and runs of an experiment that have no result yet."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import mean

import yaml
from filelock import FileLock, Timeout
from tqdm import tqdm

from recbole_vae_plugin.compare.experiment import Experiment, SearchKey
from recbole_vae_plugin.compare.results import EXPERIMENT, RUNS, read_experiment
from recbole_vae_plugin.compare.searches import (
    Record,
    budget_of,
    fingerprint_of,
    is_begun,
    read_records,
    run_search,
    trial_seconds,
    winner_line,
    winners,
)
from recbole_vae_plugin.runs.files import EpochRow, Result, load_result_if_whole, set_aside_damaged
from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import write_text
from recbole_vae_plugin.tune.space import UNLIMITED

LOCK = ".lock"


class Plan:
    """The finished and the remaining searches and runs of a results folder.

    Args:
        experiment: checked.
        folder: for the results: new, empty, or with results of the same experiment.
        only: labels of the methods to run; by default all.

    Attributes:
        searches: those that have not ended.
        records: of the others.
        done: the runs with a result.
        to_run: the others; those that a search comes before still have their method's own settings.

    Raises:
        ValueError: the folder has other content.
    """

    def __init__(self, experiment: Experiment, folder: Path, only: Collection[str] = ()) -> None:
        self.experiment, self.folder, self.only = experiment, folder.resolve(), only
        self.searches: list[SearchKey] = []
        self.records: dict[SearchKey, Record] = {}
        self.done: list[Run] = []
        self.to_run: list[Run] = []
        self._check_folder()
        self.update()

    def update(self) -> None:
        """Read what there is: at first, and again when searches have ended."""
        records = self.records = read_records(self.experiment, self.folder)
        for search, record in records.items():
            self._check_search(search, record)
        self.searches = [
            each for each in self.experiment.searches() if each not in records and self._is_asked_for(each)
        ]
        self.done, self.to_run = [], []
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._trials: dict[SearchKey, int] = {}
        for search in self.experiment.searches():
            seconds = list(trial_seconds(self.folder, search))
            self._seconds[search[:2]] += seconds
            self._trials[search] = len(seconds)
        found = winners(records)
        for run in self.experiment.runs(found):
            first = self.experiment.search_of(run)
            # where a search has found nothing, there is nothing to run, which the table says
            if first is None or first in found or first not in records:
                self._add(run, None if first in found else first)

    def _is_asked_for(self, each: Run | SearchKey) -> bool:
        return not self.only or each.method in self.only

    def _check_search(self, search: SearchKey, record: Record) -> None:
        """Refuse a search that has ended with another budget, over another space or with other settings."""
        space = self.experiment.space_of(search)
        budget = budget_of(space)
        if record["fingerprint"] != fingerprint_of(space):
            refuse(
                "results",
                str(self.folder),
                f"another folder: in this one the search of {search} has ended, with other settings or over "
                "another space",
            )
        if record["budget"] != budget:
            refuse(
                "tune",
                budget,
                f"{record['budget']}, or another folder: in {self.folder} the search of {search} has ended "
                "with that budget",
            )

    def _add(self, run: Run, search: SearchKey | None) -> None:
        """Note a run as done or to be done.

        Args:
            search: that has not ended, so that the run's settings are not known yet.
        """
        set_aside_damaged(self.folder / RUNS / run.folder)
        result = load_result_if_whole(self.folder / RUNS / run.folder)
        if result and "failed" in result:
            result = None
        if result and search and is_begun(self.folder, search):
            # only its record is missing: once it is there again, the run is read anew
            result = None
        how = "untuned" if search else "with other settings"
        if result and (search or result["fingerprint"] != run.fingerprint):
            refuse(
                "results",
                str(self.folder),
                f"another folder: in this one {run} has run {how}. Methods, seeds and data "
                "sets may be added to an experiment, but not changed once they have run",
            )
        if result:
            self.done.append(run)
            self.record_time(run, result["seconds"])
        elif self._is_asked_for(run):
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

    def trials_left(self, search: SearchKey) -> int:
        """How many trials a search that has not ended still has to run."""
        space = self.experiment.space_of(search)
        # only in a small space it matters whether the method's own settings are one more
        goal = space.trials if space.size >= space.trials else space.goal(space.own_values())
        return max(0, goal - self._trials[search])

    def seconds_left(self, runs: list[Run], jobs: int) -> float | None:
        """Estimated time for runs and for the searches; ``None`` before any run has finished."""
        known = {key: mean(seconds) for key, seconds in self._seconds.items() if seconds}
        if not known:
            return None
        typical = mean(known.values())
        each = [known.get((run.dataset, run.method), typical) for run in runs]
        searching = 0.0
        for search in self.searches:
            hours = self.experiment.space_of(search).hours
            # with a limit of hours, a search may end before its trials do
            limit = math.inf if hours is None else 3600 * hours
            searching += min(known.get(search[:2], typical) * self.trials_left(search), limit)
        return max((sum(each) + searching) / jobs, max(each, default=0))


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
    if plan.only:
        lines.insert(2, f"  only     {', '.join(plan.only)}")
    if experiment.tune is not None:
        lines.insert(3 + bool(plan.only), f"  tune     {_searches_line(plan)}")
    return "\n".join(lines)


def _searches_line(plan: Plan) -> str:
    """The searches, done and to do, and the most hours that they take."""
    spaces = [plan.experiment.space_of(search) for search in plan.searches]
    text = f"{len(plan.records)} searches done, {len(plan.searches)} to do"
    if all(space.trials < UNLIMITED for space in spaces):
        text += f" ({sum(map(plan.trials_left, plan.searches))} trials left)"
    if spaces and (hours := spaces[0].hours) is not None:
        text += f", at most {hours:g} h of training each"
    untuned = [method for method in plan.experiment.methods if not plan.experiment.is_tuned(method)]
    return text + (f"; without a search: {', '.join(untuned)}" if untuned else "")


def _joined(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def run(plan: Plan, jobs: int = 1, storage: str | None = None) -> None:
    """Execute the remaining searches, then the remaining runs. It can be stopped at any time: finished trials
    and runs are kept and not repeated.

    Args:
        plan: of the experiment.
        jobs: how many trials or runs are executed in parallel.
        storage: of the searches, see :func:`~recbole_vae_plugin.tune.study.open_study`.

    Raises:
        RuntimeError: another process is running an experiment in this folder.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    with locked(plan.folder):
        content = yaml.safe_dump(asdict(plan.experiment), sort_keys=False, allow_unicode=True)
        write_text(plan.folder / EXPERIMENT, content)
        for number, search in enumerate(plan.searches, start=1):
            print(f"search {number} of {len(plan.searches)}: {search}")
            record = run_search(plan.experiment, search, plan.folder, jobs, storage)
            print(_search_line(plan, record))
        if plan.searches:
            plan.update()
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


def _search_line(plan: Plan, record: Record) -> str:
    """The line that is printed for a search that has ended."""
    if record["values"] is None:
        return f"no winner after {record['trials']} trials"
    score = f"valid {plan.experiment.valid_metric} {record['valid_score']:.4f}"
    tried = f"best of {record['trials']} trials, {record['search_seconds']:.0f} s"
    return f"{tried}: {score} with {winner_line(record)}"


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "time left not known yet"
    return f"about {tqdm.format_interval(round(seconds))} left"
