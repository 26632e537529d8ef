"""The search: Optuna proposes, the processes of ``compare`` train, validation judges.

Optuna keeps the study in a database, so that a search can be stopped at any moment and joined from
other processes and machines. It was chosen over RecBole's hyperopt and Ray because it does that,
prunes, and draws its own plots.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
import warnings
from dataclasses import asdict
from itertools import product
from multiprocessing.connection import wait
from pathlib import Path
from statistics import mean
from time import time
from urllib.parse import unquote

import optuna
import yaml
from filelock import FileLock
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from recbole_vae_plugin.compare.experiment import Cell
from recbole_vae_plugin.compare.runner import CACHE, Worker, remove_left_over_runs
from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.atomic import temporary_folder, write_text
from recbole_vae_plugin.system.processors import threads_for
from recbole_vae_plugin.tune.space import Space

SPACE, TRIALS, STUDY, LOCK = "space.yaml", "trials", "study.db", ".lock"
#: Proposals in a row that were tried before; then there are no new ones.
MOST_REPEATS = 20
#: Seconds without a sign of life after which a trial counts as abandoned and is run again.
GRACE = 20
WAY_ON = "put back a whole one, give another folder (--results), or move this folder away and begin anew"
#: Epochs that every trial may train, and trials that finish, before weak ones are stopped.
WARM_UP_TRIALS = 5


def open_study(space: Space, folder: Path, storage: str | None) -> optuna.Study:
    """The study of this search, new or as far as it has come.

    Args:
        space: checked.
        folder: of the results; the database is a file in it unless ``storage`` is given.
        storage: an address as SQLAlchemy writes them.

    Raises:
        ValueError: the folder or the study is of another search.
    """
    if (folder / SPACE).is_file():
        known = name_of_search(folder / SPACE)
        if known != space.name:
            refuse("results", str(folder), f"another folder: it holds the search {known}")
    if storage is None:
        check_whole(folder / STUDY)
    # experimental: sampling several parameters together
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage or f"sqlite:///{(folder / STUDY).resolve()}"
    try:
        backend = optuna.storages.RDBStorage(url)
    except Exception as problem:
        missing = (
            '. For PostgreSQL: pip install "psycopg[binary]"' if isinstance(problem, ImportError) else ""
        )
        allowed = "the address of a database, such as postgresql+psycopg://user:password@host/name"
        if storage is None:
            reason = " ".join(str(problem).split())
            raise Refused(f"{folder / STUDY} cannot be opened ({reason}); {WAY_ON}") from problem
        reason = f"this one cannot be opened: {without_password(str(problem), url)}".rstrip(".")
        # no cause is shown: it may hold the address with its password
        raise Refused(
            f"--storage: got {without_password(url, url)!r}; allowed: {allowed}; {reason}{missing}"
        ) from None
    study = optuna.create_study(
        storage=backend,
        study_name=space.name,
        direction="maximize",
        load_if_exists=True,
        # processes that search together must not propose the same
        sampler=optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(WARM_UP_TRIALS, space.warm_up_epochs),
    )
    check_knows_trials(study, folder, storage)
    definition = json.dumps(definition_of(space), sort_keys=True, default=str)
    if study.user_attrs.setdefault("space", definition) != definition:
        refuse(
            "results",
            str(folder),
            f"another folder or name: there {space.name} is a search with other settings",
        )
    study.set_user_attr("space", definition)
    write_text(folder / SPACE, yaml.safe_dump(json.loads(definition), sort_keys=False))
    return study


def name_of_search(file: Path) -> str:
    """What the search is called whose space a results folder holds.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["name"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as problem:
        reason = " ".join(str(problem).split())
        raise Refused(
            f"{file} is damaged ({reason}); remove it, and the same command writes it anew"
        ) from problem


def check_whole(file: Path) -> None:
    """Refuse the file of a study in which anything is damaged.

    Raises:
        ValueError: names the file and the way on.
    """
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
            found = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.OperationalError:
        return  # it is busy, or cannot be opened, which Optuna says, too
    except sqlite3.DatabaseError as problem:
        found = str(problem)
    if found != "ok":
        raise Refused(f"{file} is damaged, or no database of Optuna's ({found}); {WAY_ON}")


def check_knows_trials(study: optuna.Study, folder: Path, storage: str | None) -> None:
    """Refuse a study that does not know trials whose files the folder holds: it would begin anew, and
    overwrite them.

    Raises:
        ValueError: names the study and the way on.
    """
    form = re.compile(r"trial-(\d+)")
    matches = (form.fullmatch(path.name) for path in (folder / TRIALS).glob("*/*/"))
    there = {int(match[1]) for match in matches if match}
    known = len(study.get_trials(deepcopy=False))
    if there and max(there) >= known:
        where = folder / STUDY if storage is None else without_password(storage, storage)
        raise Refused(
            f"{where} has been emptied or lost: it knows {known} trials, and {folder / TRIALS} holds files "
            f"of {len(there)}, up to number {max(there)}; {WAY_ON}"
        )


def without_password(text: str, url: str) -> str:
    """The text with the password of a database's address hidden, however it is written there."""
    match = re.match(r"[^:/]+://[^:/@]*:(?P<password>.*)@", url)
    if not match or not match["password"]:
        return text
    for secret in sorted({match["password"], unquote(match["password"])}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def definition_of(space: Space) -> dict:
    """What must stay as it is while a search goes on; how long it and its trials last may change."""
    content = asdict(space)
    for changeable in ("trials", "hours", "warm_up_epochs"):
        content.pop(changeable)
    content["dataset"].pop("data_path")
    return content


class Search:
    """A search in progress, in this process and perhaps in others.

    Args:
        study: from :func:`open_study`.
        space: checked.
        runs: folder for the trials' files.
    """

    def __init__(self, study: optuna.Study, space: Space, runs: Path):
        self.study, self.space, self.runs = study, space, runs
        self.running: dict[Worker, Running] = {}
        self.workers: list[Worker] = []
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
        threads = threads_for(jobs)
        form = "{l_bar}{bar}| {n_fmt}/{total_fmt} trials [{elapsed}<{remaining}{postfix}]"
        done = len(self.finished())
        remove_left_over_runs(self.runs)
        with (
            temporary_folder(CACHE) as cache,
            tqdm(total=self.goal, initial=done, bar_format=form, dynamic_ncols=True) as bar,
        ):
            shared = cache if jobs > 1 else None
            try:
                while True:
                    self.give_signs_of_life()
                    with self.lock:
                        self.take_back_abandoned()
                        while len(self.running) < jobs and time() < end and self.may_start():
                            self.start(shared, threads)
                    over = time() >= end or len(self.finished()) >= self.goal
                    if not self.running and (over or (self.nothing_new and not self.others_run())):
                        return
                    self.listen(bar)
            finally:
                for entry in self.running.values():
                    self.study.tell(entry.trial, state=TrialState.FAIL, skip_if_finished=True)
                for worker in self.workers:
                    worker.end()

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
        """Whether another trial is wanted beside those finished and running, here or elsewhere."""
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return not self.nothing_new and len(self.finished()) + len(running) < self.goal

    def others_run(self) -> bool:
        """Whether other processes are at work on the study, or were until lately."""
        return len(self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])) > len(self.running)

    def give_signs_of_life(self) -> None:
        """Let other processes know that the trials here are not abandoned."""
        for entry in self.running.values():
            if time() - entry.sign_of_life > GRACE / 5:
                entry.sign_of_life = time()
                with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                    entry.trial.set_user_attr("sign_of_life", entry.sign_of_life)

    def take_back_abandoned(self) -> None:
        """Have the trials of processes that are no more run again."""
        trials = self.study.get_trials(deepcopy=False)
        mine = {entry.trial.number for entry in self.running.values()}
        for trial in trials:
            if trial.state == TrialState.RUNNING and trial.number not in mine:
                seen = trial.user_attrs.get("sign_of_life") or trial.datetime_start.timestamp()
                if time() - seen > GRACE:
                    self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        again = {trial.user_attrs.get("again") for trial in trials}
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.FAIL]):
            counted = ended(trial) or "repeats" in trial.user_attrs or trial.number in again
            # a trial that was queued has its values before it asks for them
            values = trial.system_attrs.get("fixed_params") or trial.params
            if not counted and values:
                self.study.enqueue_trial(values, {"again": trial.number})

    def start(self, cache: Path | None, threads: int) -> None:
        """Give a new proposal, if there is one, to an idle process."""
        proposal = self.propose()
        self.nothing_new = proposal is None
        if proposal is None:
            return
        idle = [worker for worker in self.workers if worker.alive and worker not in self.running]
        if not idle:
            idle = [Worker(self.runs, cache, threads, test=False)]
            self.workers += idle
        self.running[idle[0]] = proposal
        idle[0].start(proposal.cell(self.space))

    def propose(self) -> Running | None:
        """A configuration that nobody has tried or is trying; ``None`` where none comes up."""
        for _ in range(MOST_REPEATS):
            trial = self.study.ask()
            values = self.space.suggest(trial)
            twin = self.twin(trial)
            if twin is None:
                return Running(trial, values)
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

    def listen(self, bar: tqdm) -> None:
        """Hear what processes have to say, for a second at most."""
        by_connection = {worker.connection: worker for worker in self.running}
        for connection in wait(list(by_connection), timeout=1):
            worker = by_connection[connection]
            entry = self.running[worker]
            kind, content = worker.listen()
            if kind == "epoch":
                # told of twice: trained, and validated
                entry.epochs += "valid_seconds" not in content
                worker.go_on(not self.is_weak(entry, content))
                continue
            entry.note(content)
            if "failed" not in content and "stopped" not in content and entry.seeds_left(self.space):
                worker.start(entry.cell(self.space))
                continue
            del self.running[worker]
            self.nothing_new = False
            bar.write(self.record(entry, content))
        bar.n = min(len(self.finished()), self.goal)
        bar.set_postfix_str(f"best {best_in_words(self.study)}")

    def is_weak(self, entry: Running, row: dict) -> bool:
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

    def record(self, entry: Running, result: dict) -> str:
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


class Running:
    """A trial in progress: one model seed after the other."""

    def __init__(self, trial: Trial, values: dict):
        self.trial, self.values = trial, values
        self.scores: list[float] = []
        self.seconds, self.startup_seconds, self.epochs = 0.0, 0.0, 0
        self.sign_of_life = 0.0

    def cell(self, space: Space) -> Cell:
        """The run of the next model seed."""
        return space.cell(self.values, f"trial-{self.trial.number:04}", space.model_seeds[len(self.scores)])

    def note(self, result: dict) -> None:
        """What a run found; of its metrics only the validation score."""
        self.seconds += result["seconds"]
        self.startup_seconds += result.get("prepare_seconds", 0.0) + result.get("build_seconds", 0.0)
        if "valid_score" in result:
            score = result["valid_score"]
            self.scores.append(math.nan if score is None else score)

    def seeds_left(self, space: Space) -> bool:
        return len(self.scores) < len(space.model_seeds)


def no_score(scores: list[float]) -> str | None:
    """Why a trial cannot be judged by its scores; ``None`` if it can."""
    odd = [score for score in scores if not math.isfinite(score)]
    return f"the validation score is {odd[0]}" if odd else None


def still_running(study: optuna.Study) -> bool:
    """Whether any process is at work on the study."""
    return bool(study.get_trials(deepcopy=False, states=[TrialState.RUNNING]))


def ended(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end by itself and counts: not interrupted, no repetition."""
    if trial.state == TrialState.FAIL:
        return "failed" in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "repeats" not in trial.user_attrs


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
        storage: see :func:`open_study`.
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
