"""Data-parallel training: each rank computes the loss of its shard of a batch."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import TYPE_CHECKING

from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import ShardedBatches, gather_from_ranks
from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender
from recbole_vae_plugin.nn.closed_form import EncodedBatch
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


def gather_batches(own: list[list[EncodedBatch]]) -> list[list[EncodedBatch]]:
    """The batches of all ranks, step by step, for a decoder in closed form. All ranks must call it."""
    of_ranks = gather_from_ranks([[batch.to("cpu") for batch in step] for step in own])
    return [[batch for step in steps for batch in step] for steps in zip(*of_ranks)]


def joint_loss(own: float) -> float:
    """The mean over ranks of their accumulated losses. All ranks must call it."""
    return mean(gather_from_ranks(own))
