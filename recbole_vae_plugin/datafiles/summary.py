"""What was read, what was left out and why, and what the data is like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from time import time

import numpy as np

from recbole_vae_plugin.datafiles.interactions import Interactions, Read

#: Earlier and later times are probably counted in another unit.
SECONDS_OF_1973, A_DAY = 1e8, 86400


def summary_rows(read: Read, left: Interactions, dropped: Mapping[str, int]) -> list[tuple[str, str]]:
    """Label and value of each line of the summary."""
    return [*_history_of_the_data(read, dropped), *_description(left)]


def _history_of_the_data(read: Read, dropped: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    yield "columns", read.columns
    yield "rows read", f"{read.rows:,}"
    for role, rows in read.missing.items():
        yield "  dropped", f"{rows:,} without {role}, the first in {read.first_missing[role]}"
    for reason, rows in dropped.items():
        yield "  dropped", f"{rows:,}: {reason}"


def _description(data: Interactions) -> Iterator[tuple[str, str]]:
    of_users, of_items = (np.bincount(numbers) for numbers in (data.users, data.items))
    histories = of_users[of_users > 0]
    n_users, n_items = len(histories), int((of_items > 0).sum())
    yield "interactions", f"{len(data):,}"
    yield "users", f"{n_users:,}"
    yield "items", f"{n_items:,}"
    yield "density", f"{len(data) / (n_users * n_items):.4%}"
    quartiles = np.quantile(histories, [0, 0.25, 0.5, 0.75, 1], method="nearest")
    yield "interactions of a user", "min {}, quartiles {}, {}, {}, max {}".format(*map(int, quartiles))
    if data.ratings is not None:
        yield "ratings", f"{data.ratings.min():g} to {data.ratings.max():g}"
    if data.times is not None:
        yield "time", f"{as_date(data.times.min())} to {as_date(data.times.max())}"


def as_date(seconds: float) -> str:
    """A time as a date, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g} s"


def warnings_of(read: Read, left: Interactions) -> Iterator[str]:
    """What may be wrong with data that can be read."""
    if (
        left.times is not None
        and not SECONDS_OF_1973 <= left.times.max() <= time() + A_DAY
        and left.times.any()
    ):
        yield (
            f"the latest timestamp is {as_date(left.times.max())}: if they are not {read.time_form}, give "
            "--time-format"
        )
    if read.spaces:
        yield f"{read.spaces:,} ids have a space at an end; they are kept as they are written"
    n_users = len(np.unique(left.users))
    if n_users < 10:
        yield f"there are only {n_users} users: no model can be evaluated"


def notes_of(left: Interactions, min_rating: float | None, split: str) -> Iterator[str]:
    """Choices that were made by default."""
    if left.ratings is not None and min_rating is None and left.ratings.min() < left.ratings.max():
        yield "every rating counts as an interaction; --min-rating leaves out low ones"
    if left.times is not None and split == "random":
        yield "the split ignores the timestamps; --split user-time, global-time and leave-one-out use them"


def as_table(rows: list[tuple[str, str]]) -> str:
    """The lines of the summary, aligned."""
    width = max(len(label) for label, _ in rows) + 2
    return "\n".join(f"{label:{width}}{value}" for label, value in rows)
