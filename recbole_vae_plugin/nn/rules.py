"""Settings that are computed from the training data where a config leaves them open.

What the best value of these keys depends on is known before training: the number of users, the size of
the catalogue, how often an item is chosen, and what a likelihood's loss is made of. Each rule is a function
of :class:`TrainingData` and of the checked values of all keys, where those before it in :data:`RULES` are
already set. What the rules are worth is measured in ``docs/defaults.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS, Likelihood
from recbole_vae_plugin.nn.linear import AUTO, NO_BRANCH
from recbole_vae_plugin.settings.declaration import Config


@dataclass(frozen=True)
class TrainingData:
    """What the rules know of the training part.

    Attributes:
        users: the number of users with a history.
        popularity: the number of users of each item, float64 ``[n_items]``, RecBole's padding included.
    """

    users: int
    popularity: Tensor

    @property
    def item_users(self) -> float:
        """The mean number of users of an item, over interactions: what a typical entry of a history has."""
        return (self.popularity.square().sum() / self.popularity.sum().clamp(min=1)).item()

    @property
    def history_length(self) -> float:
        """The mean number of items in a history."""
        return self.popularity.sum().item() / max(self.users, 1)


#: With more items the dense matrix of EASE would take more than 1.6 GB, in every checkpoint and bundle too.
MAX_DENSE_ITEMS = 20_000


def linear_branch(data: TrainingData, config: Config) -> str:
    """EASE as long as its matrix is affordable, then its sparse form."""
    return "ease" if len(data.popularity) <= MAX_DENSE_ITEMS + 1 else "sparse_ease"


#: lambda relative to the number of users of an item.
RIDGE_SHARE = 0.5


def linear_reg_weight(data: TrainingData, config: Config) -> float | None:
    """The L2 regularisation of the linear branch: a share of the diagonal of the Gram matrix it is added to,
    as it is in the mean over interactions; ``None`` without a linear branch."""
    return None if config["linear_branch"] == NO_BRANCH else RIDGE_SHARE * data.item_users


#: The number of batches that an epoch is divided into, within limits of their size: small data need steps,
#: large data large matrix products.
BATCHES_PER_EPOCH, MIN_BATCH, MAX_BATCH = 25, 250, 500


def batch_size(data: TrainingData, config: Config) -> int:
    """The number of users in a training batch."""
    return min(max(math.ceil(data.users / BATCHES_PER_EPOCH), MIN_BATCH), MAX_BATCH)


def steps_per_epoch(data: TrainingData, config: Config) -> int:
    """The number of optimiser steps in an epoch."""
    passes = 1
    if "alternating_updates" in config:  # a key of variational models alone
        passes = sum(config["alternating_updates"] or (1,))
    return max(1, math.ceil(data.users / config["train_batch_size"])) * passes


#: The optimiser steps between two validations, those without improvement that are tolerated, and the most in
#: all: how long training takes is a matter of steps, whatever the number of users in an epoch.
VALIDATION_STEPS, PATIENCE_STEPS, MAX_STEPS = 50, 400, 6000


def eval_step(data: TrainingData, config: Config) -> int:
    """The number of epochs between two validations.

    If the number of epochs is given, it is one after which at most a tenth of them is left, if there is one:
    RecBole does not validate after the last epoch, and what was trained after the last validation is lost.
    """
    interval = max(1, round(VALIDATION_STEPS / steps_per_epoch(data, config)))
    epochs = config["epochs"]
    if is_open(epochs) or epochs <= 0:
        return interval
    candidates = range(max(1, min(interval, epochs) // 4), min(interval, epochs) + 1)
    return min(candidates, key=lambda each: (max(0, epochs % each - epochs // 10), -each))


def stopping_step(data: TrainingData, config: Config) -> int:
    """The number of validations without improvement that are tolerated."""
    interval = max(1, config["eval_step"]) * steps_per_epoch(data, config)
    return max(2, round(PATIENCE_STEPS / interval))


def epochs(data: TrainingData, config: Config) -> int:
    """The most epochs: whole intervals between validations, so that the last epoch is validated."""
    interval = max(1, config["eval_step"])
    return interval * math.ceil(MAX_STEPS / (steps_per_epoch(data, config) * interval))


#: The weight of the KL term relative to the loss of the null model. Its share is smaller for squared error,
#: little of which any model explains: most items that a user might like are not in the history.
KL_SHARE, KL_SHARES = 7e-4, {"MSE": 1.6e-4}


def anneal_cap(data: TrainingData, config: Config) -> float:
    """The weight of the KL term, relative to the loss that there is to reduce.

    That loss differs by orders of magnitude between likelihoods, and it grows with the histories: what is a
    light KL term for squared error on long histories stops the model from learning anything on short ones.
    It is measured by the loss of the null model (:func:`null_loss`), for an item of a history if
    `kl_weighting` multiplies by its length, and otherwise for a whole history.
    """
    likelihood = LIKELIHOODS.build(config["loss_type"], config)
    loss = null_loss(likelihood, data)
    if config["kl_weighting"] == "profile_length":
        loss /= data.history_length
    return KL_SHARES.get(config["loss_type"], KL_SHARE) * loss


def null_loss(likelihood: Likelihood, data: TrainingData) -> float:
    """The loss in nats, averaged over users, of the best scores that are the same for all users.

    For the multinomial these are the logarithms of the items' shares of the interactions, and the loss is
    the entropy of the shares times the mean length of a history. They are found numerically, for any
    likelihood: the loss is convex in the scores.

    Args:
        likelihood: see :data:`~recbole_vae_plugin.nn.likelihoods.Likelihood`.
        data: the training data, with at least one interaction.
    """
    mean_history = data.popularity / data.users
    length = mean_history.sum()[None]
    scores = torch.zeros_like(mean_history, requires_grad=True)
    optimizer = torch.optim.LBFGS([scores], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        A, expected = likelihood(scores.detach().clone()[None], length)
        scores.grad = expected[0] - mean_history
        return A[0] - mean_history @ scores.detach()

    with torch.no_grad():
        optimizer.step(closure)
        return closure().item()


#: Key -> how it is computed if a config leaves it open, in the order in which they are computed.
RULES: dict[str, Callable[[TrainingData, Any], Any]] = {
    "linear_branch": linear_branch,
    "linear_reg_weight": linear_reg_weight,
    "train_batch_size": batch_size,
    "eval_step": eval_step,
    "stopping_step": stopping_step,
    "epochs": epochs,
    "anneal_cap": anneal_cap,
}


def is_open(value: Any) -> bool:
    """Whether a key with this value is to be computed by its rule."""
    return value is None or value == AUTO
