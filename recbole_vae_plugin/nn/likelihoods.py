"""Reconstruction likelihoods over all items: the `loss_type` axis.

With scores s and a history x of zeros and ones, each likelihood here is an exponential
family: -log p(x | s) = A(s) - <x, s>, with the gradient E[x] - x in s. Only the
log-partition A and its derivative, the mean E[x], differ. The inner product and the
subtraction only touch the entries of x: there is no dense target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Integer

#: The most scores in memory at once (float32: 256 MiB); larger batches are processed in chunks.
MAX_SCORES = 2**26

#: An exponential family with scores ``[B, n_items]`` as natural parameters: a function of the
#: scores, which it overwrites, and of the lengths of the histories ``[B]``, that returns the
#: log-partition A ``[B]`` in nats and the mean E[x] ``[B, n_items]``.
Likelihood = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: Name -> likelihood, or a class whose instances, constructed with its own settings, are likelihoods.
LIKELIHOODS: Registry[Callable[..., Any]] = Registry("likelihood", key="loss_type")
register_likelihood = LIKELIHOODS.register


@register_likelihood("MSE")
def gaussian(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """N(s, 1) without the normalising constant: -log p = 1/2 sum_i (x_i - s_i)^2."""
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
        "With 'CE': the number of items sampled in each step to estimate the normaliser of the softmax, for "
        "catalogues of far more than 100,000 items; 0: the exact normaliser.",
        exclusive=True,
    )


@register_likelihood("CE", settings=MultinomialSettings)
def multinomial(scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Multinomial with logits s, without the multinomial coefficient (Liang et al. 2018)."""
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
    max_scores: int = MAX_SCORES,
) -> Tensor:
    """-log p(x | s) with s = hidden @ weight.T + bias, over all items, averaged over users.

    It is exact for catalogues of any size: a batch of more than ``max_scores`` scores is processed in
    chunks of users. The forward pass overwrites the scores with their gradient, so that the peak is one
    array of scores, or two with BCE or under autocast, where the matrix products run in the autocast
    dtype and the rest in float32.

    Args:
        hidden: ``[B, d]``.
        weight: ``[n_items, d]``.
        bias: ``[n_items]``.
        rows: the B histories; their values are ignored, every entry counts as 1.
        likelihood: see :data:`Likelihood`.
        max_scores: the most scores in memory at once; at least those of one user.

    Returns:
        A scalar in nats, differentiable once.
    """
    return _Reconstruction.apply(hidden, weight, bias, rows, likelihood, max_scores)


class _Reconstruction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Rows,
        likelihood: Likelihood,
        max_scores: int,
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        needed = ctx.needs_input_grad[:3]
        ctx.gradients = [torch.empty_like(hidden) if needed[0] else None, None, None]
        users = len(rows)
        chunk_size = max(1, max_scores // rows.n_items)
        total = torch.zeros((), dtype=bias.dtype, device=hidden.device)
        with torch.autocast(device, enabled=False):
            low_hidden, low_weight, low_bias = (tensor.to(dtype) for tensor in (hidden, weight, bias))
            for begin in range(0, users, chunk_size):
                chunk = rows.slice(begin, min(begin + chunk_size, users))
                inputs = low_hidden[begin : begin + chunk_size]
                scores = torch.addmm(low_bias, inputs, low_weight.T).to(bias.dtype)
                entries = chunk.row_index * chunk.n_items + chunk.items
                inner_products = scores.view(-1)[entries].sum()
                A, error = likelihood(scores, chunk.counts)
                total += A.sum() - inner_products
                if any(needed):
                    error.view(-1)[entries] -= 1
                    _add_gradients(ctx.gradients, needed, error, inputs, low_weight, begin, 1 / users)
        return total / users

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the reconstruction loss can be differentiated only once")
        (upstream,) = grad_outputs
        gradients, ctx.gradients = ctx.gradients, None
        # saves a pass over all weights; on other devices the comparison would have to wait for the result
        if upstream.device.type != "cpu" or upstream != 1:
            gradients = [gradient if gradient is None else gradient.mul_(upstream) for gradient in gradients]
        return *gradients, None, None, None


def _add_gradients(
    gradients: list[Any],
    needed: Sequence[bool],
    error: Tensor,
    inputs: Tensor,
    weight: Tensor,
    begin: int,
    scale: float,
) -> None:
    """Backpropagate through s = hidden @ weight.T + bias for one chunk of users.

    Args:
        gradients: those of hidden, weight and bias, which are added to; that of the weight and of the bias
            are ``None`` before the first chunk, whose own are then stored.
        needed: which of the three gradients are needed.
        error: the gradient in s.
        inputs: hidden, of the chunk.
        weight: ``[n_items, d]``.
        begin: the first user of the chunk.
        scale: 1 / users, for the mean; applied to the small arrays, not to the scores or the weights.
    """
    if needed[2]:
        bias_gradient = error.sum(0) * scale
        gradients[2] = bias_gradient if gradients[2] is None else gradients[2].add_(bias_gradient)
    dtype, error = error.dtype, error.to(inputs.dtype)
    if needed[0]:
        gradients[0][begin : begin + len(error)] = (error @ weight) * scale
    if needed[1]:
        scaled = inputs * scale
        if gradients[1] is None:
            gradients[1] = (error.T @ scaled).to(dtype)
        elif inputs.dtype == dtype:
            gradients[1].addmm_(error.T, scaled)
        else:
            gradients[1] += error.T @ scaled
