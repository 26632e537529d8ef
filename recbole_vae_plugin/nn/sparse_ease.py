"""Sparse EASE, a linear branch for catalogues whose matrix of all pairs of items would be too large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Batch, Interactions, Rows
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
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.validation import Integer, Refused

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

#: The number of matrix entries to process at once.
CHUNK_SIZE = 2**22
#: The most entries of the Gram matrix that are kept for the regressions (8 bytes each: 1 GiB).
MAX_GRAM = 2**27
#: The most items, with repetitions, in the regressions that are solved at once: their Gram matrix should fit
#: a processor's cache.
BLOCK_SIZE = 1024


@register_linear_branch("sparse_ease")
class SparseEASE(LinearBranch):
    """Scores a history x as x @ B, where a column of B has at most ``n_neighbors`` entries.

    B is stored by rows, in the compressed form (CSR): row i is what item i in a history adds to the scores
    of the items ``items[offsets[i]:offsets[i + 1]]``. What lies beyond the last row is not used, so that the
    shapes depend on the settings alone.

    Args:
        n_items: size of the catalogue.
        n_neighbors: the most entries of a column.

    Attributes:
        offsets: int64 ``[n_items + 1]``.
        items: int32 ``[n_items * n_neighbors]``.
        values: float32 ``[n_items * n_neighbors]``.
    """

    offsets: Tensor
    items: Tensor
    values: Tensor

    @dataclass(frozen=True)
    class Settings(RidgeSettings):
        """The keys of sparse EASE."""

        neighbors: int = setting(
            100,
            Integer(1),
            "With 'sparse_ease': the number of items from which each item is predicted, those most "
            "correlated with it; each takes 8 bytes.",
            key="linear_neighbors",
        )

    def __init__(self, n_items: int, n_neighbors: int) -> None:
        super().__init__(n_items)
        self.n_items = n_items
        capacity = n_items * min(n_neighbors, max(1, n_items - 1))
        self.register_buffer("offsets", torch.zeros(n_items + 1, dtype=torch.int64))
        self.register_buffer("items", torch.zeros(capacity, dtype=torch.int32))
        self.register_buffer("values", torch.zeros(capacity))

    @classmethod
    def build(cls, n_items: int, settings: Settings) -> SparseEASE:
        return cls(n_items, settings.neighbors)

    def fit(self, interactions: Interactions, settings: Settings) -> None:
        """See :func:`sparse_ease`.

        Raises:
            ValueError: `linear_reg_weight` is too small or too large.
        """
        B = sparse_ease(
            interactions,
            settings.neighbors,
            settings.reg_weight,
            settings.dropout_prob,
            settings.user_power,
            settings.item_power,
            settings.max_diagonal,
        )
        self.offsets.copy_(torch.from_numpy(B.indptr))
        self.items.zero_()[: B.nnz] = torch.from_numpy(B.indices)
        self.values.zero_()[: B.nnz] = torch.from_numpy(B.data)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        offsets, items = (state_dict.get(f"{prefix}{name}") for name in ("offsets", "items"))
        if offsets is not None and items is not None:
            check_rows(offsets, items, self.n_items)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def product(self, rows: Batch) -> Tensor:
        return self._sparse_product(rows) if isinstance(rows, Rows) else self.for_export().product(rows)

    def for_export(self) -> ByColumn:
        """The same branch in operations that other runtimes know."""
        counts = self.offsets.diff()
        n_entries = int(self.offsets[-1])
        source = torch.arange(self.n_items, device=counts.device).repeat_interleave(counts)
        target, order = self.items[:n_entries].long().sort(stable=True)
        per_target = target.bincount(minlength=self.n_items)
        place = torch.arange(n_entries, device=target.device) - (per_target.cumsum(0) - per_target)[target]
        width = max(1, int(per_target.max()))
        branch = ByColumn(self.n_items, width).to(counts.device)
        branch.weight.copy_(self.weight)
        branch.items[target, place] = source[order]
        branch.values[target, place] = self.values[:n_entries][order]
        return branch

    def _sparse_product(self, rows: Rows) -> Tensor:
        """Reads the rows of B that belong to entries, up to :data:`CHUNK_SIZE` numbers at once."""
        starts = self.offsets[rows.items]
        counts = self.offsets[rows.items + 1] - starts
        ends = counts.cumsum(0)
        scores = rows.values.new_zeros(len(rows) * rows.n_items)
        first, done = 0, 0
        while first < len(counts):
            last = max(first + 1, int(torch.searchsorted(ends, done + CHUNK_SIZE, right=True)))
            some = slice(first, last)
            n_entries = int(ends[last - 1]) - done
            # for each entry of these rows of B: its place in B, the user's in the scores, the item's value
            places = starts[some] - (ends - counts)[some], rows.row_index[some] * rows.n_items
            per_item = torch.stack(places)
            shift, user = per_item.repeat_interleave(counts[some], 1, output_size=n_entries)
            at = torch.arange(done, done + n_entries, device=shift.device) + shift
            value = rows.values[some].repeat_interleave(counts[some], output_size=n_entries)
            scores.index_add_(0, user + self.items[at], value * self.values[at])
            first, done = last, done + n_entries
        return scores.view(len(rows), rows.n_items)

    def operations(self, rows: Rows) -> int:
        # RecBole asks before the branch is fitted: as many as an item has entries in the mean
        return len(rows.items) * len(self.items) // self.n_items

    def extra_repr(self) -> str:
        return f"n_items={self.n_items}, nonzero={int(self.offsets[-1])}"


class ByColumn(LinearBranch):
    """A sparse matrix by columns of equal lengths: the items that each item is predicted from.

    A score is then a sum over gathered numbers. Adding them where they belong instead, row by row, depends
    on a runtime that adds repeated indices one after the other; onnxruntime's threads do not always.

    Args:
        n_items: size of the catalogue.
        width: the length of a column.

    Attributes:
        items: int64 ``[n_items, width]``.
        values: float32 ``[n_items, width]``; 0 where a column is shorter.
    """

    items: Tensor
    values: Tensor

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__(n_items)
        self.register_buffer("items", torch.zeros(n_items, width, dtype=torch.int64))
        self.register_buffer("values", torch.zeros(n_items, width))

    def product(self, rows: Batch) -> Tensor:
        return (rows.to_dense()[:, self.items] * self.values).sum(-1)


def check_rows(offsets: Tensor, items: Tensor, n_items: int) -> None:
    """Check that no row of a stored matrix leads outside of its entries, nor an entry outside of the scores.

    Raises:
        ValueError: one does.
    """
    ascending = offsets[0] == 0 and (offsets.diff() >= 0).all() and offsets[-1] <= len(items)
    if not ascending or items.min() < 0 or items.max() >= n_items:
        raise Refused("the sparse linear branch is damaged: its entries lie outside of the matrix")


def sparse_ease(
    interactions: Interactions,
    n_neighbors: int,
    reg_weight: float,
    dropout_prob: float,
    user_power: float,
    item_power: float = 0.0,
    max_diagonal: float = 0.0,
) -> csr_matrix:
    """The ridge regression of each item on the items that are most correlated with it.

    Column j of B is EASE's (:func:`~recbole_vae_plugin.nn.ease.ease`) if only the neighbours S of item j may
    predict it: (G_SS + D_SS) b_S = G_Sj, with EASE's Gram matrix G and penalty D, solved exactly. With all
    others as neighbours it would be EASE's; only items that have a user in common with j are. Items were
    selected by similarity before in fsSLIM (Ning & Karypis, ICDM 2011).

    G is made in chunks. Of each row the :data:`MAX_GRAM` / n_items largest correlations are kept for
    G_SS, and others count as 0; with up to some 10,000 items that is all of G.

    Args:
        interactions: the histories.
        n_neighbors: the most neighbours of an item.
        reg_weight: as in EASE.
        dropout_prob: as in EASE.
        user_power: as in EASE.
        item_power: as in EASE.
        max_diagonal: as in EASE.

    Returns:
        float32 ``[n_items, n_items]``, with at most ``n_neighbors`` entries in each column.

    Raises:
        ValueError: reg_weight is too small, or the result is not finite.
    """
    from scipy.sparse import csc_matrix

    rows = weighted_rows(interactions, user_power)
    squared = squared_norms(rows)
    penalty = ridge_penalty(squared, reg_weight, dropout_prob)
    diagonal = squared.astype(np.float32) + penalty
    n_items = len(diagonal)
    n_neighbors = min(n_neighbors, max(1, n_items - 1))
    neighbors, gram = nearest_neighbors(rows, diagonal, n_neighbors, max(n_neighbors, MAX_GRAM // n_items))
    explained = solve_regressions(neighbors, gram, diagonal)
    del gram
    if max_diagonal:
        # 1 / P_jj by the Schur complement; at least d_j, but for rounding
        inverse = np.maximum(diagonal - explained, penalty)
        residual = np.divide(penalty, inverse, out=np.ones_like(penalty), where=inverse > 0)
        neighbors.products[:] *= column_factors(residual, max_diagonal)[:, None]
    found = neighbors.items >= 0
    indptr = np.concatenate([[0], found.sum(1).cumsum()])
    B = csc_matrix((neighbors.products[found], neighbors.items[found], indptr), (n_items, n_items))
    del neighbors, found
    B = B.tocsr()
    if item_power:
        factors = item_factors(interactions, item_power)
        B.data *= np.repeat(factors, np.diff(B.indptr))
        B.data /= factors[B.indices]
    if not np.isfinite(B.data.sum(dtype=np.float64)):
        raise Refused(NOT_FINITE)
    return B


class Neighbors(NamedTuple):
    """The neighbours of every item, the most correlated first.

    Attributes:
        items: int32 ``[n_items, n_neighbors]``; -1 where an item has fewer.
        products: float32 ``[n_items, n_neighbors]``, their entries of the Gram matrix; 0 where it has fewer.
    """

    items: np.ndarray
    products: np.ndarray


def nearest_neighbors(
    rows: csr_matrix, diagonal: np.ndarray, n_neighbors: int, n_kept: int
) -> tuple[Neighbors, csr_matrix]:
    """For every item those with the highest correlations G_ij / sqrt((G_ii + D_i) (G_jj + D_j)).

    The square is the share of item j's sum of squares that a ridge regression on item i alone explains.

    Args:
        rows: float32 ``[n_users, n_items]``, the weighted histories.
        diagonal: float32 ``[n_items]``, G_jj + D_j.
        n_neighbors: the most neighbours of an item.
        n_kept: the most entries of a row of the Gram matrix that are kept.

    Returns:
        The neighbours, and the entries of the Gram matrix that are kept, without its diagonal.
    """
    from scipy.sparse import csr_matrix

    n_items = rows.shape[1]
    neighbors = Neighbors(
        np.full((n_items, n_neighbors), -1, np.int32), np.zeros((n_items, n_neighbors), np.float32)
    )
    by_item = rows.T.tocsr()
    # memory that is not written to is not taken
    kept = [np.empty(n_items * min(n_kept, n_items), dtype) for dtype in (np.int32, np.float32)]
    offsets = np.zeros(n_items + 1, np.int64)
    for begin, end in chunks_of_items(rows, by_item):
        gram = by_item[begin:end] @ rows
        row, column, product = (
            np.repeat(np.arange(end - begin), np.diff(gram.indptr)),
            gram.indices,
            gram.data,
        )
        others = column != row + begin
        row, column, product = row[others], column[others], product[others]
        explained = product.astype(np.float64) ** 2 / diagonal[column] / diagonal[begin + row]
        # below 1, so that rows stay in order; stable, so that ties do not depend on the processor
        order = np.argsort(row - np.minimum(explained, 1 - 1e-9), kind="stable")
        row, column, product = row[order], column[order], product[order]
        counts = np.bincount(row, minlength=end - begin)
        rank = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
        near = rank < n_neighbors
        for out, values in zip(neighbors, (column, product)):
            out[begin + row[near], rank[near]] = values[near]
        near = rank < n_kept
        offsets[begin + 1 : end + 1] = offsets[begin] + np.minimum(counts, n_kept).cumsum()
        for out, values in zip(kept, (column, product)):
            out[offsets[begin] : offsets[end]] = values[near]
    columns, products = (each[: offsets[-1]] for each in kept)
    return neighbors, csr_matrix((products, columns, offsets), (n_items, n_items))


def chunks_of_items(rows: csr_matrix, by_item: csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of items whose Gram matrix is a sum of :data:`CHUNK_SIZE` products, or single items."""
    products = by_item.astype(bool).astype(np.float64) @ np.diff(rows.indptr)
    ends = products.cumsum()
    begin, done = 0, 0.0
    while begin < len(ends):
        end = max(begin + 1, int(np.searchsorted(ends, done + CHUNK_SIZE, side="right")))
        yield begin, end
        begin, done = end, ends[end - 1]


def solve_regressions(neighbors: Neighbors, gram: csr_matrix, diagonal: np.ndarray) -> np.ndarray:
    """Replace the products of each item's neighbours by their weights in the item's regression.

    Args:
        neighbors: of every item.
        gram: float32 ``[n_items, n_items]``, without its diagonal; one of two symmetric entries is enough.
        diagonal: float32 ``[n_items]``, the penalised one.

    Returns:
        float32 ``[n_items]``: the products of each item times the weights, G_jS b_S.

    Raises:
        ValueError: a matrix cannot be inverted.
    """
    n_items, n_neighbors = neighbors.items.shape
    explained = np.zeros(n_items, np.float32)
    places = np.zeros(len(diagonal), np.int32)
    batch = max(1, BLOCK_SIZE // n_neighbors)
    for begin in range(0, n_items, batch):
        items, products = (each[begin : begin + batch] for each in neighbors)
        involved = np.unique(items)
        involved = involved[involved >= 0]
        # the first row and column stand for the neighbours that are missing
        places[involved] = np.arange(1, len(involved) + 1)
        at = np.where(items < 0, 0, places[items])
        block = block_of(gram, involved, places)
        places[involved] = 0
        systems = torch.from_numpy(block[at[:, :, None], at[:, None, :]])
        # w = 0 for a neighbour that is missing
        entries = np.where(items < 0, np.float32(1), diagonal[items])
        systems.diagonal(dim1=1, dim2=2).copy_(torch.from_numpy(entries))
        factors, problems = torch.linalg.cholesky_ex(systems)
        if problems.any():
            raise Refused(SINGULAR)
        solved = torch.cholesky_solve(torch.from_numpy(products)[:, :, None], factors)
        found = solved[:, :, 0].numpy()
        explained[begin : begin + batch] = (products * found).sum(1)
        products[:] = found
    return explained


def block_of(gram: csr_matrix, items: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The Gram matrix of some items, without its diagonal, after a row and a column of zeros.

    Args:
        gram: as in :func:`solve_regressions`.
        items: ``[N]``, distinct.
        places: int32 ``[n_items]``: 1 .. N for these items, 0 for all others.

    Returns:
        float32 ``[N + 1, N + 1]``.
    """
    block = np.zeros((len(items) + 1, len(items) + 1), np.float32)
    rows = gram[items]
    column = places[rows.indices]
    inside = column > 0
    row = np.repeat(np.arange(1, len(items) + 1), np.diff(rows.indptr))[inside]
    column, product = column[inside], rows.data[inside]
    block[row, column] = product
    block[column, row] = product
    return block
