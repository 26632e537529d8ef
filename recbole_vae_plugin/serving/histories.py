"""What a caller says that users have, as sparse rows over a network's columns."""

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

#: How many of the unknown items a warning names.
NAMED = 3


class Unknown:
    """Counts ids that the vocabulary does not have, and keeps the first few."""

    def __init__(self):
        self.count = 0
        self.first: list[str] = []

    def add(self, names: Sequence[str], count: int | None = None) -> None:
        """Note some more; a name that comes twice counts twice.

        Args:
            names: all of them, or the first few.
            count: how many there are, if not all are named.
        """
        self.count += len(names) if count is None else count
        for name in names:
            if len(self.first) == NAMED:
                break
            if name not in self.first:
                self.first.append(name)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.first) else ""
        what = "unknown item" if self.count == 1 else "unknown items"
        return f"{self.count} {what} skipped: {', '.join(map(repr, self.first))}{more}"


@dataclass(frozen=True)
class Histories:
    """Histories of one or several users.

    Attributes:
        rows: one row a user, each known item once, with value 1.
        of_one_user: whether the caller gave one history rather than a batch.
        unknown: the items that are not among them.
    """

    rows: Rows
    of_one_user: bool
    unknown: Unknown


def item_id(value: Any) -> str:
    """An item id as RecBole's token for it.

    Raises:
        ValueError: it is neither a string nor an int.
    """
    if getattr(value, "ndim", None) == 0:  # a number of numpy or torch
        value = value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    refuse("item", value, "an item id, which is a string or an int")


def columns_of(items: Iterable[Any], vocabulary: Vocabulary, unknown: Unknown) -> list[int]:
    """The columns of the items, each once; what has none is noted.

    Raises:
        ValueError: an item is neither a string nor an int, or ``items`` are not a list.
    """
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        refuse("items", items, "a list of item ids")
    names = dict.fromkeys(map(item_id, items))
    missing = [name for name in names if name not in vocabulary.columns]
    unknown.add(missing)
    return [vocabulary.columns[name] for name in names if name in vocabulary.columns]


def is_list(value: Any) -> bool:
    """Whether a value has items, rather than being one."""
    return (
        isinstance(value, Iterable)
        and not isinstance(value, (str, bytes, Integral))
        and getattr(value, "ndim", 1) > 0
    )


def read_histories(
    items: Any, vocabulary: Vocabulary, columns: Sequence[Any] | None = None, batch: bool | None = None
) -> Histories:
    """Understand what a caller may give.

    Args:
        items: ids of one user's items, a list of such lists, or a scipy sparse matrix
            ``[users, items]`` in which every entry other than 0 is an item of the user's.
        vocabulary: the network's items.
        columns: with a matrix, the item id of each of its columns.
        batch: whether the items are of several users; ``None``: as they look, and an empty list looks like
            one user without items. A matrix is always of several.

    Raises:
        ValueError: it is none of these, or not what ``batch`` says.
    """
    if batch is not None and not isinstance(batch, (bool, np.bool_)):
        refuse("batch", batch, "True, False or None")
    if hasattr(items, "tocsr"):
        if batch is not None and not batch:
            refuse("batch", batch, "True or None with a matrix")
        return _of_matrix(items, vocabulary, columns)
    if columns is not None:
        refuse("vocabulary", type(items).__name__, "only with a scipy sparse matrix")
    if getattr(items, "ndim", 1) != 1:
        refuse("items", type(items).__name__, "a list of lists of item ids, or a scipy sparse matrix")
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        refuse("items", items, "a list of item ids, or a list of such lists")
    items = list(items)
    lists = [is_list(one) for one in items]
    if any(lists) and not all(lists):
        refuse("items", items[lists.index(False)], "item ids only, or lists of item ids only")
    several = any(lists) if batch is None else bool(batch)
    if items and several != any(lists):
        refuse("items", items[0], f"{'lists of item ids' if several else 'item ids'} with batch={batch}")
    unknown = Unknown()
    found = [columns_of(one, vocabulary, unknown) for one in (items if several else [items])]
    flat = [column for row in found for column in row]
    offsets = np.cumsum([0, *map(len, found)])
    return Histories(_rows(flat, offsets, vocabulary), not several, unknown)


def _of_matrix(matrix, vocabulary: Vocabulary, columns: Sequence[Any] | None) -> Histories:
    if len(matrix.shape) != 2:
        refuse("items", f"a sparse array of {len(matrix.shape)} dimension(s)", "a matrix [users, items]")
    if isinstance(columns, (str, bytes, Mapping)) or not isinstance(columns, Iterable | None):
        refuse("vocabulary", columns, f"a list of {matrix.shape[1]} item ids, one a column")
    columns = None if columns is None else list(columns)
    if columns is None or len(columns) != matrix.shape[1]:
        found = None if columns is None else len(columns)
        refuse("vocabulary", found, f"a list of {matrix.shape[1]} item ids, one a column")
    names = [item_id(name) for name in columns]
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        refuse("vocabulary", twice, "each item id once")
    matrix = matrix.tocsr(copy=True)
    matrix.sum_duplicates()
    if np.isnan(matrix.data.astype(np.float64, copy=False)).any():
        refuse("items", "a matrix with NaN", "a matrix of numbers, 0 where a user does not have an item")
    matrix.eliminate_zeros()
    ours = np.array([vocabulary.columns.get(name, 0) for name in names], dtype=np.int64)[matrix.indices]
    known = ours > 0
    unknown = Unknown()
    unknown.add([names[column] for column in matrix.indices[~known]])
    before = np.concatenate([[0], np.cumsum(known)])
    return Histories(_rows(ours[known], before[matrix.indptr], vocabulary), False, unknown)


def _rows(items: Sequence[int], offsets: np.ndarray, vocabulary: Vocabulary) -> Rows:
    return Rows(
        torch.as_tensor(items, dtype=torch.int64),
        torch.as_tensor(offsets, dtype=torch.int64),
        torch.ones(len(items)),
        vocabulary.width,
    )
