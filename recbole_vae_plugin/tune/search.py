"""The search: Optuna proposes, the processes of a pool train, validation judges.

Optuna keeps the study in a database, so that a search can be stopped at any moment and joined from
other processes and machines. It was chosen over RecBole's hyperopt and Ray because it does that,
prunes, and draws its own plots.
"""

from __future__ import annotations

import contextlib
import json
import math
from itertools import product
from pathlib import Path
from statistics import mean
from time import time

import optuna
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.tune.heartbeat import Heartbeat
from recbole_vae_plugin.tune.space import Space
from recbole_vae_plugin.tune.study import TRIALS, open_study
from recbole_vae_plugin.tune.trial import TrialInProgress, ended, no_score

LOCK = ".lock"
#: Proposals in a row that were tried before; then there are no new ones.
MOST_REPEATS = 20


class Search:
    """A search in progress, in this process and perhaps in others.

    Args:
        study: from :func:`~recbole_vae_plugin.tune.study.open_study`.
        space: checked.
        runs: folder for the trials' files.
    """

    def __init__(self, study: optuna.Study, space: Space, runs: Path):
        self.study, self.space, self.runs = study, space, runs
        self.heartbeat = Heartbeat(study)
        self.running: dict[str, TrialInProgress] = {}
        # of the processes on this machine one at a time proposes
        self.lock = FileLock(runs.parent / LOCK)
        self.nothing_new = False

    def run(self, jobs: int) -> None:
        """Run trials until there are as many as asked for, or time is up.

        Raises:
            KeyboardInterrupt: the trials that were running will be run again by whoever goes on.
        """
        end = math.inf if self.space.hours is None else self.started() + 3600 * self.space.hours
        jobs = max(1, min(jobs, self.goal - len(self.finished())))
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} trials [{elapsed}<{remaining}{postfix}]"
        done = len(self.finished())
        with (
            Pool(self.runs, jobs, self.goes_on, test=False) as pool,
            tqdm(total=self.goal, initial=done, bar_format=form, dynamic_ncols=True) as bar,
        ):
            try:
                while True:
                    with self.lock:
                        if self.heartbeat.watch(entry.trial for entry in self.running.values()):
                            self.nothing_new = False
                        while len(self.running) < jobs and time() < end and self.may_start():
                            self.start(pool)
                    over = time() >= end or len(self.finished()) >= self.goal
                    if not self.running and (over or (self.nothing_new and not self.others_run())):
                        return
                    self.listen(pool, bar)
            finally:
                for entry in self.running.values():
                    self.study.tell(entry.trial, state=TrialState.FAIL, skip_if_finished=True)

    @property
    def goal(self) -> int:
        """How many trials there are to be: no more than there are configurations."""
        return int(min(self.space.trials, self.space.size))

    def finished(self) -> list[FrozenTrial]:
        """Trials that ended by themselves, failed ones included."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if ended(trial)]

    def started(self) -> float:
        """When the search began, in seconds since the epoch."""
        began = self.study.user_attrs.get("began") or time()
        self.study.set_user_attr("began", began)
        return began

    def may_start(self) -> bool:
        """Whether another trial is wanted beside those finished and running, here or elsewhere.

        Optuna's ``MaxTrialsCallback`` does not see the running ones, so that processes together would
        begin too many, and counts by state: one that was interrupted or repeats another has failed, too.
        """
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return not self.nothing_new and len(self.finished()) + len(running) < self.goal

    def others_run(self) -> bool:
        """Whether other processes are at work on the study, or were until lately."""
        return len(self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])) > len(self.running)

    def start(self, pool: Pool) -> None:
        """Begin a trial with a new proposal, if there is one."""
        proposal = self.propose()
        self.nothing_new = proposal is None
        if proposal is not None:
            self.running[proposal.label] = proposal
            pool.submit(proposal.next_run(self.space))

    def propose(self) -> TrialInProgress | None:
        """A configuration that nobody has tried or is trying; ``None`` where none comes up."""
        for _ in range(MOST_REPEATS):
            trial = self.study.ask()
            self.heartbeat.begin(trial)
            values = self.space.suggest(trial)
            twin = self.twin(trial)
            if twin is None:
                return TrialInProgress(trial, values)
            trial.set_user_attr("repeats", twin.number)
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def twin(self, trial: Trial) -> FrozenTrial | None:
        """Another trial with the same values that has ended or is running."""
        for other in self.study.get_trials(deepcopy=False):
            same = other.number != trial.number and other.params == trial.params
            if same and (ended(other) or other.state == TrialState.RUNNING):
                return other
        return None

    def listen(self, pool: Pool, bar: tqdm) -> None:
        """Hear what the processes have to say, for a second at most."""
        for run, result in pool.listen(timeout=1):
            entry = self.running[run.method]
            entry.note(result)
            if "failed" not in result and "stopped" not in result and entry.seeds_left(self.space):
                pool.submit(entry.next_run(self.space))
                continue
            del self.running[run.method]
            self.nothing_new = False
            bar.write(self.record(entry, result))
        bar.n = min(len(self.finished()), self.goal)
        bar.set_postfix_str(f"best {best_in_words(self.study)}")

    def goes_on(self, run: Run, row: dict) -> bool:
        """Whether a run is worth another epoch."""
        entry = self.running[run.method]
        # told of twice: trained, and validated
        entry.epochs += "valid_seconds" not in row
        return not self.is_weak(entry, row)

    def is_weak(self, entry: TrialInProgress, row: dict) -> bool:
        """Whether the learning curve, of the first model seed, lies below the median of others'."""
        score = row.get(f"valid_{self.space.valid_metric.lower()}")
        if score is None or entry.scores:
            return False
        try:
            entry.trial.report(score, row["epoch"])
        except optuna.exceptions.UpdateFinishedTrialError:
            # this process slept so long that another has taken the trial back
            return True
        return entry.trial.should_prune()

    def record(self, entry: TrialInProgress, result: dict) -> str:
        """Tell the study how a trial ended; returns a line for the user."""
        trial = entry.trial
        label = f"trial {trial.number}: {in_words(entry.values)}"
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            for key in ("seconds", "epochs", "values"):
                trial.set_user_attr(key, getattr(entry, key))
            if entry.startup_seconds:  # a run that was stopped does not say
                trial.set_user_attr("startup_seconds", entry.startup_seconds)
            failed = result.get("failed") or no_score(entry.scores)
            if failed:
                trial.set_user_attr("failed", failed)
                self.study.tell(trial, state=TrialState.FAIL)
                return f"FAILED {label}: {failed}"
            if "stopped" in result:
                self.study.tell(trial, state=TrialState.PRUNED)
                return f"stopped {label}: weak after {entry.epochs} epochs"
            self.study.tell(trial, mean(entry.scores))
            score = f"valid {self.space.valid_metric} {mean(entry.scores):.4f}"
            took = f"{entry.seconds:.0f} s, {entry.startup_seconds:.1f} of them before the first step"
            return f"{label}: {score}, {took}"
        return f"left {label}: another process has taken it back"


def still_running(study: optuna.Study) -> bool:
    """Whether any process is at work on the study."""
    return bool(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))


def in_words(values: dict) -> str:
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )


def best_in_words(study: optuna.Study) -> str:
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not done:
        return "not known yet"
    best = max(done, key=lambda trial: trial.value)
    return f"{best.value:.4f} (trial {best.number})"


def search(space: Space, folder: Path, jobs: int = 1, storage: str | None = None) -> optuna.Study:
    """Search, or go on with a search; see :class:`Search`.

    Args:
        space: checked.
        folder: for the results.
        jobs: processes that train side by side.
        storage: see :func:`~recbole_vae_plugin.tune.study.open_study`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # processes that start together must not both make the tables
    with FileLock(folder / LOCK):
        study = open_study(space, folder, storage)
    going = Search(study, space, (folder / TRIALS).resolve())
    if space.size <= space.trials:
        choices = [
            [(parameter.name, json.dumps(value)) for value in parameter.values]
            for parameter in space.parameters
        ]
        with FileLock(folder / LOCK):
            for combination in product(*choices):
                study.enqueue_trial(dict(combination), skip_if_exists=True)
    if len(going.finished()) < going.goal:
        going.run(jobs)
    return study
