"""The multinomial likelihood where a catalogue is too large to be scored whole in each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.kl import at_least_float32


def sampled_multinomial_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Rows, samples: int
) -> Tensor:
    """-log p(x | s) of a multinomial whose normaliser is estimated, a mean over users.

    The items that a user has enter the normaliser as they are, all others through a uniform
    sample that the batch shares, weighted by how many items each sampled one stands for: an
    unbiased estimate of the normaliser (importance sampling, Bengio & Senecal 2008; Jean et
    al. 2015). Its logarithm, and so the loss, is a little too small on average.

    Args:
        hidden: ``[B, d]``.
        weight: ``[n_items, d]``, the output layer's.
        bias: ``[n_items]``.
        rows: the B histories; their values are not read, every entry counts as 1.
        samples: draws from the catalogue; a repeated item counts once.

    Returns:
        A scalar in nats.
    """
    n_items = rows.n_items
    sample = torch.randint(n_items, (samples,), device=hidden.device).unique()
    place = rows.items.new_full((n_items,), -1)
    place[sample] = torch.arange(len(sample), device=hidden.device)
    had = place[rows.items]
    had_row, had_place = rows.row_index[had >= 0], had[had >= 0]
    others = at_least_float32(F.linear(hidden, F.embedding(sample, weight), bias[sample]))
    others = others.index_put((had_row, had_place), others.new_tensor(-torch.inf))
    left = (len(sample) - had_row.bincount(minlength=len(rows))).clamp(min=1)
    stands_for = (n_items - rows.counts).to(others.dtype) / left

    taken = (hidden[rows.row_index] * F.embedding(rows.items, weight)).sum(-1) + bias[rows.items]
    taken = at_least_float32(taken)
    highest = others.detach().amax(-1)
    highest = highest.scatter_reduce(0, rows.row_index, taken.detach(), "amax")
    normaliser = stands_for * (others - highest[:, None]).exp().sum(-1)
    normaliser = normaliser + rows.sum((taken - highest[rows.row_index]).exp())
    return (rows.counts * (normaliser.log() + highest) - rows.sum(taken)).mean()
