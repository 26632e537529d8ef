"""A linear item-item model in closed form, as a branch beside the deep one: the `linear_branch` axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.settings.validation import Refused

#: With more items the matrix alone would take more than 10 GB.
MOST_ITEMS = 50_000
#: Numbers of the matrix that are worked on at once, beside the matrix itself.
PART = 2**22
#: Products that are kept while weights are tried: 512 MiB.
KEPT = 2**27


class LinearBranch(nn.Module):
    """Adds ``weight`` x (x @ B) to the scores of a history x of zeros and ones.

    Both are buffers: closed forms and choices, not gradients, set them; checkpoints carry them.

    Attributes:
        B: float32 ``[n_items, n_items]``, line i what having item i adds to each item's score.
        weight: float32 ``[]``, in units of the deep model's scores.
    """

    B: Tensor
    weight: Tensor

    def __init__(self, n_items: int):
        super().__init__()
        self.register_buffer("B", torch.zeros(n_items, n_items))
        self.register_buffer("weight", torch.ones(()))
        self._kept: list[tuple[Rows, Tensor]] | None = None

    @contextmanager
    def keeping_products(self) -> Iterator[None]:
        """Within it rows that come again, as with one weight after another, cost no second product, up to
        :data:`KEPT` numbers of them. B must stay as it is."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def forward(self, rows: Rows) -> Tensor:
        """Returns ``[B, n_items]``."""
        return self.weight * self._product(rows)

    def _product(self, rows: Rows) -> Tensor:
        for before, product in self._kept or ():
            if rows.equal(before):
                return product
        product = rows @ self.B
        if self._kept is not None and sum(kept.numel() for _, kept in self._kept) + product.numel() <= KEPT:
            self._kept.append((rows, product))
        return product

    def extra_repr(self) -> str:
        return f"n_items={len(self.B)}"


def ease(
    interactions: Interactions,
    reg_weight: float,
    dropout_prob: float,
    user_power: float,
    out: Tensor | None = None,
) -> Tensor:
    """The item-item matrix B with zero diagonal that minimises a ridge regression of X on itself.

    EASE (Steck, WWW 2019): with the inverse P of the regularised Gram matrix, B_ij = -P_ij / P_jj.
    Here users are weighted, G = X' W X, and dropout of the input is regularised for in expectation,
    G + reg_weight I + p / (1 - p) diag(G) (Steck, NeurIPS 2020).

    It works in place: beside B it takes memory for the histories and for :data:`PART` numbers. Time grows
    with the cube of the items.

    Args:
        interactions: the histories, X.
        reg_weight: lambda, on the scale of G, whose diagonal counts users.
        dropout_prob: p.
        user_power: a user with n items weighs n^-user_power, scaled to a mean of 1; 0: all alike.
        out: where B is worked out, such as a branch's own: contiguous, on the CPU; by default a new one.

    Returns:
        float32 ``[n_items, n_items]``, on the CPU.

    Raises:
        ValueError: reg_weight is too small for the matrix to be inverted, or the result is not finite.
    """
    B = torch.empty(interactions.n_items, interactions.n_items) if out is None else out
    gram = B.numpy()
    weighted_gram(interactions, user_power, gram)
    places = np.arange(len(gram))
    gram[places, places] += reg_weight + dropout_prob / (1 - dropout_prob) * gram[places, places]
    inverse(gram)
    gram /= -gram[places, places]
    gram[places, places] = 0
    if not np.isfinite(gram.sum(dtype=np.float64)):
        raise Refused("linear_reg_weight is too large or too small: the linear branch is not finite")
    return B


def weighted_gram(interactions: Interactions, user_power: float, out: np.ndarray) -> None:
    """Write X' W X into ``out``: float32 ``[n_items, n_items]``."""
    # scipy is imported where a branch is fitted: what serves one does without
    from scipy.sparse import csr_matrix

    counts = interactions.offsets.diff().double()
    weights = counts.clamp(min=1).pow(-user_power)
    weights /= weights[counts > 0].mean()
    shape = len(counts), interactions.n_items
    indices, indptr = interactions.items.cpu().numpy(), interactions.offsets.cpu().numpy()
    entries = weights.sqrt().float()[interactions.users()].cpu().numpy()
    by_user = csr_matrix((entries, indices, indptr), shape)
    by_item = by_user.T.tocsr()
    part = max(1, PART // shape[1])
    for begin in range(0, shape[1], part):
        (by_item[begin : begin + part] @ by_user).toarray(out=out[begin : begin + part])


def inverse(matrix: np.ndarray) -> None:
    """Put the inverse of a symmetric positive definite matrix in its place: float32 ``[n, n]``, contiguous,
    or LAPACK would work on a copy."""
    from scipy.linalg import lapack

    # LAPACK reads columns where numpy has rows, so that the lower triangle of one is the upper of the other
    factor, problem = lapack.spotrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if not problem:
        factor, problem = lapack.spotri(factor, lower=True, overwrite_c=True)
    if problem:
        raise Refused("linear_reg_weight is too small: the items' Gram matrix cannot be inverted")
    part = max(1, PART // len(matrix))
    for begin in range(0, len(matrix), part):
        end = min(begin + part, len(matrix))
        matrix[end:, begin:end] = matrix[begin:end, end:].T
        block = matrix[begin:end, begin:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
