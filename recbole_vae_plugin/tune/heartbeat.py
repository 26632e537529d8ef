"""Trials whose process is no more are run again: Optuna's heartbeat and retry, in a loop of our own.

Optuna records heartbeats in ``study.optimize`` alone. That loop is not ours, because it begins a trial
whatever the others have tried and however many run, so the heartbeats are recorded here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from time import monotonic

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from recbole_vae_plugin.tune.trial import ended

#: Seconds without a heartbeat after which a trial counts as abandoned.
GRACE = 20
INTERVAL = 4
# renamed in Optuna 4.9
Retry = getattr(optuna.storages, "RetryHeartbeatStaleTrialCallback", None) or (
    optuna.storages.RetryFailedTrialCallback
)


def storage_with_heartbeat(url: str) -> RDBStorage:
    """A database that tells how long ago a trial's heartbeat was, by its own clock and no machine's.

    The clock of SQLite is that of its machine, which the processes that share the file share as well.
    """
    return RDBStorage(url, heartbeat_interval=INTERVAL, grace_period=GRACE)


class Heartbeat:
    """Of the trials that this process holds; it watches those of others.

    Args:
        study: in a :func:`storage_with_heartbeat`.
    """

    def __init__(self, study: optuna.Study):
        self._study, self._storage = study, study._storage
        self._next = -math.inf
        # since when trials have been seen running
        self._seen: dict[int, float] = {}

    def begin(self, trial: Trial | FrozenTrial) -> None:
        self._storage.record_heartbeat(trial._trial_id)

    def watch(self, held: Iterable[Trial]) -> bool:
        """Keep the trials of this process, and have abandoned and interrupted ones run again; to be called
        often.

        Returns:
            Whether there are trials to run again.
        """
        if monotonic() >= self._next:
            self._next = monotonic() + INTERVAL
            # these first: this process may have slept for long
            for trial in held:
                self.begin(trial)
            self._give_first_ones()
            optuna.storages.fail_stale_trials(self._study)
        return self._queue_again()

    def _give_first_ones(self) -> None:
        """Give a heartbeat to trials that run for long and may have none, for Optuna fails no others.

        Their process was killed before the first one, or was of a version without heartbeats.
        """
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            since = self._seen.setdefault(trial.number, monotonic())
            if monotonic() - since > GRACE:
                self._seen[trial.number] = math.inf
                self.begin(trial)

    def _queue_again(self) -> bool:
        """Queue the values of trials that did not end by themselves.

        Optuna's retry is not given to the storage, which would call it for abandoned trials alone and
        only once: were this process to end between a failure and its retry, the values would be lost.
        """
        trials = self._study.get_trials(deepcopy=False)
        again = {number for trial in trials for number in Retry.retry_history(trial)}
        # how versions without heartbeats noted it
        again |= {trial.user_attrs.get("again") for trial in trials}
        failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in again]
        left = [trial for trial in failed if not ended(trial) and "repeats" not in trial.user_attrs]
        for trial in left:
            # Optuna changes what it is given
            Retry()(self._study, copy.deepcopy(trial))
        return bool(left)
