"""Noise on a history before it is encoded: the `denoising` axis.

Each class maps :class:`~recbole_vae_plugin.nn.interactions.Rows` to rows, or to a dense
``[B, n_items]`` tensor where its noise leaves no zeros. Noise is added while training only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.settings.keys import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Number

#: Name -> class, built with its own settings.
DENOISING: Registry[type[nn.Module]] = Registry("noise", key="denoising")
register_denoising = DENOISING.register


@register_denoising("dropout")
class DropoutDenoising(nn.Module):
    """L2-normalise, then drop each entry with ``dropout_prob`` and scale the rest up.

    The order of Liang et al. (WWW 2018). Dropping entries of the sparse row is dropout of
    the dense one: a zero stays zero either way. What is dropped costs the next layer nothing.
    """

    @dataclass(frozen=True)
    class Settings:
        dropout_prob: float = setting(
            0.5,
            Number(0, below=1),
            "With 'dropout': the probability that an item of the L2-normalised history is dropped.",
        )

    def __init__(self, dropout_prob: float):
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
    """Add N(0, ``noise_std``^2) to every item of the catalogue, then L2-normalise.

    The noise is dense by nature: while training, a batch costs B x n_items random numbers
    and a dense first layer. Scoring adds none and stays sparse.
    """

    @dataclass(frozen=True)
    class Settings:
        noise_std: float = setting(
            0.1,
            Number(0),
            "With 'gaussian': the standard deviation of the noise that is added before the L2-normalisation.",
        )

    def __init__(self, noise_std: float):
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
    """L2-normalise the history, add no noise."""

    def forward(self, rows: Rows) -> Rows:
        return rows.l2_normalised()
