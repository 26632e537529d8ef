"""Saving and restoring random states, so that a resumed run draws the numbers it would have drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import gather_from_ranks, rank_and_world_size

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader


class RandomState(TypedDict):
    """The state of one rank; ``train_data`` is the generator that shuffles batches, the same on all ranks."""

    torch: Tensor
    numpy: Any
    cuda: list[Tensor]
    train_data: Tensor | None


def random_states(config: Config, train_data: AbstractDataLoader | None) -> list[RandomState]:
    """The states of all ranks. All ranks must call it.

    Args:
        config: RecBole's ``Config``.
        train_data: the training loader, if there is one yet.
    """
    generator = getattr(train_data, "generator", None)
    own: RandomState = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "train_data": None if generator is None else generator.get_state(),
    }
    return [own] if config["single_spec"] else gather_from_ranks(own)


def restore_random_state(states: list[RandomState], config: Config, train_data: AbstractDataLoader) -> None:
    """Restore the generators of this rank to the states from :func:`random_states`.

    The generator of batches is always restored, the others only if the number of ranks is the same.
    """
    if states[0]["train_data"] is not None:
        train_data.generator.set_state(states[0]["train_data"])
    rank, world_size = rank_and_world_size(config)
    if len(states) != world_size:
        return
    own = states[rank]
    torch.set_rng_state(own["torch"])
    np.random.set_state(own["numpy"])
    if len(own["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(own["cuda"])
