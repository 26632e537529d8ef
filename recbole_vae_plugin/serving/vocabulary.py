"""The items of a network: the mapping from ids to columns, popularity and titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recbole_vae_plugin.settings.validation import refuse

#: The column of the first item. Column 0 is RecBole's padding, which is in no history.
FIRST_COLUMN = 1


def is_count(value: Any) -> bool:
    """Whether a value is a non-negative integer that fits into an int64."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


@dataclass(frozen=True)
class Vocabulary:
    """The items in the order of the network's columns, which begin at :data:`FIRST_COLUMN`.

    Attributes:
        ids: the original item ids (RecBole's tokens), which are unique.
        popularity: the number of users of each item in the training data.
        titles: the title of each item; ``None`` for an item without one, or if there are none at all.

    Raises:
        ValueError: there are no items, an entry is of the wrong type, the lists differ in length, or
            an id is not unique.
    """

    ids: Sequence[str]
    popularity: Sequence[int]
    titles: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.ids, list) or not self.ids:
            refuse("ids", self.ids, "a list of at least one item id")
        self._check("ids", self.ids, lambda one: isinstance(one, str), "text")
        self._check("popularity", self.popularity, is_count, "a count of users")
        if self.titles is not None:
            self._check("titles", self.titles, lambda one: isinstance(one, str | None), "text or null")
        if len(self.columns) < len(self.ids):
            duplicate = next(item for item, count in Counter(self.ids).items() if count > 1)
            refuse("ids", duplicate, "unique item ids")

    def _check(self, name: str, values: Any, allows: Callable[[Any], bool], allowed: str) -> None:
        if not isinstance(values, list) or len(values) != len(self.ids):
            given = len(values) if isinstance(values, list) else values
            refuse(name, given, f"a list of {len(self.ids)} entries, one for each item id")
        for value in values:
            if not allows(value):
                refuse(name, value, allowed)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """The number of columns of the network, including the padding."""
        return FIRST_COLUMN + len(self.ids)

    @cached_property
    def columns(self) -> dict[str, int]:
        """Item id -> column."""
        return {item: column for column, item in enumerate(self.ids, start=FIRST_COLUMN)}

    @cached_property
    def by_popularity(self) -> np.ndarray:
        """All columns in descending order of popularity, ties in ascending order of columns: int64."""
        return FIRST_COLUMN + np.argsort(-np.asarray(self.popularity, dtype=np.int64), kind="stable")

    def id_at(self, column: int) -> str:
        """The item id of a column."""
        return self.ids[column - FIRST_COLUMN]

    def count_at(self, column: int) -> int:
        """The popularity of a column."""
        return self.popularity[column - FIRST_COLUMN]

    def title_of(self, item: Any) -> str:
        """The title of an item; an empty string if it has none."""
        column = self.columns.get(str(item))
        if column is None or self.titles is None:
            return ""
        return self.titles[column - FIRST_COLUMN] or ""
