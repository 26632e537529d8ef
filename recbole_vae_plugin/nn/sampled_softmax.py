"""The multinomial likelihood for catalogues that are too large to score all items in each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.kl import at_least_float32


def sampled_multinomial_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Rows, samples: int
) -> Tensor:
    """-log p(x | s) of a multinomial with an estimated normaliser, averaged over users.

    The items in a user's history enter the normaliser exactly; all others through a uniform
    sample, shared by the batch, in which each item is weighted by the number of items that it
    represents. This estimate of the normaliser is unbiased (importance sampling, Bengio & Senecal
    2008; Jean et al. 2015); its logarithm, and hence the loss, is slightly too small on average.

    Args:
        hidden: ``[B, d]``.
        weight: ``[n_items, d]``, the output layer's.
        bias: ``[n_items]``.
        rows: the B histories; their values are ignored, every entry counts as 1.
        samples: the number of draws from the catalogue; a repeated item counts once.

    Returns:
        A scalar in nats.
    """
    n_items = rows.n_items
    sample = torch.randint(n_items, (samples,), device=hidden.device).unique()
    sample_index = rows.items.new_full((n_items,), -1)
    sample_index[sample] = torch.arange(len(sample), device=hidden.device)
    in_sample = sample_index[rows.items]
    seen_row, seen_index = rows.row_index[in_sample >= 0], in_sample[in_sample >= 0]
    others = at_least_float32(F.linear(hidden, F.embedding(sample, weight), bias[sample]))
    others = others.index_put((seen_row, seen_index), others.new_tensor(-torch.inf))
    n_unseen = (len(sample) - seen_row.bincount(minlength=len(rows))).clamp(min=1)
    importance = (n_items - rows.counts).to(others.dtype) / n_unseen

    own = (hidden[rows.row_index] * F.embedding(rows.items, weight)).sum(-1) + bias[rows.items]
    own = at_least_float32(own)
    highest = others.detach().amax(-1)
    highest = highest.scatter_reduce(0, rows.row_index, own.detach(), "amax")
    normaliser = importance * (others - highest[:, None]).exp().sum(-1)
    normaliser = normaliser + rows.sum((own - highest[rows.row_index]).exp())
    return (rows.counts * (normaliser.log() + highest) - rows.sum(own)).mean()
