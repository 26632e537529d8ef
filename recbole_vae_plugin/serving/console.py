"""Recommendations to one user, for the terminal."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence

from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.serving.vocabulary import Vocabulary


def show(recommender: Recommender, items: Sequence[str], k: int) -> None:
    """Print k recommendations to who has these items; warnings go to standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = recommender.recommend(items, k, with_scores=True)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    known = [item for item in items if item in recommender.vocabulary.columns]
    if known:
        print(f"for who has {named(known, recommender.vocabulary)}:\n")
    print(table(found, recommender.vocabulary))


def table(found: Sequence[tuple[str, float]], vocabulary: Vocabulary) -> str:
    """A line an item: its rank, its id, its score, and its title where the bundle has titles."""
    # by hand: serving alone has no tabulate
    rows = [("rank", "item", "score", "title")]
    rows += [
        (str(rank), item, f"{score:.4g}", vocabulary.title_of(item))
        for rank, (item, score) in enumerate(found, start=1)
    ]
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        f"{rank:>{widths[0]}}  {item:<{widths[1]}}  {score:>{widths[2]}}"
        + (f"  {title}" if vocabulary.titles else "")
        for rank, item, score, title in rows
    )


def named(items: Iterable[str], vocabulary: Vocabulary) -> str:
    """Items in one line, by title where they have one."""
    return ", ".join(printable(vocabulary.title_of(item) or item) for item in items)


def printable(text: str) -> str:
    """A text from a bundle without what would steer the terminal."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
