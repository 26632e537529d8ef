"""Reconstruction likelihoods over all items: the `loss_type` axis.

With scores s and a history x of zeros and ones, each likelihood here is an exponential
family: -log p(x | s) = A(s) - <x, s>, with the gradient E[x] - x in s. Only the
log-partition A and its derivative, the mean E[x], differ. The inner product and the
subtraction touch the entries that x has: no dense target is ever made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.settings.keys import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Integer

#: Scores held at once: a batch with more is processed in chunks (float32: 256 MiB).
SCORE_BUDGET = 2**26


#: An exponential family with scores ``[B, n_items]`` as natural parameters: a function of the
#: scores, which it overwrites, and of the entries in each row ``[B]``, that returns the
#: log-partition A ``[B]`` in nats and the mean E[x] ``[B, n_items]``.
Likelihood = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: Name -> likelihood, or a class that is built with its own settings and is then one.
LIKELIHOODS: Registry = Registry("likelihood", key="loss_type")
register_likelihood = LIKELIHOODS.register


@register_likelihood("MSE")
def gaussian(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """N(s, 1) without its constant, so that -log p = 1/2 sum_i (x_i - s_i)^2."""
    return 0.5 * (torch.linalg.vecdot(scores, scores) + counts), scores


@register_likelihood("BCE")
def bernoulli(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Independent Bernoulli variables with logits s (Liang et al. 2018)."""
    return F.softplus(scores).sum(-1), scores.sigmoid_()


@dataclass(frozen=True)
class MultinomialSettings:
    """How the normaliser of the softmax is computed."""

    sampled_items: int = setting(
        0,
        Integer(0),
        "With 'CE': items drawn in each step to estimate the softmax's normaliser, for catalogues far beyond "
        "100,000 items; 0: all items, exactly.",
        exclusive=True,
    )


@register_likelihood("CE", settings=MultinomialSettings)
def multinomial(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Multinomial with logits s, without its coefficient (Liang et al. 2018)."""
    largest = scores.amax(-1)
    normaliser = scores.sub_(largest[:, None]).exp_().sum(-1)
    A = counts * (largest + normaliser.log())
    return A, scores.mul_((counts / normaliser)[:, None])


def reconstruction_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    rows: Rows,
    likelihood: Likelihood,
    budget: int = SCORE_BUDGET,
) -> Tensor:
    """-log p(x | s) with s = hidden @ weight.T + bias, over all items, a mean over users.

    Exact whatever the catalogue's size: a batch of more than ``budget`` scores is processed
    in chunks of users. The scores are overwritten by their gradient in the forward pass,
    so that one array of them is the peak, or two with BCE or under autocast, where the matrix
    products run in the autocast dtype and the rest in float32.

    Args:
        hidden: ``[B, d]``.
        weight: ``[n_items, d]``.
        bias: ``[n_items]``.
        rows: the B histories; their values are not read, every entry counts as 1.
        likelihood: see :data:`Likelihood`.
        budget: scores held at once; at least one user's are.

    Returns:
        A scalar in nats. It can be differentiated once.
    """
    return _Reconstruction.apply(hidden, weight, bias, rows, likelihood, budget)


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, rows, likelihood, budget):
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        wanted = ctx.needs_input_grad[:3]
        ctx.gradients = [torch.empty_like(hidden) if wanted[0] else None, None, None]
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
                of_entries = scores.view(-1)[entries].sum()
                A, error = likelihood(scores, some.counts)
                total += A.sum() - of_entries
                if any(wanted):
                    error.view(-1)[entries] -= 1
                    _add_gradients(ctx.gradients, wanted, error, inputs, low_weight, begin, 1 / users)
        return total / users

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream):
        if ctx.gradients is None:
            raise RuntimeError("the reconstruction loss can be differentiated only once")
        gradients, ctx.gradients = ctx.gradients, None
        # a pass over all weights saved, where looking at the number costs no waiting
        if upstream.device.type != "cpu" or upstream != 1:
            gradients = [gradient if gradient is None else gradient.mul_(upstream) for gradient in gradients]
        return *gradients, None, None, None


def _add_gradients(gradients, wanted, error, inputs, weight, begin, share) -> None:
    """Back through s = hidden @ weight.T + bias, from d loss / d s of the users from ``begin``.

    ``gradients`` are None where there is nothing yet; the large one is then made, not added to. The
    users' ``share`` in the mean multiplies what is small, not the scores or the weights.
    """
    if wanted[2]:
        of_bias = error.sum(0) * share
        gradients[2] = of_bias if gradients[2] is None else gradients[2].add_(of_bias)
    dtype, error = error.dtype, error.to(inputs.dtype)
    if wanted[0]:
        gradients[0][begin : begin + len(error)] = (error @ weight) * share
    if wanted[1]:
        scaled = inputs * share
        if gradients[1] is None:
            gradients[1] = (error.T @ scaled).to(dtype)
        elif inputs.dtype == dtype:
            gradients[1].addmm_(error.T, scaled)
        else:
            gradients[1] += error.T @ scaled
