"""Users' histories as sparse rows, the only form in which they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class SupportsMatmul(Protocol):
    """The input of a first layer, sparse or dense: anything that can be multiplied by a weight matrix."""

    def __matmul__(self, weight: Tensor, /) -> Tensor:
        """The product with ``weight`` ``[n_items, width]``: ``[B, width]``."""
        ...


class Batch(SupportsMatmul, Protocol):
    """The input of a network: B histories, as sparse :class:`Rows` or in an equivalent dense form."""

    def l2_normalised(self) -> SupportsMatmul:
        """Each history scaled to length 1."""
        ...

    def to_dense(self) -> Tensor:
        """The histories as a tensor ``[B, n_items]``."""
        ...


@dataclass(frozen=True, eq=False)
class Rows:
    """A batch of B sparse rows over ``n_items`` items.

    ``==`` and ``hash`` compare identities; :meth:`equal` compares the entries.

    Attributes:
        items: int64 ``[nnz]``, the item ids, row after row.
        offsets: int64 ``[B + 1]``; row b is ``items[offsets[b]:offsets[b + 1]]``.
        values: float ``[nnz]``, the value of each entry.
        n_items: the width of a dense row.
    """

    items: Tensor
    offsets: Tensor
    values: Tensor
    n_items: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Tensor:
        """The number of entries in each row: int64 ``[B]``."""
        return self.offsets.diff()

    @cached_property
    def row_index(self) -> Tensor:
        """The row of each entry: int64 ``[nnz]``."""
        rows = torch.arange(len(self), device=self.items.device)
        return rows.repeat_interleave(self.counts, output_size=len(self.items))

    def equal(self, other: Rows) -> bool:
        """Whether both have the same entries with the same values."""
        own, others = ((rows.items, rows.offsets, rows.values) for rows in (self, other))
        return all(map(torch.equal, own, others))

    def slice(self, begin: int, end: int) -> Rows:
        """Rows ``begin`` to ``end``, exclusive."""
        if begin == 0 and end == len(self):
            return self
        first, last = self.offsets[begin].item(), self.offsets[end].item()
        return Rows(
            self.items[first:last],
            self.offsets[begin : end + 1] - first,
            self.values[first:last],
            self.n_items,
        )

    def to(self, device: torch.device | str) -> Rows:
        """The same rows on a device."""
        return Rows(self.items.to(device), self.offsets.to(device), self.values.to(device), self.n_items)

    @staticmethod
    def concatenated(parts: Sequence[Rows]) -> Rows:
        """The rows of several batches over the same items, one after the other."""
        if len(parts) == 1:
            return parts[0]
        counts = torch.cat([part.counts for part in parts])
        offsets = torch.zeros(len(counts) + 1, dtype=torch.int64, device=counts.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        items, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("items", "values"))
        return Rows(items, offsets, values, parts[0].n_items)

    def with_values(self, values: Tensor) -> Rows:
        """The same entries with different values, ``[nnz]``."""
        return replace(self, values=values)

    def without_zeros(self) -> Rows:
        """The same rows without the entries whose value is 0."""
        nonzero = self.values != 0
        n_before = torch.zeros(len(nonzero) + 1, dtype=torch.int64, device=nonzero.device)
        torch.cumsum(nonzero, 0, out=n_before[1:])
        return Rows(self.items[nonzero], n_before[self.offsets], self.values[nonzero], self.n_items)

    def sum(self, per_entry: Tensor) -> Tensor:
        """Sum ``per_entry`` ``[nnz]`` over each row: ``[B]``."""
        return per_entry.new_zeros(len(self)).index_add(0, self.row_index, per_entry)

    def l2_normalised(self) -> Rows:
        """Each row scaled to length 1; an empty row stays empty."""
        norms = self.sum(self.values.square()).sqrt()
        return self.with_values(self.values / norms[self.row_index])

    def __matmul__(self, weight: Tensor) -> Tensor:
        """The product with ``weight`` ``[n_items, width]``: ``[B, width]``.

        It only reads the rows of ``weight`` that belong to entries.
        """
        return F.embedding_bag(
            self.items,
            weight,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values.to(weight.dtype),
            include_last_offset=True,
        )

    @cached_property
    def transposed(self) -> tuple[Tensor, Rows]:
        """The items that have entries, ascending, int64 ``[k]``, and for each of them a row of its B users.

        ``weight[items] += transposed @ x`` adds the product of the transposed matrix with x ``[B, width]``.
        """
        # 32 bits sort in half the time
        ascending, order = self.items.int().sort(stable=True)
        items, counts = ascending.unique_consecutive(return_counts=True)
        offsets = torch.zeros(len(items) + 1, dtype=torch.int64, device=items.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return items.long(), Rows(self.row_index[order], offsets, self.values[order], len(self))

    def product_with_sparse_gradient(self, weight: Tensor) -> Tensor:
        """``self @ weight``, where the gradient of ``weight`` is a sparse tensor of the rows of its items."""
        return _ProductWithSparseGradient.apply(weight, self)

    def to_dense(self) -> Tensor:
        """A tensor ``[B, n_items]``; only worth its memory if noise makes the input dense anyway."""
        dense = self.values.new_zeros(len(self), self.n_items)
        dense[self.row_index, self.items] = self.values
        return dense


class _ProductWithSparseGradient(torch.autograd.Function):
    """The gradient of ``embedding_bag(sparse=True)`` has a row for each entry; this one for each item, in
    order."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Rows) -> Tensor:
        ctx.rows, ctx.shape = rows, weight.shape
        return rows @ weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        items, by_item = ctx.rows.transposed
        gradient = by_item @ grad_outputs[0].contiguous()
        sparse = torch.sparse_coo_tensor(
            items[None], gradient, ctx.shape, is_coalesced=True, check_invariants=False
        )
        return sparse, None


class Interactions(nn.Module):
    """All users' histories in compressed sparse rows (CSR), a module so that they move with the model.

    They take 4 bytes an interaction and 8 bytes a user, however long the longest history is.
    The buffers are not part of the state dict: they are data, not weights.

    Args:
        users: int64 ``[N]``, the user of each interaction, in any order.
        items: int64 ``[N]``, the item of each interaction. A repeated (user, item) pair counts once.
        n_users: users are 0 .. n_users - 1.
        n_items: items are 0 .. n_items - 1.

    Raises:
        ValueError: an id is out of range.
    """

    offsets: Tensor
    items: Tensor

    def __init__(self, users: Tensor, items: Tensor, n_users: int, n_items: int) -> None:
        super().__init__()
        for name, ids, size in (("user", users, n_users), ("item", items, n_items)):
            if len(ids) and not (0 <= int(ids.min()) and int(ids.max()) < size):
                raise ValueError(
                    f"{name} ids must lie in 0..{size - 1}, got {int(ids.min())}..{int(ids.max())}"
                )
        self.n_items = n_items
        pairs = torch.unique(users.long() * n_items + items.long())
        counts = torch.bincount(pairs.div(n_items, rounding_mode="floor"), minlength=n_users)
        offsets = torch.zeros(n_users + 1, dtype=torch.int64, device=users.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("items", pairs.remainder(n_items).int(), persistent=False)

    def users(self) -> Tensor:
        """The user of each interaction, ascending: int64 ``[nnz]``."""
        counts = self.offsets.diff()
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    def pairs(self) -> Tensor:
        """user x n_items + item for each interaction, ascending: int64 ``[nnz]``."""
        return self.users() * self.n_items + self.items

    def popularity(self) -> Tensor:
        """The number of users of each item: int64 ``[n_items]``."""
        return self.items.bincount(minlength=self.n_items)

    def rows(self, users: Tensor) -> Rows:
        """The histories of ``users`` (int64 ``[B]``); every entry has the value 1."""
        starts = self.offsets[users]
        counts = self.offsets[users + 1] - starts
        offsets = torch.zeros(len(users) + 1, dtype=torch.int64, device=users.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        nnz = int(offsets[-1])
        shift = (starts - offsets[:-1]).repeat_interleave(counts, output_size=nnz)
        items = self.items[torch.arange(nnz, device=users.device) + shift].long()
        values = torch.ones(nnz, device=users.device)
        return Rows(items, offsets, values, self.n_items)

    def extra_repr(self) -> str:
        return f"users={len(self.offsets) - 1}, items={self.n_items}, interactions={len(self.items)}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Interactions:
        # The tensors are never written to, so a copy of the model (RecBole makes one to count FLOPs) shares
        # them. The module itself is new, because RecBole attaches its counters to the copy.
        shared = Interactions.__new__(Interactions)
        nn.Module.__init__(shared)
        shared.n_items = self.n_items
        for name, buffer in self.named_buffers():
            shared.register_buffer(name, buffer, persistent=False)
        return shared
