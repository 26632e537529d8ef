"""The KL term of the evidence lower bound, and the schedule of its weight."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Upcast half precision, which is too coarse for differences of nearly equal numbers or small noise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)), summed over the latent dimensions.

    Kingma & Welling (2014), appendix B. Both arguments ``[B, d]``; returns ``[B]`` in nats.
    """
    mu, logvar = at_least_float32(mu), at_least_float32(logvar)
    return 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum(-1)


def linear_annealing(updates: Tensor, total_anneal_steps: int, anneal_cap: float) -> Tensor:
    """beta = min(anneal_cap, updates / total_anneal_steps) (Liang et al. 2018).

    Args:
        updates: the number of optimiser steps so far, including the current one: a tensor of shape ``[]``.
        total_anneal_steps: the number of steps to reach 1, so that the cap is reached after
            ``anneal_cap * total_anneal_steps``; with 0, beta is always the cap.
        anneal_cap: the largest weight.
    """
    if total_anneal_steps == 0:
        return torch.full_like(updates, anneal_cap, dtype=torch.get_default_dtype())
    return (updates / total_anneal_steps).clamp(max=anneal_cap)
