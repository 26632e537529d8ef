"""Data-parallel training: each rank computes the loss of its shard of a batch."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING

from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import ShardedBatches, gather_from_ranks
from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender
from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.interaction import Interaction

Loss = Callable[..., Tensor]


def check_phases(model: AutoEncoderRecommender, config: Config) -> None:
    """Refuse alternating updates on several ranks.

    Raises:
        ValueError: names the key.
    """
    if len(model.phases) > 1 and not config["single_spec"]:
        refuse("alternating_updates", config["alternating_updates"], "~ with several processes")


def loss_of_shards(loss: Loss, model: AutoEncoderRecommender, shards: ShardedBatches) -> Loss:
    """The loss function of this rank's shards in one epoch, weighted so that its mean over ranks is the loss
    of the whole batch."""
    steps = shards.weights()

    def loss_of_shard(interaction: Interaction) -> Tensor:
        model.joint_users, weight = next(steps)
        model.has_users = weight > 0
        return loss(interaction) * weight

    return loss_of_shard


def gather_codes(batches: list[Coded]) -> list[Coded]:
    """The batches of codes of all ranks, step by step, on this rank's device. All ranks must call it."""
    device = batches[0].mean.device if batches else torch.device("cpu")
    ...


def joint_loss(own: float) -> float:
    """The mean over ranks of their accumulated losses. All ranks must call it."""
    return mean(gather_from_ranks(own))
