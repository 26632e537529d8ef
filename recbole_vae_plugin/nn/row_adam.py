"""Adam for the rows of a large weight matrix of which each step has a gradient for a few only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: The number of entries to update at once: a chunk should stay in the processor's cache.
CHUNK_SIZE = 2**19


class RowAdam:
    """Adam without momentum and with one second moment a row, at the cost of the rows with a gradient.

    With the gradient g of a row of a weight ``[n, width]`` at step t, v = beta2 v + (1 - beta2) mean(g^2) and
    w = w - lr g / (sqrt(v / (1 - beta2^t)) + eps). This is Adam (Kingma & Ba 2015) with beta1 = 0 and with
    the mean of the second moment over a row, as in row-wise Adagrad for embedding tables (Naumov et al. 2019,
    1906.00091). Without momentum a row without a gradient keeps its weights, and its v, which only decays, is
    brought up to date when the next gradient arrives: nothing is approximated, as it is in
    :class:`torch.optim.SparseAdam`.

    It acts before each step of a :class:`torch.optim.Adam`, takes its weights' gradients away from it, and
    keeps its state where Adam does, so that checkpoints of the optimizer include it.

    Args:
        optimizer: an Adam whose groups have the learning rate, ``betas`` and ``eps``.
        weights: those of its parameters that are updated here, each ``[n, width]``. Their gradients are
            sparse and coalesced, with indices of rows, or dense.

    Attributes:
        before_update: called with a weight and the rows of it that are about to change.
    """

    def __init__(self, optimizer: torch.optim.Adam, weights: Iterable[nn.Parameter]) -> None:
        self.weights = set(weights)
        self.before_update: Callable[[Tensor, Tensor], None] = lambda weight, rows: None
        optimizer.register_step_pre_hook(self._step)

    @torch.no_grad()
    def _step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight in self.weights and weight.grad is not None:
                    self._update(weight, optimizer.state[weight], group)
                    weight.grad = None

    def _update(self, weight: nn.Parameter, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = torch.zeros((), device=weight.device)
            state["exp_avg_sq"] = weight.new_zeros(len(weight))
            # float32 like Adam's own count, exact up to 2^24 steps
            state["last_step"] = weight.new_zeros(len(weight))
        state["step"] += 1
        step, beta2 = state["step"], group["betas"][1]
        rows, gradients = rows_of(weight.grad)
        if not len(rows):
            return
        self.before_update(weight, rows)
        moments = state["exp_avg_sq"][rows] * beta2 ** (step - state["last_step"][rows])
        norms = torch.linalg.vector_norm(gradients, dim=1)
        moments += (1 - beta2) * norms.square() / gradients.shape[1]
        state["exp_avg_sq"][rows] = moments
        state["last_step"][rows] = step
        scale = -group["lr"] / ((moments / (1 - beta2**step)).sqrt() + group["eps"])
        size = max(1, CHUNK_SIZE // weight.shape[1])
        for begin in range(0, len(rows), size):
            chunk = slice(begin, begin + size)
            add_rows(weight, rows[chunk], gradients[chunk] * scale[chunk, None])


def add_rows(matrix: Tensor, rows: Tensor, values: Tensor) -> None:
    """``matrix.index_add_(0, rows, values)`` for ascending rows without repetitions; faster on a CPU."""
    matrix += torch.sparse_coo_tensor(
        rows[None], values, matrix.shape, is_coalesced=True, check_invariants=False
    )


def rows_of(gradient: Tensor | None) -> tuple[Tensor, Tensor]:
    """The rows with a gradient, int64 ``[k]``, and their gradients ``[k, width]``."""
    assert gradient is not None
    if gradient.is_sparse:
        return gradient._indices()[0], gradient._values()
    rows = (gradient != 0).any(1).nonzero()[:, 0]
    return rows, gradient[rows]
