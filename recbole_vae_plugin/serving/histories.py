"""Parsing users' histories, as lists of item ids or matrices, into sparse rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.serving.vocabulary import Vocabulary
from recbole_vae_plugin.settings.validation import refuse

#: The number of unknown items that a warning names.
MAX_NAMED = 3


class Unknown:
    """Counts item ids that are not in the vocabulary, and remembers the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, names: Sequence[str], count: int | None = None) -> None:
        """Add unknown items; repeated ones are counted repeatedly.

        Args:
            names: all of the items, or the first few.
            count: the number of items, if ``names`` are not all of them.
        """
        self.count += len(names) if count is None else count
        for name in names:
            if len(self.first) == MAX_NAMED:
                break
            if name not in self.first:
                self.first.append(name)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        noun = "unknown item" if self.count == 1 else "unknown items"
        return f"{self.count} {noun} skipped: {', '.join(map(repr, self.first))}{more}"


@dataclass(frozen=True)
class Histories:
    """The histories of one or several users.

    Attributes:
        rows: one row per user with their known items, without duplicates, each with the value 1.
        is_single: whether the caller gave a single history rather than a batch.
        unknown: the items that were skipped.
    """

    rows: Rows
    is_single: bool
    unknown: Unknown


def item_id(value: Any) -> str:
    """An item id as RecBole's token, a string.

    Raises:
        ValueError: it is neither a string nor an int.
    """
    if getattr(value, "ndim", None) == 0:  # a scalar of numpy or torch
        value = value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    refuse("item", value, "an item id, which is a string or an int")


def columns_of(items: Iterable[Any], vocabulary: Vocabulary, unknown: Unknown) -> list[int]:
    """The columns of the items, without duplicates; unknown items are added to ``unknown``.

    Raises:
        ValueError: an item is neither a string nor an int, or ``items`` is not a list.
    """
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        refuse("items", items, "a list of item ids")
    names = dict.fromkeys(map(item_id, items))
    missing = [name for name in names if name not in vocabulary.columns]
    unknown.add(missing)
    return [vocabulary.columns[name] for name in names if name in vocabulary.columns]


def is_list(value: Any) -> bool:
    """Whether a value is a list of items rather than an item."""
    return (
        isinstance(value, Iterable)
        and not isinstance(value, (str, bytes, Integral))
        and getattr(value, "ndim", 1) > 0
    )


def read_histories(
    items: Any, vocabulary: Vocabulary, columns: Sequence[Any] | None = None, batch: bool | None = None
) -> Histories:
    """Parse histories in any of the supported forms.

    Args:
        items: the item ids of one user, a list of such lists, or a scipy sparse matrix
            ``[users, items]`` whose nonzero entries are the items in the histories.
        vocabulary: the items of the network.
        columns: with a matrix, the item id of each column.
        batch: whether ``items`` is a batch of users. ``None`` infers it; an empty list is then taken for
            one user without items. A matrix is always a batch.

    Raises:
        ValueError: ``items`` has none of these forms, or contradicts ``batch``.
    """
    if batch is not None and not isinstance(batch, (bool, np.bool_)):
        refuse("batch", batch, "True, False or None")
    if hasattr(items, "tocsr"):
        if batch is not None and not batch:
            refuse("batch", batch, "True or None with a matrix")
        return _read_matrix(items, vocabulary, columns)
    if columns is not None:
        refuse("vocabulary", type(items).__name__, "only with a scipy sparse matrix")
    if getattr(items, "ndim", 1) != 1:
        refuse("items", type(items).__name__, "a list of lists of item ids, or a scipy sparse matrix")
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        refuse("items", items, "a list of item ids, or a list of such lists")
    items = list(items)
    lists = [is_list(each) for each in items]
    if any(lists) and not all(lists):
        refuse("items", items[lists.index(False)], "only item ids, or only lists of item ids")
    is_batch = any(lists) if batch is None else bool(batch)
    if items and is_batch != any(lists):
        refuse("items", items[0], f"{'lists of item ids' if is_batch else 'item ids'} with batch={batch}")
    unknown = Unknown()
    histories = [columns_of(history, vocabulary, unknown) for history in (items if is_batch else [items])]
    flat = [column for history in histories for column in history]
    offsets = np.cumsum([0, *map(len, histories)])
    return Histories(_rows(flat, offsets, vocabulary), not is_batch, unknown)


def _read_matrix(matrix: Any, vocabulary: Vocabulary, columns: Sequence[Any] | None) -> Histories:
    if len(matrix.shape) != 2:
        refuse("items", f"a sparse array of {len(matrix.shape)} dimension(s)", "a matrix [users, items]")
    if isinstance(columns, (str, bytes, Mapping)) or not isinstance(columns, Iterable | None):
        refuse("vocabulary", columns, f"a list of {matrix.shape[1]} item ids, one per column")
    columns = None if columns is None else list(columns)
    if columns is None or len(columns) != matrix.shape[1]:
        length = None if columns is None else len(columns)
        refuse("vocabulary", length, f"a list of {matrix.shape[1]} item ids, one per column")
    names = [item_id(name) for name in columns]
    if len(set(names)) < len(names):
        duplicate = next(name for name, count in Counter(names).items() if count > 1)
        refuse("vocabulary", duplicate, "unique item ids")
    matrix = matrix.tocsr(copy=True)
    matrix.sum_duplicates()
    if np.isnan(matrix.data.astype(np.float64, copy=False)).any():
        refuse("items", "a matrix with NaN", "a matrix of numbers, 0 for items outside a user's history")
    matrix.eliminate_zeros()
    own_columns = np.array([vocabulary.columns.get(name, 0) for name in names], dtype=np.int64)[
        matrix.indices
    ]
    known = own_columns > 0
    unknown = Unknown()
    unknown.add([names[column] for column in matrix.indices[~known]])
    n_before = np.concatenate([[0], np.cumsum(known)])
    return Histories(_rows(own_columns[known], n_before[matrix.indptr], vocabulary), False, unknown)


def _rows(items: Sequence[int] | np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary) -> Rows:
    return Rows(
        torch.as_tensor(items, dtype=torch.int64),
        torch.as_tensor(offsets, dtype=torch.int64),
        torch.ones(len(items)),
        vocabulary.width,
    )
