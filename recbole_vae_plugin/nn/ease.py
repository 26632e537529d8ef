"""EASE, a linear branch with a closed-form solution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Batch, Interactions
from recbole_vae_plugin.nn.linear import LinearBranch, register_linear_branch
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.validation import Number, Refused, refuse

#: The largest catalogue: with more items the matrix alone would take more than 10 GB.
MAX_ITEMS = 50_000
#: The number of matrix entries to process at once, which take memory in addition to the matrix itself.
CHUNK_SIZE = 2**22


@register_linear_branch("ease")
class EASE(LinearBranch):
    """Scores a history x as x @ B.

    Attributes:
        B: float32 ``[n_items, n_items]``; row i is what item i in a history adds to each item's score.
    """

    B: Tensor

    @dataclass(frozen=True)
    class Settings(LinearBranch.Settings):
        """The keys of EASE."""

        reg_weight: float = setting(
            300.0,
            Number(0),
            "With 'ease': the L2 regularisation lambda, on the scale of the number of users per item.",
            key="linear_reg_weight",
        )
        dropout_prob: float = setting(
            0.5,
            Number(0, below=1),
            "With 'ease': the probability of input dropout, in expectation (Steck 2020); 0: no dropout.",
            key="linear_dropout_prob",
        )
        user_power: float = setting(
            0.5,
            Number(0),
            "With 'ease': users are weighted by the lengths of their histories to the minus this power; 0: "
            "equally.",
            key="linear_user_power",
        )

    def __init__(self, n_items: int) -> None:
        super().__init__(n_items)
        self.register_buffer("B", torch.zeros(n_items, n_items))

    @staticmethod
    def check_catalogue(n_items: int) -> None:
        if n_items > MAX_ITEMS:
            allowed = f"none with {n_items} items; EASE supports at most {MAX_ITEMS}"
            refuse("linear_branch", "ease", allowed)

    def fit(self, interactions: Interactions, settings: Settings) -> None:
        """See :func:`ease`.

        Raises:
            ValueError: `linear_reg_weight` is too small or too large.
        """
        # in place if possible: a second matrix would double the memory
        out = self.B if self.B.device.type == "cpu" else None
        B = ease(interactions, settings.reg_weight, settings.dropout_prob, settings.user_power, out)
        if B is not self.B:
            self.B.copy_(B)

    def product(self, rows: Batch) -> Tensor:
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

    The computation is in place: in addition to B it takes memory for the histories and for
    :data:`CHUNK_SIZE` numbers. Its time is cubic in the number of items.

    Args:
        interactions: the histories, X.
        reg_weight: lambda, on the scale of G, whose diagonal is the number of users of each item.
        dropout_prob: p.
        user_power: the weight of a user with n items is n^-user_power, scaled to a mean of 1.
        out: a matrix to write B into, contiguous and on the CPU; by default a new one.

    Returns:
        float32 ``[n_items, n_items]``, on the CPU.

    Raises:
        ValueError: reg_weight is too small to invert the matrix, or the result is not finite.
    """
    B = torch.empty(interactions.n_items, interactions.n_items) if out is None else out
    gram = B.numpy()
    weighted_gram(interactions, user_power, gram)
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += reg_weight + dropout_prob / (1 - dropout_prob) * gram[diagonal]
    inverse(gram)
    gram /= -gram[diagonal]
    gram[diagonal] = 0
    if not np.isfinite(gram.sum(dtype=np.float64)):
        raise Refused("linear_reg_weight is too large or too small: the linear branch is not finite")
    return B


def weighted_gram(interactions: Interactions, user_power: float, out: np.ndarray) -> None:
    """Write X' W X into ``out``: float32 ``[n_items, n_items]``."""
    # imported here, because serving must work without scipy
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
    """Invert a symmetric positive definite matrix in place.

    Args:
        matrix: float32 ``[n, n]``, contiguous, or LAPACK would work on a copy.
    """
    from scipy.linalg import get_lapack_funcs

    # LAPACK is column-major and numpy row-major: the lower triangle of one is the upper triangle of the other
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (matrix.T,))
    factor, problem = potrf(matrix.T, lower=True, clean=False, overwrite_a=True)
    if not problem:
        factor, problem = potri(factor, lower=True, overwrite_c=True)
    if problem:
        raise Refused("linear_reg_weight is too small: the items' Gram matrix cannot be inverted")
    chunk = max(1, CHUNK_SIZE // len(matrix))
    for begin in range(0, len(matrix), chunk):
        end = min(begin + chunk, len(matrix))
        matrix[end:, begin:end] = matrix[begin:end, end:].T
        block = matrix[begin:end, begin:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
