"""A trial: what it takes while it is in progress, and whether it counts once it is over."""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial, Trial, TrialState

from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.tune.space import Space


class TrialInProgress:
    """One model seed after the other."""

    def __init__(self, trial: Trial, values: dict):
        self.trial, self.values = trial, values
        self.label = f"trial-{trial.number:04}"
        self.scores: list[float] = []
        self.seconds, self.startup_seconds, self.epochs = 0.0, 0.0, 0

    def next_run(self, space: Space) -> Run:
        """The run of the next model seed."""
        return space.run(self.values, self.label, space.model_seeds[len(self.scores)])

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


def ended(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end by itself and counts: not interrupted, no repetition."""
    if trial.state == TrialState.FAIL:
        return "failed" in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and "repeats" not in trial.user_attrs
