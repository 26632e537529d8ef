"""EASE, a linear branch in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.nn.linear import LinearBranch, register_linear_branch
from recbole_vae_plugin.settings.keys import setting
from recbole_vae_plugin.settings.validation import Number, Refused, refuse

#: With more items the matrix alone would take more than 10 GB.
MAX_ITEMS = 50_000
#: Numbers of the matrix that are processed at once, next to the matrix itself.
CHUNK_SIZE = 2**22


@register_linear_branch("ease")
class EASE(LinearBranch):
    """Scores of a history x: x @ B.

    Attributes:
        B: float32 ``[n_items, n_items]``, line i what having item i adds to each item's score.
    """

    B: Tensor

    @dataclass(frozen=True)
    class Settings(LinearBranch.Settings):
        reg_weight: float = setting(
            300.0,
            Number(0),
            "With 'ease': the L2 regularisation lambda, on the scale of the items' numbers of users.",
            key="linear_reg_weight",
        )
        dropout_prob: float = setting(
            0.5,
            Number(0, below=1),
            "With 'ease': dropout of its input, in expectation (Steck 2020); 0: none.",
            key="linear_dropout_prob",
        )
        user_power: float = setting(
            0.5,
            Number(0),
            "With 'ease': a user with n items weighs n to the minus this power, 1 in the mean; 0: all alike.",
            key="linear_user_power",
        )

    def __init__(self, n_items: int):
        super().__init__(n_items)
        self.register_buffer("B", torch.zeros(n_items, n_items))

    @staticmethod
    def check_catalogue(n_items: int) -> None:
        if n_items > MAX_ITEMS:
            allowed = f"none with {n_items} items; a matrix of all pairs is made for at most {MAX_ITEMS}"
            refuse("linear_branch", "ease", allowed)

    def fit(self, interactions: Interactions, settings: Settings) -> None:
        """See :func:`ease`.

        Raises:
            ValueError: `linear_reg_weight` is too small or too large.
        """
        # a second matrix would double the memory
        out = self.B if self.B.device.type == "cpu" else None
        B = ease(interactions, settings.reg_weight, settings.dropout_prob, settings.user_power, out)
        if B is not self.B:
            self.B.copy_(B)

    def product(self, rows: Rows) -> Tensor:
        return rows @ self.B

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

    It works in place: next to B it takes memory for the histories and for :data:`CHUNK_SIZE` numbers.
    Time grows with the cube of the items.

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
    chunk = max(1, CHUNK_SIZE // shape[1])
    for begin in range(0, shape[1], chunk):
        (by_item[begin : begin + chunk] @ by_user).toarray(out=out[begin : begin + chunk])


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
    chunk = max(1, CHUNK_SIZE // len(matrix))
    for begin in range(0, len(matrix), chunk):
        end = min(begin + chunk, len(matrix))
        matrix[end:, begin:end] = matrix[begin:end, end:].T
        block = matrix[begin:end, begin:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
