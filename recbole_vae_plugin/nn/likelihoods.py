"""Reconstruction likelihoods over all items: the `loss_type` axis.

With scores s and a history x of zeros and ones, each likelihood here is an exponential
family: -log p(x | s) = A(s) - <x, s>, and only the log-partition A differs. The inner
product reads the entries that x has; no dense target is ever made.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Rows


def gaussian(scores: Tensor, counts: Tensor) -> Tensor:
    """N(s, 1) without its constant, so that -log p = 1/2 sum_i (x_i - s_i)^2."""
    return 0.5 * (scores.square().sum(-1) + counts)


def bernoulli(scores: Tensor, counts: Tensor) -> Tensor:
    """Independent Bernoulli with logits s (Liang et al. 2018, eq. 4)."""
    return F.softplus(scores).sum(-1)


def multinomial(scores: Tensor, counts: Tensor) -> Tensor:
    """Multinomial with logits s, without its coefficient (Liang et al. 2018, eq. 2)."""
    return counts * scores.logsumexp(-1)


LOG_PARTITIONS = {"MSE": gaussian, "BCE": bernoulli, "CE": multinomial}


def negative_log_likelihood(scores: Tensor, rows: Rows, loss_type: str) -> Tensor:
    """-log p(x | s), summed over all items of the catalogue.

    Args:
        scores: ``[B, n_items]``.
        rows: the B histories; their values are not read, every entry counts as 1.
        loss_type: a name in :data:`LOG_PARTITIONS`.

    Returns:
        ``[B]``, one number a user, in nats.
    """
    entries = rows.row_index * rows.n_items + rows.items
    taken = rows.sum(scores.flatten().index_select(0, entries))
    return LOG_PARTITIONS[loss_type](scores, rows.counts) - taken
