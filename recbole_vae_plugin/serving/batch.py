"""Recommendations for a file of users, a part at a time."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from recbole_vae_plugin.serving.histories import Unknown, item_id, read_histories
from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import replacing

#: Users that are ranked, and lines that are held, at once.
PART = 1024
#: Bad lines that are reported one by one; of the rest only the number is.
REPORTED = 20
LINE = '{"user": "ann", "items": ["1", "50"]}'


@dataclass
class Summary:
    """What became of a file of users.

    Attributes:
        users: who got recommendations.
        bad_lines: lines that were skipped.
        unknown: items that were skipped.
        popular: users without a known item, who got the popular ones.
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
            parts.append(f"users without a known item, who get the popular ones: {self.popular}")
        return f"users: {self.users}; warnings: {warnings}" + "".join(f"\n  {part}" for part in parts)


def recommend_many(recommender: Recommender, source: Path, target: Path, k: int) -> Summary:
    """Recommend to each user of a file; ``target`` is written whole or not at all.

    A line of ``source`` is an object with ``user``, a string or a number, and ``items``, a list of item
    ids. A line of ``target`` has that ``user``, the recommended ``items``, best first, their ``scores``,
    and ``popular``, which says whether they are the popular items for want of a known one. Lines that
    cannot be understood are reported on standard error and skipped; empty ones are passed over. No
    more than :data:`PART` users are held at once.

    Raises:
        ValueError: there is no such source, none of its lines can be understood, or it is the target.
    """
    if not source.is_file():
        refuse("--input", str(source), "a file with one JSON object a line")
    if target.resolve() == source.resolve():
        refuse("--output", str(target), "another file than --input")
    summary = Summary()
    with (
        source.open("rb") as lines,
        replacing(target) as partial,
        partial.open("w", encoding="utf-8") as out,
        tqdm(
            desc="recommending", total=source.stat().st_size, unit="B", unit_scale=True, disable=None
        ) as progress,
    ):
        users = understood(lines, progress, summary)
        while part := list(islice(users, PART)):
            for line in answers(recommender, part, k, summary):
                out.write(json.dumps(line, allow_nan=False) + "\n")
        if summary.bad_lines and not summary.users:
            refuse("--input", str(source), f"a file with lines such as {LINE}; none of its lines is one")
    return summary


def understood(lines: BinaryIO, progress: tqdm, summary: Summary) -> Iterator[tuple[Any, list[str]]]:
    """The user and the items of each line that has them."""
    for number, line in enumerate(lines, start=1):
        progress.update(len(line))
        if not line.strip():
            continue
        try:
            found = read_line(line)
        except (ValueError, RecursionError) as problem:
            summary.bad_lines += 1
            if summary.bad_lines <= REPORTED:
                progress.write(f"line {number} skipped: {problem}", file=sys.stderr)
            continue
        summary.users += 1
        yield found


def read_line(line: bytes) -> tuple[Any, list[str]]:
    """The user and the items of a line.

    Raises:
        ValueError: it does not have them.
    """
    content = json.loads(line, parse_constant=no_number)
    if not isinstance(content, dict) or not {"user", "items"} <= content.keys():
        raise ValueError(f"allowed: an object such as {LINE}")
    user, items = content["user"], content["items"]
    if not isinstance(user, (str, int, float)):
        refuse("user", user, "a string or a number")
    if not isinstance(items, list):
        refuse("items", items, "a list of item ids")
    return user, [item_id(item) for item in items]


def no_number(name: str) -> None:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def answers(
    recommender: Recommender, part: list[tuple[Any, list[str]]], k: int, summary: Summary
) -> Iterator[dict]:
    """A line of output for each user of a part."""
    histories = read_histories([items for _, items in part], recommender.vocabulary)
    summary.unknown.add(histories.unknown.first, histories.unknown.count)
    popular = (histories.rows.counts == 0).tolist()
    summary.popular += sum(popular)
    for (user, _), found, is_popular in zip(part, recommender.rank(histories, k), popular):
        ids, scores = ([one[place] for one in found] for place in (0, 1))
        yield {"user": user, "items": ids, "scores": scores, "popular": is_popular}
