"""The state of random generators: a run that goes on draws what it would have drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import from_every_rank, place

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader


class RandomState(TypedDict):
    """Of one rank; ``train_data`` is the generator that shuffles the batches, alike on all ranks."""

    torch: Tensor
    numpy: tuple[Any, ...]
    cuda: list[Tensor]
    train_data: Tensor | None


def random_states(config: Config, train_data: AbstractDataLoader) -> list[RandomState]:
    """The state on each rank. All ranks must call it.

    Args:
        train_data: the training loader; ``None`` before there is one.
    """
    generator = getattr(train_data, "generator", None)
    own: RandomState = {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "train_data": generator and generator.get_state(),
    }
    return [own] if config["single_spec"] else from_every_rank(own)


def restore_random_state(states: list[RandomState], config: Config, train_data: AbstractDataLoader) -> None:
    """Set this rank's generators as :func:`random_states` found them.

    The order of batches is set in any case; what each rank draws for itself, only where as many ranks
    go on as there were.
    """
    if states[0]["train_data"] is not None:
        train_data.generator.set_state(states[0]["train_data"])
    rank, ranks = place(config)
    if len(states) != ranks:
        return
    own = states[rank]
    torch.set_rng_state(own["torch"])
    np.random.set_state(own["numpy"])
    if len(own["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(own["cuda"])
