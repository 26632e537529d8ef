"""The weight of the linear branch: given, or the best at each validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from recbole_vae_plugin.integration.training.line_search import line_search
from recbole_vae_plugin.models.base import AutoEncoderRecommender
from recbole_vae_plugin.nn.finite import check_quality
from recbole_vae_plugin.nn.linear import LinearBranch

#: RecBole's validation of a model as it is: the score, and each metric.
Validate = Callable[[], tuple[float, dict[str, float]]]


class WeightedValidation(NamedTuple):
    """A validation with the weight that the linear branch then keeps.

    Attributes:
        weight: of the linear branch.
        score, result: as RecBole's validation returns them.
        deep_quality: of the deep model alone; larger is better.
    """

    weight: float
    score: float
    result: dict[str, float]
    deep_quality: float


def validate_with_linear_branch(
    linear: LinearBranch, choose: bool, validate: Validate, bigger: bool
) -> WeightedValidation:
    """Validate the deep model alone, and together with its linear branch.

    Args:
        linear: the branch; it is left with the weight of the result.
        choose: search for the weight with the best score, beginning with the present one; else
            the present one stays.
        validate: called for each weight that is tried.
        bigger: whether larger scores are better.
    """
    found = {}
    # each weight is judged by the same negatives where evaluation samples them
    random_state = np.random.get_state()

    def quality(weight: float) -> float:
        np.random.set_state(random_state)
        linear.weight.fill_(weight)
        found[weight] = score, _ = validate()
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
    return WeightedValidation(weight, *found[weight], deep_quality)


def set_given_weight(model: AutoEncoderRecommender) -> None:
    """Give the linear branch, if there is one, the weight of the config, whatever a checkpoint held."""
    linear, settings = model.network.linear, model.linear_settings
    if linear is not None and settings.weight is not None:
        linear.weight.fill_(settings.weight)
