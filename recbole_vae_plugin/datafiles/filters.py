"""What is left out of the interactions: repetitions, low ratings, users and items with few interactions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_vae_plugin.datafiles.interactions import Interactions
from recbole_vae_plugin.settings.validation import Refused, refuse

DUPLICATES = ("keep", "first", "last", "error")


@dataclass(frozen=True)
class Filters:
    """In the order in which they apply.

    Attributes:
        duplicates: which interaction of a user with the same item is kept, by time or, without times, by the
            order in the files: all, the ``first`` or the ``last``; ``error`` refuses them.
        min_rating: the least rating that counts as an interaction.
        min_user, min_item: the least number of interactions of a user and of an item, applied in turns until
            all have as many.
    """

    duplicates: str = "last"
    min_rating: float | None = None
    min_user: int = 0
    min_item: int = 0

    def apply(self, interactions: Interactions) -> tuple[Interactions, dict[str, int]]:
        """Returns the interactions that are left, in the order of time, and what was dropped: reason -> rows.

        Raises:
            Refused: a filter does not fit the data, or leaves nothing.
        """
        if self.min_rating is not None and interactions.ratings is None:
            refuse("--min-rating", self.min_rating, "only with a rating column; give --rating")
        if interactions.times is not None:
            interactions = interactions.take(np.argsort(interactions.times, kind="stable"))
        dropped = {}
        for reason, filter_ in (
            ("repeated user and item", self._without_duplicates),
            (f"rating below {self.min_rating or 0:g}", self._above_min_rating),
            (self._core_words(), self._core),
        ):
            left = filter_(interactions)
            if len(left) < len(interactions):
                dropped[reason] = len(interactions) - len(left)
            if not len(left):
                found = (
                    "; ".join(f"{rows:,} rows: {why}" for why, rows in dropped.items()) or "no complete row"
                )
                raise Refused(f"nothing is left of the data ({found})")
            interactions = left
        return interactions, dropped

    def _without_duplicates(self, interactions: Interactions) -> Interactions:
        if self.duplicates == "keep":
            return interactions
        pairs = interactions.users.astype(np.int64) * len(interactions.item_ids) + interactions.items
        places = np.arange(len(pairs))
        if self.duplicates == "last":
            places = places[::-1]
        kept = np.sort(places[np.unique(pairs[places], return_index=True)[1]])
        if self.duplicates == "error" and len(kept) < len(pairs):
            self._refuse_duplicate(interactions, pairs, kept)
        return interactions if len(kept) == len(pairs) else interactions.take(kept)

    @staticmethod
    def _refuse_duplicate(interactions: Interactions, pairs: np.ndarray, kept: np.ndarray) -> None:
        again = int(np.setdiff1d(np.arange(len(pairs)), kept)[0])
        first = int((pairs == pairs[again]).argmax())
        user = interactions.user_ids[interactions.users[again]]
        item = interactions.item_ids[interactions.items[again]]
        raise Refused(
            f"{interactions.place(again)}: user {user!r} and item {item!r} are also in "
            f"{interactions.place(first)}; allowed with --duplicates keep, first or last"
        )

    def _above_min_rating(self, interactions: Interactions) -> Interactions:
        if self.min_rating is None or interactions.ratings is None:
            return interactions
        return interactions.take(interactions.ratings >= self.min_rating)

    def _core_words(self) -> str:
        return f"user with fewer than {self.min_user} or item with fewer than {self.min_item} interactions"

    def _core(self, interactions: Interactions) -> Interactions:
        if self.min_user <= 1 and self.min_item <= 1:
            return interactions
        while True:
            enough = np.ones(len(interactions), dtype=bool)
            for numbers, least in ((interactions.users, self.min_user), (interactions.items, self.min_item)):
                enough &= np.bincount(numbers)[numbers] >= least if len(numbers) else True
            if enough.all():
                return interactions
            interactions = interactions.take(enough)
