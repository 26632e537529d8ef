"""Trials whose process has died are run again: Optuna's heartbeat and retry, outside ``study.optimize``.

Optuna records heartbeats only in ``study.optimize``, which is not used here: it starts trials without regard
to what other processes have tried and how many are running.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from time import monotonic
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from recbole_vae_plugin.tune.trial import is_finished

#: Seconds between heartbeats.
INTERVAL_SECONDS = 4
#: Seconds without a heartbeat after which a trial counts as abandoned.
GRACE_SECONDS = 20
# renamed in Optuna 4.9
Retry = getattr(optuna.storages, "RetryHeartbeatStaleTrialCallback", None) or (
    optuna.storages.RetryFailedTrialCallback
)


def storage_with_heartbeat(url: str) -> RDBStorage:
    """A database that measures the age of heartbeats by its own clock, not by those of the processes.

    SQLite uses the clock of the machine, which all processes that share the file have in common.
    """
    return RDBStorage(url, heartbeat_interval=INTERVAL_SECONDS, grace_period=GRACE_SECONDS)


class Heartbeat:
    """Heartbeats of the trials of this process, and supervision of those of others.

    Args:
        study: in a :func:`storage_with_heartbeat`.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        # Any: record_heartbeat is not a method of every storage
        self._storage: Any = study._storage
        self._next = -math.inf
        # trial number -> when it was first seen running
        self._seen: dict[int, float] = {}

    def beat(self, trial: Trial | FrozenTrial) -> None:
        """Record a heartbeat."""
        self._storage.record_heartbeat(trial._trial_id)

    def update(self, own: Iterable[Trial]) -> bool:
        """Record heartbeats of the own trials, and queue abandoned and interrupted ones again; to be called
        more often than every :data:`INTERVAL_SECONDS`.

        Returns:
            Whether trials have been queued again.
        """
        if monotonic() >= self._next:
            self._next = monotonic() + INTERVAL_SECONDS
            # before others are checked: this process may have been suspended
            for trial in own:
                self.beat(trial)
            self._add_missing_heartbeats()
            optuna.storages.fail_stale_trials(self._study)
        return self._requeue()

    def _add_missing_heartbeats(self) -> None:
        """Record a heartbeat for trials that have been running for long and may have none.

        Their process was killed before the first one, or was of a version without heartbeats. Optuna marks
        only trials with a heartbeat as failed.
        """
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            since = self._seen.setdefault(trial.number, monotonic())
            if monotonic() - since > GRACE_SECONDS:
                self._seen[trial.number] = math.inf
                self.beat(trial)

    def _requeue(self) -> bool:
        """Queue the values of trials that were abandoned or interrupted.

        Optuna's retry callback is not passed to the storage, which would call it only for abandoned trials
        and only once: if this process died between a failure and its retry, the values would be lost.
        """
        trials = self._study.get_trials(deepcopy=False)
        retried = {number for trial in trials for number in Retry.retry_history(trial)}
        # written by versions without heartbeats
        retried |= {trial.user_attrs.get("again") for trial in trials}
        failed = [trial for trial in trials if trial.state == TrialState.FAIL and trial.number not in retried]
        unfinished = [
            trial for trial in failed if not is_finished(trial) and "repeats" not in trial.user_attrs
        ]
        for trial in unfinished:
            # the callback modifies its argument
            Retry()(self._study, copy.deepcopy(trial))
        return bool(unfinished)
