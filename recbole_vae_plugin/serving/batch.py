"""Recommendations for a file of users, processed in chunks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from tqdm import tqdm

from recbole_vae_plugin.serving.histories import Unknown, item_id, read_histories
from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import replacing

#: The number of users to rank at once, and of lines to hold in memory.
CHUNK_SIZE = 1024
#: The number of bad lines to report one by one; the others are only counted.
MAX_REPORTED = 20
EXAMPLE_LINE = '{"user": "ann", "items": ["1", "50"]}'


@dataclass
class Summary:
    """The outcome of a batch of recommendations.

    Attributes:
        users: the number of users with recommendations.
        bad_lines: the number of lines that were skipped.
        unknown: the items that were skipped.
        popular: the number of users without a known item, to whom the most popular items were recommended.
    """

    users: int = 0
    bad_lines: int = 0
    unknown: Unknown = field(default_factory=Unknown)
    popular: int = 0

    def __str__(self) -> str:
        warnings = self.bad_lines + self.unknown.count + self.popular
        parts = []
        if self.bad_lines:
            parts.append(f"bad lines skipped: {self.bad_lines}")
        if self.unknown.count:
            parts.append(str(self.unknown))
        if self.popular:
            parts.append(f"users without a known item, who get the most popular ones: {self.popular}")
        return f"users: {self.users}; warnings: {warnings}" + "".join(f"\n  {part}" for part in parts)


def recommend_many(recommender: Recommender, source: Path, target: Path, k: int) -> Summary:
    """Recommend items to each user in a file, in chunks of :data:`CHUNK_SIZE` users.

    A line of ``source`` is an object with ``user``, a string or a number, and ``items``, a list of item
    ids. A line of ``target`` has the same ``user``, the recommended ``items``, best first, their ``scores``,
    and ``popular``: whether these are the most popular items because the user has no known one. Invalid
    lines are reported on standard error and skipped; empty lines are ignored. ``target`` is written
    atomically.

    Raises:
        ValueError: ``source`` does not exist, has no valid line, or is the same file as ``target``.
    """
    if not source.is_file():
        refuse("--input", str(source), "a file with one JSON object per line")
    if target.resolve() == source.resolve():
        refuse("--output", str(target), "a different file than --input")
    summary = Summary()
    with (
        source.open("rb") as lines,
        replacing(target) as partial,
        partial.open("w", encoding="utf-8") as out,
        tqdm(
            desc="recommending", total=source.stat().st_size, unit="B", unit_scale=True, disable=None
        ) as progress,
    ):
        users = read_users(lines, progress, summary)
        while chunk := list(islice(users, CHUNK_SIZE)):
            for line in recommendations(recommender, chunk, k, summary):
                out.write(json.dumps(line, allow_nan=False) + "\n")
        if summary.bad_lines and not summary.users:
            refuse(
                "--input",
                str(source),
                f"a file with lines such as {EXAMPLE_LINE}; none of its lines is valid",
            )
    return summary


def read_users(lines: BinaryIO, progress: tqdm, summary: Summary) -> Iterator[tuple[Any, list[str]]]:
    """The user and the items of each valid line; the others are reported."""
    for number, line in enumerate(lines, start=1):
        progress.update(len(line))
        if not line.strip():
            continue
        try:
            user = read_line(line)
        except (ValueError, RecursionError) as problem:
            summary.bad_lines += 1
            if summary.bad_lines <= MAX_REPORTED:
                progress.write(f"line {number} skipped: {problem}", file=sys.stderr)
            continue
        summary.users += 1
        yield user


def read_line(line: bytes) -> tuple[Any, list[str]]:
    """The user and the items of a line.

    Raises:
        ValueError: the line is invalid.
    """
    content = json.loads(line, parse_constant=refuse_constant)
    if not isinstance(content, dict) or not {"user", "items"} <= content.keys():
        raise ValueError(f"allowed: an object such as {EXAMPLE_LINE}")
    user, items = content["user"], content["items"]
    if not isinstance(user, (str, int, float)):
        refuse("user", user, "a string or a number")
    if not isinstance(items, list):
        refuse("items", items, "a list of item ids")
    return user, [item_id(item) for item in items]


def refuse_constant(name: str) -> NoReturn:
    """Reject NaN and Infinity, which Python's parser accepts although they are not JSON."""
    raise ValueError(f"{name} is not JSON")


def recommendations(
    recommender: Recommender, chunk: list[tuple[Any, list[str]]], k: int, summary: Summary
) -> Iterator[dict[str, Any]]:
    """The line of output for each user of a chunk."""
    histories = read_histories([items for _, items in chunk], recommender.vocabulary)
    summary.unknown.add(histories.unknown.first, histories.unknown.count)
    popular = (histories.rows.counts == 0).tolist()
    summary.popular += sum(popular)
    for (user, _), ranked, is_popular in zip(chunk, recommender.rank(histories, k), popular):
        ids, scores = [item for item, _ in ranked], [score for _, score in ranked]
        yield {"user": user, "items": ids, "scores": scores, "popular": is_popular}
