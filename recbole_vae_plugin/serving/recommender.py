"""Recommendations from a bundle: item ids in, item ids out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.serving.bundle import Bundle, read_bundle
from recbole_vae_plugin.serving.histories import Histories, Unknown, columns_of, item_id, read_histories
from recbole_vae_plugin.serving.shortlist import Shortlist
from recbole_vae_plugin.serving.vocabulary import FIRST
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, refuse

#: A batch is worked off in parts of at most this many scores (float32: 64 MiB).
MOST_SCORES = 2**24

Scored = list[tuple[str, float]]


@cache
def survive_forks() -> None:
    """A child that is forked off computes with one thread: it has none of the parent's others, and torch
    would wait for them for ever. ``torch.set_num_threads`` gives it more, before it computes."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class Recommender:
    """A trained model that recommends to anybody whose items are known, users of its training or not.

    Item ids are those of the data set, as strings; ints are taken for the strings they print as. Ids
    that the model does not know are skipped, with one warning a call. Threads may share an object:
    all that calls change is that the first of ``similar_items`` keeps the codes of all items, and the
    first for one user of a large catalogue a copy of the output layer in 8 bits, a quarter of its size.

    Args:
        bundle: what :func:`~recbole_vae_plugin.serving.bundle.read_bundle` returns.
    """

    def __init__(self, bundle: Bundle):
        survive_forks()
        self.bundle = bundle
        self.vocabulary = bundle.vocabulary

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """Read a bundle that ``recbole-vae bundle`` wrote; RecBole is not needed.

        Raises:
            BundleError: it cannot be read, or has been damaged.
        """
        return cls(read_bundle(path))

    def recommend(
        self,
        items: Any,
        k: int = 10,
        *,
        exclude: Iterable[Any] | None = None,
        allow: Iterable[Any] | None = None,
        include_seen: bool = False,
        with_scores: bool = False,
        vocabulary: Sequence[Any] | None = None,
        batch: bool | None = None,
    ) -> list:
        """The k items that score highest, best first.

        A batch is worked off in parts: beside the answer it takes memory for :data:`MOST_SCORES`
        scores, however many users there are. A history without a known item gets the items that most
        users had in the training data, with a warning; their scores are those numbers of users.

        Args:
            items: what a user has: a list of item ids. Or a batch: a list of such lists, or a scipy
                sparse matrix ``[users, items]``, every entry other than 0 an item of the user's.
            k: how many; fewer are returned where fewer are left.
            exclude: items that nobody is to get.
            allow: the only items that anybody is to get.
            include_seen: whether a user may get what he has.
            with_scores: whether to return (id, score) pairs. Scores order the items of one user; they
                are no probabilities.
            vocabulary: with a matrix, the item id of each of its columns.
            batch: whether ``items`` are a batch; by default they are if they look like one. An empty list
                looks like one user without items, and with ``batch=True`` it is a batch without users.

        Returns:
            A list of item ids, or of pairs; for a batch a list of such lists, as many as there are users.

        Raises:
            ValueError: an argument is not what it should be; the message names it.
        """
        for name, value in (("include_seen", include_seen), ("with_scores", with_scores)):
            if not isinstance(value, (bool, np.bool_)):
                refuse(name, value, "True or False")
        histories = read_histories(items, self.vocabulary, vocabulary, batch)
        never = self._columns_left_out(exclude, allow, histories.unknown)
        found = self.rank(histories, k, never, include_seen)
        _warn_of(histories)
        if not with_scores:
            found = [[item for item, _ in one] for one in found]
        return found[0] if histories.of_one_user else found

    def rank(
        self,
        histories: Histories,
        k: int,
        never: Sequence[int] = (),
        include_seen: bool = False,
    ) -> list[Scored]:
        """As :meth:`recommend`, from histories that have been read, and without warnings.

        Args:
            histories: of B users.
            k: how many items each user gets at most.
            never: columns that nobody is to get.
            include_seen: whether a user may get what he has.

        Returns:
            B lists of (id, score).
        """
        k = integer("k", k, 1)
        rows = histories.rows
        left_out = torch.tensor([*range(FIRST), *never])
        part = max(1, MOST_SCORES // rows.n_items)
        found: list[Scored] = []
        for begin in range(0, len(rows), part):
            some = rows.slice(begin, min(begin + part, len(rows)))
            found += self._rank(some, k, left_out, include_seen)
        empty = (rows.counts == 0).nonzero().flatten().tolist()
        if empty:
            popular = self._popular(k, never)
            for user in empty:
                found[user] = list(popular)
        return found

    @torch.inference_mode()
    def _rank(self, rows: Rows, k: int, left_out: Tensor, include_seen: bool) -> list[Scored]:
        k = min(k, rows.n_items)
        if len(rows) == 1 and self._shortlist is not None:
            values, columns = self._best_of_one(rows, k, left_out, include_seen)
        else:
            scores, _ = self.bundle.network(rows)
            _leave_out(scores, rows, left_out, include_seen)
            values, columns = scores.topk(k)
        if not (values[:, 0] < torch.inf).all():
            raise Refused("the model's scores are not finite: its weights are too large, or damaged")
        ids, first = self.vocabulary.ids, FIRST
        return [
            [(ids[column - first], score) for column, score in zip(*one) if score != -torch.inf]
            for one in zip(columns.tolist(), values.tolist())
        ]

    def _best_of_one(self, rows: Rows, k: int, left_out: Tensor, include_seen: bool) -> tuple[Tensor, Tensor]:
        network = self.bundle.network
        hidden = network.decode(network.latent(network.encode(rows)))
        offset = network.output.bias[None]
        offset = offset.clone() if network.linear is None else offset + network.linear(rows)
        _leave_out(offset, rows, left_out, include_seen)
        columns = self._shortlist.candidates(hidden, offset[0], k)
        scores = F.linear(hidden, network.output.weight[columns], offset[0, columns])
        values, places = scores.topk(k)
        return values, columns[places]

    @cached_property
    def _shortlist(self) -> Shortlist | None:
        return Shortlist.of(self.bundle.network.output.weight)

    def _popular(self, k: int, never: Sequence[int]) -> Scored:
        allowed = ~np.isin(self.vocabulary.by_popularity, np.asarray(never, dtype=np.int64))
        columns = self.vocabulary.by_popularity[allowed][:k].tolist()
        return [
            (self.vocabulary.id_at(column), float(self.vocabulary.count_at(column))) for column in columns
        ]

    def _columns_left_out(self, exclude, allow, unknown: Unknown) -> list[int]:
        never = set() if exclude is None else set(columns_of(exclude, self.vocabulary, unknown))
        if allow is not None:
            every = range(FIRST, self.vocabulary.width)
            never |= set(every).difference(columns_of(allow, self.vocabulary, unknown))
        return sorted(never)

    def similar_items(self, item: Any, k: int = 10, *, with_scores: bool = False) -> list:
        """The k items nearest to one, best first, without the item itself.

        Near means the cosine between codes: items are alike if a user with the one alone is to the
        model much like a user with the other alone. The first call encodes every item once.

        Args:
            item: its id.
            k: how many; fewer where there are fewer items.
            with_scores: whether to return (id, cosine) pairs.

        Raises:
            ValueError: the item is not known.
        """
        name = item_id(item)
        column = self.vocabulary.columns.get(name)
        if column is None:
            known = f"one of the {len(self.vocabulary)} items of the model"
            refuse("item", item, known + did_you_mean(name, self.vocabulary.ids))
        with torch.inference_mode():
            cosines = self._item_directions @ self._item_directions[column]
            cosines[[*range(FIRST), column]] = -torch.inf
            values, columns = cosines.topk(min(integer("k", k, 1), len(self.vocabulary) - 1))
        found = [(self.vocabulary.id_at(one), value) for one, value in zip(columns.tolist(), values.tolist())]
        return found if with_scores else [name for name, _ in found]

    @cached_property
    def _item_directions(self) -> Tensor:
        """The code of each column's item alone, of length 1: float32 ``[n_items, latent_dimension]``."""
        width = self.vocabulary.width
        alone = Rows(torch.arange(width), torch.arange(width + 1), torch.ones(width), width)
        part = max(1, MOST_SCORES // width)
        with torch.inference_mode():
            parts = [
                self.bundle.network.encode(alone.slice(begin, min(begin + part, width))).mu
                for begin in range(0, width, part)
            ]
            return F.normalize(torch.cat(parts))

    @torch.inference_mode()
    def codes(
        self, items: Any, *, vocabulary: Sequence[Any] | None = None, batch: bool | None = None
    ) -> Code:
        """The codes of histories, without noise.

        Args:
            items: one history or a batch, as for :meth:`recommend`.
            vocabulary: with a matrix, the item id of each of its columns.
            batch: whether ``items`` are a batch, as for :meth:`recommend`.

        Returns:
            A named tuple of ``mu`` and ``logvar``, float32 ``[latent_dimension]`` for one user and
            ``[B, latent_dimension]`` for a batch; ``logvar`` is ``None`` for a deterministic head.
        """
        histories = read_histories(items, self.vocabulary, vocabulary, batch)
        if histories.unknown.count:
            warnings.warn(str(histories.unknown), stacklevel=2)
        code = self.bundle.network.encode(histories.rows)
        if histories.of_one_user:
            return Code(*(part if part is None else part[0] for part in code))
        return code


def _leave_out(scores: Tensor, rows: Rows, columns: Tensor, include_seen: bool) -> None:
    """Put -inf in the place of some columns' scores ``[B, n_items]`` and of what the B users have."""
    scores.index_fill_(1, columns, -torch.inf)
    if not include_seen:
        scores[rows.row_index, rows.items] = -torch.inf


def _warn_of(histories: Histories) -> None:
    """One warning for all that was not as the caller may have thought."""
    notes = [str(histories.unknown)] if histories.unknown.count else []
    empty = int((histories.rows.counts == 0).sum())
    if empty and histories.of_one_user:
        hint = "" if histories.unknown.count else "; with batch=True an empty list is no user's"
        notes.append(f"the history holds no known item: these are the popular items{hint}")
    elif empty:
        of_all = f"{empty} of {len(histories.rows)} histories"
        notes.append(f"{of_all} hold no known item: these users get the popular items")
    if notes:
        warnings.warn("; ".join(notes), stacklevel=3)
