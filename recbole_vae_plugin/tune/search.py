"""The search: Optuna proposes configurations, and a pool of processes trains and validates them.

Optuna keeps the study in a database, so that a search can be stopped at any moment and shared by several
processes and machines. This, pruning and its plots are why it is used instead of RecBole's hyperopt and Ray.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from statistics import mean
from time import time
from typing import Any

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from recbole_vae_plugin.runs.files import EpochRow, Result
from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.tune.heartbeat import Heartbeat
from recbole_vae_plugin.tune.space import UNLIMITED, Space, format_values
from recbole_vae_plugin.tune.study import TRIALS, open_study
from recbole_vae_plugin.tune.trial import (
    DEFAULTS,
    OUTSIDE,
    TrialInProgress,
    best_of,
    invalid_score,
    is_finished,
    seconds_of,
)

LOCK = ".lock"
#: After this many repeated proposals in a row, the space counts as exhausted.
MAX_REPEATS = 20


@dataclass(frozen=True)
class Rules:
    """What a search in a comparison does differently.

    Attributes:
        defaults: key -> value of the settings without any values of the space. If given, they are the first
            trial, whether or not they lie in the space.
        count_run_time: the limit of hours is for the sum of the trials' seconds, so that an interruption and
            the number of jobs change nothing; else it is for the time since the search was started first.
        exclusive: no other process has trials in the study, so that one that is running there was killed.
    """

    defaults: dict[str, Any] | None = None
    count_run_time: bool = False
    exclusive: bool = False


class Search:
    """A search in progress, perhaps shared with other processes.

    Args:
        study: from :func:`~recbole_vae_plugin.tune.study.open_study`.
        space: checked.
        runs: folder of the trials' runs.
        rules: see :class:`Rules`.
    """

    def __init__(self, study: optuna.Study, space: Space, runs: Path, rules: Rules) -> None:
        self.study, self.space, self.runs, self.rules = study, space, runs, rules
        self.heartbeat = Heartbeat(study)
        self.running: dict[str, TrialInProgress] = {}
        # only one process of a machine proposes at a time
        self.lock = FileLock(runs.parent / LOCK)
        self.exhausted = False

    def run(self, jobs: int) -> None:
        """Run trials until there are enough, or until the time limit.

        Raises:
            KeyboardInterrupt: the trials in progress will be run again when the search is resumed.
        """
        limited = self.space.hours is not None and not self.rules.count_run_time
        began = self.start_time() if limited else time()
        if self.rules.exclusive:
            self.fail_abandoned()
        jobs = max(1, min(jobs, self.goal - len(self.finished())))
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} trials [{elapsed}<{remaining}{postfix}]"
        done, total = len(self.finished()), self.goal if self.goal < UNLIMITED else None
        with (
            Pool(self.runs, jobs, self.should_continue, test=False, group=self.space.name) as pool,
            tqdm(total=total, initial=done, bar_format=form, dynamic_ncols=True) as bar,
        ):
            try:
                while True:
                    with self.lock:
                        if self.heartbeat.update(entry.trial for entry in self.running.values()):
                            self.exhausted = False
                        while len(self.running) < jobs and not self.is_late(began) and self.may_start():
                            self.start(pool)
                    enough = self.is_late(began) or len(self.finished()) >= self.goal
                    if not self.running and (enough or (self.exhausted and not self.others_are_running())):
                        return
                    self.poll(pool, bar)
            finally:
                for entry in self.running.values():
                    self.study.tell(entry.trial, state=TrialState.FAIL, skip_if_finished=True)

    @property
    def goal(self) -> int:
        """The number of trials, see :meth:`~recbole_vae_plugin.tune.space.Space.goal`."""
        return self.space.goal(self.rules.defaults)

    def queue_first(self) -> None:
        """Queue the defaults and, if there are no more configurations than trials, each configuration."""
        defaults, known = self.rules.defaults, self.study.get_trials(deepcopy=False)
        if defaults is not None and not any(DEFAULTS in trial.user_attrs for trial in known):
            fixed = {each.name: each.encoded(defaults[each.name]) for each in self.space.inside(defaults)}
            recorded = {DEFAULTS: defaults, OUTSIDE: self.space.outside(defaults)}
            self.study.enqueue_trial(fixed, user_attrs=recorded)
        # where only time is limited, the first of them would be all alike
        if self.space.size <= self.space.trials < UNLIMITED:
            choices = [
                [(parameter.name, parameter.encoded(value)) for value in parameter.values]
                for parameter in self.space.parameters
            ]
            combinations = list(product(*choices))
            if self.space.hours is not None:  # not all of them may come to run
                Random(0).shuffle(combinations)
            for combination in combinations:
                self.study.enqueue_trial(dict(combination), skip_if_exists=True)

    def fail_abandoned(self) -> None:
        """Mark the running trials, whose processes are no more, as failed: they are run again at once."""
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self.study.tell(trial.number, state=TrialState.FAIL)

    def is_late(self, began: float) -> bool:
        """Whether the time limit, if there is one, has been reached.

        Args:
            began: when the search was started first, if the limit is for the time since then.
        """
        if self.space.hours is None:
            return False
        spent = seconds_of(self.finished()) if self.rules.count_run_time else time() - began
        return spent >= 3600 * self.space.hours

    def finished(self) -> list[FrozenTrial]:
        """The trials that count, failed ones included."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if is_finished(trial)]

    def start_time(self) -> float:
        """When the search was started first, in seconds since the epoch."""
        began = self.study.user_attrs.get("began") or time()
        self.study.set_user_attr("began", began)
        return began

    def may_start(self) -> bool:
        """Whether more trials are needed than have finished or are running, in all processes.

        Optuna's ``MaxTrialsCallback`` would not do: it ignores running trials, so that several processes
        would start too many, and it counts by state, which is "failed" for interrupted and repeated ones
        too.
        """
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return not self.exhausted and len(self.finished()) + len(running) < self.goal

    def others_are_running(self) -> bool:
        """Whether the study has running trials of other processes, which may have died meanwhile."""
        return len(self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])) > len(self.running)

    def start(self, pool: Pool) -> None:
        """Start a trial with a new configuration, if there is one."""
        proposal = self.propose()
        self.exhausted = proposal is None
        if proposal is not None:
            self.running[proposal.label] = proposal
            pool.submit(proposal.next_run(self.space))

    def propose(self) -> TrialInProgress | None:
        """A trial with a configuration that no process has tried or is trying; ``None`` if none is found."""
        for _ in range(MAX_REPEATS):
            trial = self.study.ask()
            self.heartbeat.beat(trial)
            values = self.values_of(trial)
            duplicate = self.find_duplicate(trial)
            if duplicate is None:
                return TrialInProgress(trial, values)
            trial.set_user_attr("repeats", duplicate.number)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def values_of(self, trial: Trial) -> dict[str, Any]:
        """The values that a trial changes: none if it is that of the defaults. The study is told those of
        them that lie in the space."""
        if (defaults := trial.user_attrs.get(DEFAULTS)) is None:
            return self.space.suggest(trial)
        for parameter in self.space.inside(defaults):
            parameter.suggest(trial)
        return {}

    def find_duplicate(self, trial: Trial) -> FrozenTrial | None:
        """Another finished or running trial with the same values."""
        for other in self.study.get_trials(deepcopy=False):
            same = other.number != trial.number and other.params == trial.params
            same = same and other.user_attrs.get(OUTSIDE, []) == trial.user_attrs.get(OUTSIDE, [])
            if same and (is_finished(other) or other.state == TrialState.RUNNING):
                return other
        return None

    def poll(self, pool: Pool, bar: tqdm) -> None:
        """Handle messages of the processes; waits at most a second."""
        for run, result in pool.poll(timeout=1):
            entry = self.running[run.method]
            entry.add_result(result)
            if "failed" not in result and "stopped" not in result and entry.has_seeds_left(self.space):
                pool.submit(entry.next_run(self.space))
                continue
            del self.running[run.method]
            self.exhausted = False
            bar.write(self.record(entry, result))
        bar.n = min(len(self.finished()), self.goal)
        bar.set_postfix_str(f"best {format_best(self.study)}")

    def should_continue(self, run: Run, row: EpochRow) -> bool:
        """Whether to train another epoch; also counts the epochs of the trial."""
        entry = self.running[run.method]
        # an epoch is reported once after training and once after validation
        entry.epochs += "valid_seconds" not in row
        return not self.should_prune(entry, row)

    def should_prune(self, entry: TrialInProgress, row: EpochRow) -> bool:
        """Whether the learning curve is below the median of other trials; only for the first model seed, and
        never for the defaults, which the winner must not be worse than."""
        score = row.get(f"valid_{self.space.valid_metric.lower()}")
        if score is None or entry.scores:
            return False
        try:
            entry.trial.report(score, row["epoch"])
        except optuna.exceptions.UpdateFinishedTrialError:
            # this process was suspended for so long that another one has taken over the trial
            return True
        return DEFAULTS not in entry.trial.user_attrs and entry.trial.should_prune()

    def record(self, entry: TrialInProgress, result: Result) -> str:
        """Record in the study how a trial ended; returns a line for the user."""
        trial = entry.trial
        label = f"trial {trial.number}: {format_values(entry.values) or 'the defaults'}"
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            for key in ("seconds", "epochs", "values"):
                trial.set_user_attr(key, getattr(entry, key))
            if entry.startup_seconds:  # a stopped run has none
                trial.set_user_attr("startup_seconds", entry.startup_seconds)
            failed = result.get("failed") or invalid_score(entry.scores)
            if failed:
                trial.set_user_attr("failed", failed)
                self.study.tell(trial, state=TrialState.FAIL)
                return f"FAILED {label}: {failed}"
            if "stopped" in result:
                self.study.tell(trial, state=TrialState.PRUNED)
                return f"pruned {label}: below the median after {entry.epochs} epochs"
            self.study.tell(trial, mean(entry.scores))
            score = f"valid {self.space.valid_metric} {mean(entry.scores):.4f}"
            took = f"{entry.seconds:.0f} s, {entry.startup_seconds:.1f} of them before the first step"
            return f"{label}: {score}, {took}"
        return f"lost {label}: another process has taken over"


def still_running(study: optuna.Study) -> bool:
    """Whether any process has a running trial in the study."""
    return bool(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))


def format_best(study: optuna.Study) -> str:
    """The best score so far, for the progress bar."""
    best = best_of(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
    if best is None:
        return "not known yet"
    return f"{best.value:.4f} (trial {best.number})"


def search(
    space: Space, folder: Path, jobs: int = 1, storage: str | None = None, rules: Rules = Rules()
) -> optuna.Study:
    """Start or resume a search; see :class:`Search`.

    Args:
        space: checked.
        folder: for the results.
        jobs: how many trials are trained in parallel.
        storage: see :func:`~recbole_vae_plugin.tune.study.open_study`.
        rules: see :class:`Rules`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # of processes that start together, one creates the tables
    with FileLock(folder / LOCK):
        study = open_study(space, folder, storage)
        in_progress = Search(study, space, (folder / TRIALS).resolve(), rules)
        in_progress.queue_first()
    if len(in_progress.finished()) < in_progress.goal:
        in_progress.run(jobs)
    return study
