"""How the last hidden layer becomes a code: the `head` axis.

A head is built as ``Head(in_features, latent_dimension, activation, layer)`` and maps
hidden states to a :class:`Code`. ``layer`` is the class of its linear layers: where an
encoder has no hidden layer, the head itself reads the item rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.kl import at_least_float32
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.settings.registry import Registry

#: Class name, as a bundle states it, -> class. A model names its head.
HEADS: Registry[type[nn.Module]] = Registry("head", key="head")
register_head = HEADS.register


class Code(NamedTuple):
    """A batch of codes, each tensor ``[B, latent_dimension]``.

    Attributes:
        mu: the mean of q(z|x), or the code itself where the head is deterministic.
        logvar: the log of its variance; ``None`` where the head is deterministic.
    """

    mu: Tensor
    logvar: Tensor | None

    def sample(self) -> Tensor:
        """z = mu + sigma * eps with eps ~ N(0, 1) (Kingma & Welling 2014, eq. 10)."""
        if self.logvar is None:
            return self.mu
        mu, logvar = at_least_float32(self.mu), at_least_float32(self.logvar)
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)


@register_head()
class SplitHead(nn.Module):
    """One linear layer of size 2d, cut in half: mu first, then logvar."""

    def __init__(self, in_features: int, latent_dimension: int, activation: str, layer=nn.Linear):
        super().__init__()
        self.both = layer(in_features, 2 * latent_dimension)

    def forward(self, hidden) -> Code:
        return Code(*self.both(hidden).chunk(2, dim=-1))


@register_head()
class TwinHead(nn.Module):
    """Two linear layers of size d, one for mu and one for logvar."""

    def __init__(self, in_features: int, latent_dimension: int, activation: str, layer=nn.Linear):
        super().__init__()
        self.mu = layer(in_features, latent_dimension)
        self.logvar = layer(in_features, latent_dimension)

    def forward(self, hidden) -> Code:
        return Code(self.mu(hidden), self.logvar(hidden))


@register_head()
class DeterministicHead(nn.Module):
    """One activated linear layer of size d: no sampling, no KL (Mult-DAE, Liang et al. 2018)."""

    def __init__(self, in_features: int, latent_dimension: int, activation: str, layer=nn.Linear):
        super().__init__()
        self.code = layer(in_features, latent_dimension)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, hidden) -> Code:
        return Code(self.activation(self.code(hidden)), None)
