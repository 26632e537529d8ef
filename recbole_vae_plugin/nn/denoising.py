"""Input noise, added to a history before it is encoded: the `denoising` axis.

Each class maps :class:`~recbole_vae_plugin.nn.interactions.Rows` to rows, or to a dense
``[B, n_items]`` tensor if the noise is dense. Noise is only added during training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Number

#: Name -> class, constructed with its own settings.
DENOISING: Registry[type[nn.Module]] = Registry("noise", key="denoising")
register_denoising = DENOISING.register


@register_denoising("dropout")
class DropoutDenoising(nn.Module):
    """L2-normalise, then drop each entry with probability ``dropout_prob`` and scale up the rest.

    This is the order of Liang et al. (WWW 2018). Dropout of the sparse row equals dropout of the
    dense one, as zeros stay zero. Dropped entries cost the next layer nothing.
    """

    @dataclass(frozen=True)
    class Settings:
        """The keys of this noise."""

        dropout_prob: float = setting(
            0.5,
            Number(0, below=1),
            "With 'dropout': the probability of dropping an item of the L2-normalised history.",
        )

    def __init__(self, dropout_prob: float) -> None:
        super().__init__()
        self.dropout_prob = dropout_prob

    def forward(self, rows: Rows) -> Rows:
        rows = rows.l2_normalised()
        if not self.training or self.dropout_prob == 0:
            return rows
        return rows.with_values(F.dropout(rows.values, self.dropout_prob)).without_zeros()

    def extra_repr(self) -> str:
        return f"dropout_prob={self.dropout_prob}"


@register_denoising("gaussian")
class GaussianDenoising(nn.Module):
    """Add normal noise of deviation ``noise_std`` to every item of the catalogue, then L2-normalise.

    The noise is dense: during training a batch costs B x n_items random numbers and a dense
    first layer. Scoring adds no noise and stays sparse.
    """

    @dataclass(frozen=True)
    class Settings:
        """The keys of this noise."""

        noise_std: float = setting(
            0.1,
            Number(0),
            "With 'gaussian': the standard deviation of the noise added before the L2-normalisation.",
        )

    def __init__(self, noise_std: float) -> None:
        super().__init__()
        self.noise_std = noise_std

    def forward(self, rows: Rows) -> Rows | Tensor:
        if not self.training or self.noise_std == 0:
            return rows.l2_normalised()
        dense = rows.to_dense()
        return F.normalize(dense.add_(torch.randn_like(dense), alpha=self.noise_std))

    def extra_repr(self) -> str:
        return f"noise_std={self.noise_std}"


@register_denoising("none")
class NoDenoising(nn.Module):
    """L2-normalise the history, without noise."""

    def forward(self, rows: Rows) -> Rows:
        return rows.l2_normalised()
