"""Recommendations for one user, in the terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence

from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.serving.vocabulary import Vocabulary


def show(recommender: Recommender, items: Sequence[str], k: int) -> None:
    """Print k recommendations based on a history; warnings go to standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ranked = recommender.recommend(items, k, with_scores=True)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    known = [item for item in items if item in recommender.vocabulary.columns]
    if known:
        print(f"based on: {titles(known, recommender.vocabulary)}\n")
    print(table(ranked, recommender.vocabulary))


def table(ranked: Sequence[tuple[str, float]], vocabulary: Vocabulary) -> str:
    """A table of ranks, item ids, scores and, if the bundle has them, titles."""
    # not with tabulate, which is only installed for training
    rows: list[tuple[str, ...]] = [("rank", "item", "score", "title")]
    rows += [
        (str(rank), item, f"{score:.4g}", vocabulary.title_of(item))
        for rank, (item, score) in enumerate(ranked, start=1)
    ]
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        f"{rank:>{widths[0]}}  {item:<{widths[1]}}  {score:>{widths[2]}}"
        + (f"  {title}" if vocabulary.titles else "")
        for rank, item, score, title in rows
    )


def titles(items: Iterable[str], vocabulary: Vocabulary) -> str:
    """The titles of items, or their ids if they have none, separated by commas."""
    return ", ".join(printable(vocabulary.title_of(item) or item) for item in items)


def printable(text: str) -> str:
    """A text from a bundle, without characters that control the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
