"""Which item is which column of a network, and what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recbole_vae_plugin.settings.validation import refuse

#: Column 0 is RecBole's padding, an item that nobody has; the first real one comes after it.
FIRST = 1


def is_count(value: Any) -> bool:
    """Whether a value is a whole number that an int64 holds, and not below 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


@dataclass(frozen=True)
class Vocabulary:
    """The items in the order of the network's columns, which begin at :data:`FIRST`.

    Attributes:
        ids: original item ids, RecBole's tokens, each once.
        popularity: how many users had each item in the training data.
        titles: what to show for each item; ``None`` where there is nothing, for one or for all.

    Raises:
        ValueError: there are no items, an entry is of the wrong kind, the lists differ in length, or
            an id is there twice.
    """

    ids: Sequence[str]
    popularity: Sequence[int]
    titles: Sequence[str | None] | None = None

    def __post_init__(self):
        if not isinstance(self.ids, list) or not self.ids:
            refuse("ids", self.ids, "a list of at least one item id")
        self._check("ids", self.ids, lambda one: isinstance(one, str), "text")
        self._check("popularity", self.popularity, is_count, "a count of users")
        if self.titles is not None:
            self._check("titles", self.titles, lambda one: isinstance(one, str | None), "text or null")
        if len(self.columns) < len(self.ids):
            twice = next(one for one, times in Counter(self.ids).items() if times > 1)
            refuse("ids", twice, "each item id once")

    def _check(self, name: str, values: Any, allows: Callable[[Any], bool], allowed: str) -> None:
        if not isinstance(values, list) or len(values) != len(self.ids):
            found = len(values) if isinstance(values, list) else values
            refuse(name, found, f"a list of {len(self.ids)} entries, one for each item id")
        for value in values:
            if not allows(value):
                refuse(name, value, allowed)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Columns of the network, the padding included."""
        return FIRST + len(self.ids)

    @cached_property
    def columns(self) -> dict[str, int]:
        """Item id -> column."""
        return {one: column for column, one in enumerate(self.ids, start=FIRST)}

    @cached_property
    def by_popularity(self) -> np.ndarray:
        """All columns, the most popular item first; of equally popular ones the earlier: int64."""
        return FIRST + np.argsort(-np.asarray(self.popularity, dtype=np.int64), kind="stable")

    def id_at(self, column: int) -> str:
        """The item id of a column."""
        return self.ids[column - FIRST]

    def count_at(self, column: int) -> int:
        """The popularity of a column."""
        return self.popularity[column - FIRST]

    def title_of(self, item: Any) -> str:
        """What to show for an item: its title, or "" where there is none."""
        column = self.columns.get(str(item))
        if column is None or self.titles is None:
            return ""
        return self.titles[column - FIRST] or ""
