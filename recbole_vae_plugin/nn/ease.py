"""EASE, a linear branch with a closed-form solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Batch, Interactions
from recbole_vae_plugin.nn.linear import LinearBranch, register_linear_branch
from recbole_vae_plugin.nn.ridge import (
    NOT_FINITE,
    SINGULAR,
    RidgeSettings,
    column_factors,
    item_factors,
    ridge_penalty,
    squared_norms,
    weighted_rows,
)
from recbole_vae_plugin.settings.validation import Refused, refuse

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

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
    Settings = RidgeSettings

    def __init__(self, n_items: int) -> None:
        super().__init__(n_items)
        self.register_buffer("B", torch.zeros(n_items, n_items))

    @staticmethod
    def check_catalogue(n_items: int) -> None:
        if n_items > MAX_ITEMS:
            allowed = f"none or sparse_ease with {n_items} items; EASE supports at most {MAX_ITEMS}"
            refuse("linear_branch", "ease", allowed)

    def fit(self, interactions: Interactions, settings: RidgeSettings) -> None:
        """See :func:`ease`.

        Raises:
            ValueError: `linear_reg_weight` is too small or too large.
        """
        # in place if possible: a second matrix would double the memory
        out = self.B if self.B.device.type == "cpu" else None
        B = ease(
            interactions,
            settings.reg_weight,
            settings.dropout_prob,
            settings.user_power,
            settings.item_power,
            settings.max_diagonal,
            out,
        )
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
    item_power: float = 0.0,
    max_diagonal: float = 0.0,
    out: Tensor | None = None,
) -> Tensor:
    """The item-item matrix B with zero diagonal that minimises a ridge regression of X on itself.

    EASE (Steck, WWW 2019): with the inverse P of the regularised Gram matrix, B_ij = -P_ij / P_jj.
    Here users are weighted, G = X' W X, and dropout of the input is regularised for in expectation,
    G + reg_weight I + p / (1 - p) diag(G) (Steck, NeurIPS 2020).

    The matrix that is inverted is that of the items (:func:`primal`) or, if at most half as many users have
    histories, that of the users (:func:`dual`), in time cubic in their number. In addition to B the
    computation takes memory for the histories, for :data:`CHUNK_SIZE` numbers, and for the users' matrix.

    Args:
        interactions: the histories, X.
        reg_weight: lambda, on the scale of G, whose diagonal is the number of users of each item.
        dropout_prob: p.
        user_power: the weight of a user with n items is n^-user_power, scaled to a mean of 1.
        item_power: B_ij is multiplied by (n_i / n_j)^item_power; see
            :func:`~recbole_vae_plugin.nn.ridge.item_factors`.
        max_diagonal: how large B_jj may be; see :func:`~recbole_vae_plugin.nn.ridge.column_factors`.
        out: a matrix to write B into, contiguous and on the CPU; by default a new one.

    Returns:
        float32 ``[n_items, n_items]``, on the CPU.

    Raises:
        ValueError: reg_weight is too small to invert the matrix, or the result is not finite.
    """
    B = torch.empty(interactions.n_items, interactions.n_items) if out is None else out
    rows = weighted_rows(interactions, user_power)
    penalty = ridge_penalty(squared_norms(rows), reg_weight, dropout_prob)
    solve = dual if 2 * rows.shape[0] <= rows.shape[1] else primal
    residual = solve(rows, penalty, B.numpy())
    if max_diagonal:
        B.mul_(torch.from_numpy(column_factors(residual, max_diagonal)))
    if item_power:
        factors = torch.from_numpy(item_factors(interactions, item_power))
        B.mul_(factors[:, None]).div_(factors)
    if not np.isfinite(B.numpy().sum(dtype=np.float64)):
        raise Refused(NOT_FINITE)
    return B


def primal(rows: csr_matrix, penalty: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write B into ``out``, by the inverse of the items' matrix P = (X'X + D)^-1.

    Args:
        rows: float32 ``[n_users, n_items]``, X, with the users' weights.
        penalty: float32 ``[n_items]``, the diagonal of D.
        out: float32 ``[n_items, n_items]``, contiguous.

    Returns:
        float32 ``[n_items]``: d_j P_jj.
    """
    products(rows.T.tocsr(), rows, out)
    diagonal = np.diag_indices_from(out)
    out[diagonal] += penalty
    inverse(out)
    P_diagonal = out[diagonal]
    out /= -P_diagonal
    out[diagonal] = 0
    return penalty * P_diagonal


def dual(rows: csr_matrix, penalty: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write B into ``out``, by the inverse of the users' matrix K = I + X D^-1 X'.

    By Woodbury's identity P = D^-1 - D^-1 S D^-1 with S = X' K^-1 X, so that with h_j = S_jj / d_j, the
    leverage of item j, B_ij = S_ij / (d_i (1 - h_j)). X is sparse in both of its products with K^-1.

    Args:
        rows: float32 ``[n_users, n_items]``, X, with the users' weights.
        penalty: float32 ``[n_items]``, the diagonal of D.
        out: float32 ``[n_items, n_items]``, contiguous.

    Returns:
        float32 ``[n_items]``: d_j P_jj = 1 - h_j.
    """
    if not penalty.all():
        raise Refused(SINGULAR)
    n_users, n_items = rows.shape
    K = np.empty((n_users, n_users), np.float32)
    products(rows.multiply(1 / penalty).tocsr(), rows.T.tocsr(), K)
    K[np.diag_indices_from(K)] += 1
    inverse(K)
    by_item = rows.T.tocsr()
    chunk = max(1, CHUNK_SIZE // n_items)
    for begin in range(0, n_items, chunk):
        some = slice(begin, begin + chunk)
        solved = np.ascontiguousarray((by_item[some] @ K).T)
        np.divide((by_item @ solved).T, penalty[some, None], out=out[some])
    diagonal = np.diag_indices_from(out)
    residual = 1 - out[diagonal]
    if residual.min() <= 0:
        raise Refused(SINGULAR)
    out /= residual
    out[diagonal] = 0
    return residual


def products(left: csr_matrix, right: csr_matrix, out: np.ndarray) -> None:
    """Write the product of two sparse matrices into ``out``, which is dense."""
    chunk = max(1, CHUNK_SIZE // out.shape[1])
    for begin in range(0, out.shape[0], chunk):
        (left[begin : begin + chunk] @ right).toarray(out=out[begin : begin + chunk])


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
        raise Refused(SINGULAR)
    chunk = max(1, CHUNK_SIZE // len(matrix))
    for begin in range(0, len(matrix), chunk):
        end = min(begin + chunk, len(matrix))
        matrix[end:, begin:end] = matrix[begin:end, end:].T
        block = matrix[begin:end, begin:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
