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

from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.serving.bundle import Bundle, read_bundle
from recbole_vae_plugin.serving.histories import Histories, Unknown, columns_of, item_id, read_histories
from recbole_vae_plugin.serving.shortlist import Shortlist
from recbole_vae_plugin.serving.vocabulary import FIRST_COLUMN
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, refuse

#: The most scores in memory at once (float32: 64 MiB); larger batches are processed in chunks.
MAX_SCORES = 2**24

#: The recommendations for one user: (item id, score), best first.
Ranking = list[tuple[str, float]]


@cache
def survive_forks() -> None:
    """Limit forked child processes to one thread.

    A child does not inherit the parent's threads, and torch would wait for them forever. It can raise the
    limit with ``torch.set_num_threads`` before its first computation.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class Recommender:
    """A trained model that recommends items based on a user's history, also for users not seen in training.

    Item ids are those of the data set, as strings; ints are converted. Unknown ids are skipped, with one
    warning per call. Recommenders are thread-safe: calls only change caches. The first call of
    ``similar_items`` caches the embeddings of all items, and the first recommendation for a single user
    of a large catalogue an 8-bit copy of the output layer, a quarter of its size.

    Args:
        bundle: as returned by :func:`~recbole_vae_plugin.serving.bundle.read_bundle`.
    """

    def __init__(self, bundle: Bundle) -> None:
        survive_forks()
        self.bundle = bundle
        self.vocabulary = bundle.vocabulary

    @classmethod
    def load(cls, path: str | Path) -> Recommender:
        """Load a bundle written by ``recbole-vae bundle``, without RecBole.

        Raises:
            BundleError: it cannot be read, or is damaged.
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
    ) -> list[Any]:
        """Recommend the k items with the highest scores, best first.

        A batch is processed in chunks, so that memory is bounded by the result and :data:`MAX_SCORES`
        scores. For a history without known items, the most popular items of the training data are
        recommended, with a warning; their scores are their numbers of users.

        Args:
            items: the user's history, a list of item ids. Or a batch: a list of such lists, or a scipy
                sparse matrix ``[users, items]`` whose nonzero entries are the items in the histories.
            k: the number of recommendations per user; fewer if fewer items remain.
            exclude: items that must not be recommended.
            allow: the only items that may be recommended.
            include_seen: whether items in the user's history may be recommended.
            with_scores: whether to return (id, score) pairs. Scores rank the items for one user; they
                are not probabilities.
            vocabulary: with a matrix, the item id of each column.
            batch: whether ``items`` is a batch. By default this is inferred, and an empty list is taken for
                one user without items; with ``batch=True`` it is a batch without users.

        Returns:
            A list of item ids or pairs; for a batch a list of such lists, one per user.

        Raises:
            ValueError: an argument is invalid; the message names it.
        """
        for name, value in (("include_seen", include_seen), ("with_scores", with_scores)):
            if not isinstance(value, (bool, np.bool_)):
                refuse(name, value, "True or False")
        histories = read_histories(items, self.vocabulary, vocabulary, batch)
        excluded = self._excluded_columns(exclude, allow, histories.unknown)
        rankings = self.rank(histories, k, excluded, include_seen)
        _warn_about(histories)
        if with_scores:
            return rankings[0] if histories.is_single else rankings
        ids = [[item for item, _ in ranking] for ranking in rankings]
        return ids[0] if histories.is_single else ids

    def rank(
        self,
        histories: Histories,
        k: int,
        excluded: Sequence[int] = (),
        include_seen: bool = False,
    ) -> list[Ranking]:
        """Like :meth:`recommend`, for histories that have already been parsed, and without warnings.

        Args:
            histories: of B users.
            k: the maximum number of recommendations per user.
            excluded: columns that must not be recommended.
            include_seen: whether items in a user's history may be recommended.

        Returns:
            B lists of (id, score).
        """
        k = integer("k", k, 1)
        rows = histories.rows
        masked = torch.tensor([*range(FIRST_COLUMN), *excluded])
        chunk_size = max(1, MAX_SCORES // rows.n_items)
        rankings: list[Ranking] = []
        for begin in range(0, len(rows), chunk_size):
            chunk = rows.slice(begin, min(begin + chunk_size, len(rows)))
            rankings += self._rank(chunk, k, masked, include_seen)
        empty = (rows.counts == 0).nonzero().flatten().tolist()
        if empty:
            popular = self._most_popular(k, excluded)
            for user in empty:
                rankings[user] = list(popular)
        return rankings

    @torch.inference_mode()
    def _rank(self, rows: Rows, k: int, masked: Tensor, include_seen: bool) -> list[Ranking]:
        k = min(k, rows.n_items)
        if len(rows) == 1 and self._shortlist is not None:
            values, columns = self._topk_of_shortlist(self._shortlist, rows, k, masked, include_seen)
        else:
            scores, _ = self.bundle.network(rows)
            _mask(scores, rows, masked, include_seen)
            values, columns = scores.topk(k)
        if not (values[:, 0] < torch.inf).all():
            raise Refused("the model's scores are not finite: its weights are too large or damaged")
        ids, first = self.vocabulary.ids, FIRST_COLUMN
        every_column: list[list[int]] = columns.tolist()
        every_score: list[list[float]] = values.tolist()
        return [
            [(ids[column - first], score) for column, score in zip(*ranked) if score != -torch.inf]
            for ranked in zip(every_column, every_score)
        ]

    def _topk_of_shortlist(
        self, shortlist: Shortlist, rows: Rows, k: int, masked: Tensor, include_seen: bool
    ) -> tuple[Tensor, Tensor]:
        network = self.bundle.network
        hidden = network.decode(network.latent(network.encode(rows)))
        offset = network.output.bias[None]
        offset = offset.clone() if network.linear is None else offset + network.linear(rows)
        _mask(offset, rows, masked, include_seen)
        columns = shortlist.candidates(hidden, offset[0], k)
        scores = F.linear(hidden, network.output.weight[columns], offset[0, columns])
        values, indices = scores.topk(k)
        return values, columns[indices]

    @cached_property
    def _shortlist(self) -> Shortlist | None:
        return Shortlist.of(self.bundle.network.output.weight)

    def _most_popular(self, k: int, excluded: Sequence[int]) -> Ranking:
        allowed = ~np.isin(self.vocabulary.by_popularity, np.asarray(excluded, dtype=np.int64))
        columns = self.vocabulary.by_popularity[allowed][:k].tolist()
        return [
            (self.vocabulary.id_at(column), float(self.vocabulary.count_at(column))) for column in columns
        ]

    def _excluded_columns(
        self, exclude: Iterable[Any] | None, allow: Iterable[Any] | None, unknown: Unknown
    ) -> list[int]:
        excluded = set() if exclude is None else set(columns_of(exclude, self.vocabulary, unknown))
        if allow is not None:
            every = range(FIRST_COLUMN, self.vocabulary.width)
            excluded |= set(every).difference(columns_of(allow, self.vocabulary, unknown))
        return sorted(excluded)

    def similar_items(self, item: Any, k: int = 10, *, with_scores: bool = False) -> list[Any]:
        """The k items most similar to an item, best first, without the item itself.

        Similarity is the cosine between the embeddings of items, where the embedding of an item is the
        posterior mean of a history that consists of this item alone. The first call encodes every item.

        Args:
            item: the item id.
            k: the number of items; fewer if there are fewer.
            with_scores: whether to return (id, cosine) pairs.

        Raises:
            ValueError: the item is unknown.
        """
        name = item_id(item)
        column = self.vocabulary.columns.get(name)
        if column is None:
            allowed = f"one of the {len(self.vocabulary)} items of the model"
            refuse("item", item, allowed + did_you_mean(name, self.vocabulary.ids))
        with torch.inference_mode():
            cosines = self._item_embeddings @ self._item_embeddings[column]
            cosines[[*range(FIRST_COLUMN), column]] = -torch.inf
            values, columns = cosines.topk(min(integer("k", k, 1), len(self.vocabulary) - 1))
        ranked = [
            (self.vocabulary.id_at(near), value) for near, value in zip(columns.tolist(), values.tolist())
        ]
        return ranked if with_scores else [near for near, _ in ranked]

    @cached_property
    def _item_embeddings(self) -> Tensor:
        """The normalised posterior mean of each item on its own: float32 ``[n_items, latent_dimension]``."""
        width = self.vocabulary.width
        singletons = Rows(torch.arange(width), torch.arange(width + 1), torch.ones(width), width)
        chunk_size = max(1, MAX_SCORES // width)
        with torch.inference_mode():
            chunks = [
                self.bundle.network.encode(singletons.slice(begin, min(begin + chunk_size, width))).mu
                for begin in range(0, width, chunk_size)
            ]
            return F.normalize(torch.cat(chunks))

    def encode(
        self, items: Any, *, vocabulary: Sequence[Any] | None = None, batch: bool | None = None
    ) -> Posterior:
        """The posteriors of histories, without noise.

        Args:
            items: one history or a batch, as for :meth:`recommend`.
            vocabulary: with a matrix, the item id of each column.
            batch: whether ``items`` is a batch, as for :meth:`recommend`.

        Returns:
            A named tuple of ``mu`` and ``logvar``, float32 ``[latent_dimension]`` for one user and
            ``[B, latent_dimension]`` for a batch; ``logvar`` is ``None`` for a deterministic head.
        """
        histories = read_histories(items, self.vocabulary, vocabulary, batch)
        if histories.unknown.count:
            warnings.warn(str(histories.unknown), stacklevel=2)
        with torch.inference_mode():
            mu, logvar = self.bundle.network.encode(histories.rows)
            if histories.is_single:
                return Posterior(mu[0], None if logvar is None else logvar[0])
        return Posterior(mu, logvar)

    def codes(
        self, items: Any, *, vocabulary: Sequence[Any] | None = None, batch: bool | None = None
    ) -> Posterior:
        """The former name of :meth:`encode`."""
        warnings.warn("codes has been renamed to encode", FutureWarning, stacklevel=2)
        return self.encode(items, vocabulary=vocabulary, batch=batch)


def _mask(scores: Tensor, rows: Rows, columns: Tensor, include_seen: bool) -> None:
    """Set the scores ``[B, n_items]`` of some columns and of the items in the B histories to -inf."""
    scores.index_fill_(1, columns, -torch.inf)
    if not include_seen:
        scores[rows.row_index, rows.items] = -torch.inf


def _warn_about(histories: Histories) -> None:
    """Issue one warning about unknown items and empty histories."""
    notes = [str(histories.unknown)] if histories.unknown.count else []
    empty = int((histories.rows.counts == 0).sum())
    if empty and histories.is_single:
        hint = "" if histories.unknown.count else "; with batch=True an empty list is a batch without users"
        notes.append(f"the history contains no known item: these are the most popular items{hint}")
    elif empty:
        share = f"{empty} of {len(histories.rows)} histories"
        notes.append(f"{share} contain no known item: these users get the most popular items")
    if notes:
        warnings.warn("; ".join(notes), stacklevel=3)
