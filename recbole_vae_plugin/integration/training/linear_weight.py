"""The weight of the linear branch: given, or optimised at each validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender
from recbole_vae_plugin.integration.training.line_search import line_search
from recbole_vae_plugin.nn.finite import check_quality
from recbole_vae_plugin.nn.linear import LinearBranch

#: RecBole's validation of the current model: returns the score, and all metrics.
Validate = Callable[[], tuple[float, dict[str, float]]]


class WeightedValidation(NamedTuple):
    """A validation, and the weight of the linear branch with which it was made.

    Attributes:
        weight: the weight of the linear branch.
        score: the value of `valid_metric`.
        result: all metrics.
        deep_quality: the quality of the deep model alone; larger is better.
    """

    weight: float
    score: float
    result: dict[str, float]
    deep_quality: float


def validate_with_linear_branch(
    linear: LinearBranch, choose: bool, validate: Validate, bigger: bool
) -> WeightedValidation:
    """Validate the deep model alone, and with its linear branch.

    Args:
        linear: the linear branch; its weight is set to that of the result.
        choose: search for the weight with the best score, starting from the current one; otherwise keep
            the current one.
        validate: called for each weight that is tried.
        bigger: whether larger scores are better.
    """
    validations: dict[float, tuple[float, dict[str, float]]] = {}
    # if evaluation samples negatives, all weights are compared on the same ones
    random_state = np.random.get_state()

    def quality(weight: float) -> float:
        np.random.set_state(random_state)
        linear.weight.fill_(weight)
        validations[weight] = score, _ = validate()
        check_quality(score, f"linear_weight {weight:.3g}")
        return score if bigger else -score

    with linear.caching_products():
        weight = linear.weight.item()
        deep_quality = quality(0.0)
        if choose:
            weight = line_search(quality, weight)
        else:
            quality(weight)
    linear.weight.fill_(weight)
    score, result = validations[weight]
    return WeightedValidation(weight, score, result, deep_quality)


def set_given_weight(model: AutoEncoderRecommender) -> None:
    """Set the weight of the linear branch, if any, to that of the config, whatever a checkpoint contained."""
    linear, settings = model.network.linear, model.linear_settings
    if linear is not None and settings.weight is not None:
        linear.weight.fill_(settings.weight)
