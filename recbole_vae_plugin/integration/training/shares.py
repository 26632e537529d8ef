"""Training with the ranks of a data-parallel run, each of which works on its share of a batch."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING

from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import SharedBatches, from_every_rank
from recbole_vae_plugin.models.base import AutoEncoderRecommender
from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.interaction import Interaction

Loss = Callable[..., Tensor]


def check_phases(model: AutoEncoderRecommender, config: Config) -> None:
    """Refuse to train parts of the network in turn on several ranks.

    Raises:
        ValueError: names the key.
    """
    if len(model.phases) > 1 and not config["single_spec"]:
        refuse("alternating_updates", config["alternating_updates"], "~ where several processes train")


def loss_of_shares(loss: Loss, model: AutoEncoderRecommender, shares: SharedBatches) -> Loss:
    """For one epoch, the loss of each of this rank's shares, so weighted that the mean of all ranks is
    the loss of the joint batch."""
    steps = shares.weights()

    def loss_of_share(interaction: Interaction) -> Tensor:
        model.joint_users, weight = next(steps)
        return loss(interaction) * weight

    return loss_of_share


def joint_loss(own: float) -> float:
    """The loss of all ranks together, from the one that each has added up. All ranks must call it."""
    return mean(from_every_rank(own))
