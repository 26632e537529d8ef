"""Small histories for tests of linear branches."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Interactions

USERS, ITEMS = 60, 17
#: lambda, probability of dropout, power of the users' weights
PENALTIES = [(5, 0, 0), (2, 0.5, 0), (1, 0.33, 0.5)]


def uneven_histories() -> Tensor:
    """Long and short histories; user 0 has none, and nobody has item 0. Float64 ``[USERS, ITEMS]``."""
    generator = torch.Generator().manual_seed(3)
    chosen = torch.rand(USERS, ITEMS, generator=generator) < torch.linspace(0.1, 0.7, USERS)[:, None]
    chosen[0], chosen[:, 0] = False, False
    return chosen.double()


def interactions_of(dense: Tensor) -> Interactions:
    """The entries of a dense matrix."""
    return Interactions(*dense.nonzero().T, *dense.shape)


def square_roots_of_weights(dense: Tensor, user_power: float) -> Tensor:
    """By the histories' lengths to the power ``-user_power``, with a mean weight of 1: ``[USERS, 1]``."""
    counts = dense.sum(1)
    weights = torch.where(counts > 0, counts.clamp(min=1) ** -user_power, 0)
    return (weights / weights[counts > 0].mean()).sqrt()[:, None]
