"""From the last hidden layer to the posterior q(z|x): the `head` axis.

A head is built as ``Head(in_features, latent_dimension, activation, layer)`` and maps
hidden states to a :class:`Posterior`. ``layer`` is the class of its linear layers: if the
encoder has no hidden layers, the head itself reads the histories.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import SupportsMatmul
from recbole_vae_plugin.nn.kl import at_least_float32
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.settings.registry import Registry

#: Class name, as stored in a bundle, -> class. A model names its head.
HEADS: Registry[type[nn.Module]] = Registry("head", key="head")
register_head = HEADS.register


class Posterior(NamedTuple):
    """The approximate posteriors q(z|x) of a batch of histories; each tensor is ``[B, latent_dimension]``.

    Attributes:
        mu: the mean, or z itself if the head is deterministic.
        logvar: the logarithm of the variance; ``None`` if the head is deterministic.
    """

    mu: Tensor
    logvar: Tensor | None

    def moments(self) -> tuple[Tensor, Tensor]:
        """``mu`` and ``logvar`` in at least float32.

        Raises:
            ValueError: the head is deterministic.
        """
        if self.logvar is None:
            raise ValueError("a deterministic head has no variance")
        return at_least_float32(self.mu), at_least_float32(self.logvar)

    def sample(self) -> Tensor:
        """z = mu + sigma * eps with eps ~ N(0, 1) (Kingma & Welling 2014, eq. 10); mu if deterministic."""
        if self.logvar is None:
            return self.mu
        mu, logvar = self.moments()
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)


def __getattr__(name: str) -> Any:
    if name != "Code":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("Code has been renamed to Posterior", FutureWarning, stacklevel=2)
    return Posterior


@register_head()
class SplitHead(nn.Module):
    """One linear layer of size 2d, split in half: first mu, then logvar."""

    def __init__(
        self, in_features: int, latent_dimension: int, activation: str, layer: type[nn.Module] = nn.Linear
    ) -> None:
        super().__init__()
        self.both = layer(in_features, 2 * latent_dimension)

    def forward(self, hidden: SupportsMatmul) -> Posterior:
        return Posterior(*self.both(hidden).chunk(2, dim=-1))


@register_head()
class TwinHead(nn.Module):
    """Two linear layers of size d, one for mu and one for logvar."""

    def __init__(
        self, in_features: int, latent_dimension: int, activation: str, layer: type[nn.Module] = nn.Linear
    ) -> None:
        super().__init__()
        self.mu = layer(in_features, latent_dimension)
        self.logvar = layer(in_features, latent_dimension)

    def forward(self, hidden: SupportsMatmul) -> Posterior:
        return Posterior(self.mu(hidden), self.logvar(hidden))


@register_head()
class DeterministicHead(nn.Module):
    """One activated linear layer of size d: no sampling, no KL term (Mult-DAE, Liang et al. 2018)."""

    def __init__(
        self, in_features: int, latent_dimension: int, activation: str, layer: type[nn.Module] = nn.Linear
    ) -> None:
        super().__init__()
        # the names of its weights in checkpoints and bundles begin with this one
        self.code = layer(in_features, latent_dimension)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, hidden: SupportsMatmul) -> Posterior:
        return Posterior(self.activation(self.code(hidden)), None)
