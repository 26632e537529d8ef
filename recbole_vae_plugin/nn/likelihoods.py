"""Reconstruction likelihoods over all items: the `loss_type` axis.

With scores s and a history x of zeros and ones, each likelihood here is an exponential
family: -log p(x | s) = A(s) - <x, s>, with the gradient E[x] - x in s. Only the
log-partition A and its derivative, the mean E[x], differ. The inner product and the
subtraction touch the entries that x has: no dense target is ever made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_vae_plugin.nn.interactions import Rows

#: Scores held at once: a batch with more is worked off in parts (float32: 256 MiB).
SCORE_BUDGET = 2**26


class Likelihood(NamedTuple):
    """An exponential family with scores ``[B, n_items]`` as natural parameters.

    Attributes:
        log_partition: (scores, counts ``[B]``) -> A ``[B]``, in nats.
        mean: (scores, counts, A) -> E[x] ``[B, n_items]``; may overwrite ``scores``.
    """

    log_partition: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor, Tensor, Tensor], Tensor]


#: N(s, 1) without its constant, so that -log p = 1/2 sum_i (x_i - s_i)^2.
gaussian = Likelihood(
    log_partition=lambda scores, counts: 0.5 * (torch.linalg.vecdot(scores, scores) + counts),
    mean=lambda scores, counts, A: scores,
)

#: Independent Bernoulli variables with logits s (Liang et al. 2018).
bernoulli = Likelihood(
    log_partition=lambda scores, counts: F.softplus(scores).sum(-1),
    mean=lambda scores, counts, A: scores.sigmoid_(),
)


def _multinomial_mean(scores: Tensor, counts: Tensor, A: Tensor) -> Tensor:
    """counts x softmax(scores): the normaliser is known from A, so one pass does it."""
    normaliser = A / counts.clamp(min=1) - counts.to(A.dtype).log()
    return scores.sub_(normaliser[:, None]).exp_()


#: Multinomial with logits s, without its coefficient (Liang et al. 2018).
multinomial = Likelihood(
    log_partition=lambda scores, counts: counts * scores.logsumexp(-1),
    mean=_multinomial_mean,
)

LIKELIHOODS = {"MSE": gaussian, "BCE": bernoulli, "CE": multinomial}


def reconstruction_loss(
    hidden: Tensor, weight: Tensor, bias: Tensor, rows: Rows, loss_type: str, budget: int = SCORE_BUDGET
) -> Tensor:
    """-log p(x | s) with s = hidden @ weight.T + bias, over all items, a mean over users.

    Exact whatever the catalogue's size: a batch of more than ``budget`` scores is worked off
    a few users at a time. The scores are overwritten by their gradient in the forward pass,
    so that one array of them is the peak. Under autocast the matrix products run in the
    autocast dtype and the rest in float32.

    Args:
        hidden: ``[B, d]``.
        weight: ``[n_items, d]``.
        bias: ``[n_items]``.
        rows: the B histories; their values are not read, every entry counts as 1.
        loss_type: a name in :data:`LIKELIHOODS`.
        budget: scores held at once; at least one user's are.

    Returns:
        A scalar in nats. It can be differentiated once.
    """
    return _Reconstruction.apply(hidden, weight, bias, rows, LIKELIHOODS[loss_type], budget)


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, rows, likelihood, budget):
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        wanted = ctx.needs_input_grad[:3]
        ctx.gradients = tuple(
            torch.zeros_like(tensor) if want else None for tensor, want in zip((hidden, weight, bias), wanted)
        )
        users = len(rows)
        part = max(1, budget // rows.n_items)
        total = torch.zeros((), dtype=bias.dtype, device=hidden.device)
        with torch.autocast(device, enabled=False):
            low_hidden, low_weight, low_bias = (tensor.to(dtype) for tensor in (hidden, weight, bias))
            for begin in range(0, users, part):
                some = rows.slice(begin, min(begin + part, users))
                inputs = low_hidden[begin : begin + part]
                scores = torch.addmm(low_bias, inputs, low_weight.T).to(bias.dtype)
                entries = some.row_index * some.n_items + some.items
                A = likelihood.log_partition(scores, some.counts)
                total += A.sum() - scores.view(-1)[entries].sum()
                if any(wanted):
                    error = likelihood.mean(scores, some.counts, A)
                    error.view(-1)[entries] -= 1
                    _add_gradients(ctx.gradients, error, inputs, low_weight, begin)
        for gradient in filter(torch.is_tensor, ctx.gradients):
            gradient /= users
        return total / users

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        if ctx.gradients is None:
            raise RuntimeError("the reconstruction loss can be differentiated only once")
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (None if gradient is None else gradient.mul_(upstream) for gradient in gradients)
        return *scaled, None, None, None


def _add_gradients(gradients, error, inputs, weight, begin) -> None:
    """Back through s = hidden @ weight.T + bias, from d loss / d s of the users from ``begin``."""
    of_hidden, of_weight, of_bias = gradients
    if of_bias is not None:
        of_bias += error.sum(0)
    error = error.to(inputs.dtype)
    if of_hidden is not None:
        of_hidden[begin : begin + len(error)] = error @ weight
    if of_weight is not None:
        if error.dtype == of_weight.dtype:
            of_weight.addmm_(error.T, inputs)
        else:
            of_weight += error.T @ inputs
