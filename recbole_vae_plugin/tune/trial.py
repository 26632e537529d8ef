"""A trial: its runs while it is in progress, and whether it counts afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable

from optuna.trial import FrozenTrial, Trial, TrialState

from recbole_vae_plugin.runs.files import Result
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.tune.space import Space

#: What the trial of the defaults has recorded: the values of all parameters, and the names of those whose
#: value is not in the space.
DEFAULTS, OUTSIDE = "defaults", "outside"


class TrialInProgress:
    """A trial of this process: one run after the other, with one model seed each."""

    def __init__(self, trial: Trial, values: dict) -> None:
        self.trial, self.values = trial, values
        self.label = f"trial-{trial.number:04}"
        self.scores: list[float] = []
        self.seconds, self.startup_seconds, self.epochs = 0.0, 0.0, 0

    def next_run(self, space: Space) -> Run:
        """The run of the next model seed."""
        return space.run(self.values, self.label, space.model_seeds[len(self.scores)])

    def add_result(self, result: Result) -> None:
        """Add the score and the seconds of a run."""
        self.seconds += result["seconds"]
        self.startup_seconds += result.get("prepare_seconds", 0.0) + result.get("build_seconds", 0.0)
        if "valid_score" in result:
            score = result["valid_score"]
            self.scores.append(math.nan if score is None else score)

    def has_seeds_left(self, space: Space) -> bool:
        """Whether there are further model seeds to run."""
        return len(self.scores) < len(space.model_seeds)


def invalid_score(scores: list[float]) -> str | None:
    """A message if a score is NaN or infinite; ``None`` if all are finite."""
    invalid = [score for score in scores if not math.isfinite(score)]
    return f"the validation score is {invalid[0]}" if invalid else None


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial counts: it has ended, was not interrupted, and does not repeat another one."""
    if trial.state == TrialState.FAIL:
        return "failed" in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "repeats" not in trial.user_attrs


def seconds_of(trials: Iterable[FrozenTrial]) -> float:
    """The seconds that the runs of trials took in all."""
    return sum(trial.user_attrs.get("seconds", 0.0) for trial in trials)


def best_of(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest score; ``None`` without one."""
    scored = [(trial.value, -trial.number, trial) for trial in trials if trial.value is not None]
    return max(scored)[2] if scored else None
