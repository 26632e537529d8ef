"""For whom a method is better: users by activity, and items by popularity, each in quartiles."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from recbole_vae_plugin.compare.markup import Markup
from recbole_vae_plugin.compare.statistics import ALPHA, Difference, corrected, difference

USERS, ITEMS = "users by activity", "items by popularity"
#: The columns of ``users.csv.gz`` with recall of the items of a quartile.
RECALL = re.compile(r"recall_q(\d)@(\d+)")
NUMBER_OF_GROUPS = 4
COLUMNS = ["dataset", "groups", "group", "metric", "method", "mean", "users"]
STATISTICS = ["difference", "low", "high", "t_p", "run_p", "p_adjusted", "verdict"]


def group_table(users: pd.DataFrame, baseline: str, metric: str) -> pd.DataFrame:
    """Each method in each group, with its difference from the baseline.

    Users are in quartiles of the length of their history on a split (1 has the shortest), and their value is
    the main metric. Items are in quartiles of their training interactions (1 is the least popular), and a
    user's value is the recall of the relevant items among them. P-values are corrected over the methods and
    the groups of a kind together.

    Args:
        users: as ``Results.users``; results of earlier versions lack what is needed.
        baseline: a method's label.
        metric: the main metric.

    Returns:
        The columns are :data:`COLUMNS` and :data:`STATISTICS`, which are empty for the baseline; no rows
        without the columns that are needed.
    """
    rows = []
    for dataset, of_dataset in users.groupby("dataset", sort=False) if len(users) else ():
        for groups, parts in (
            (USERS, by_activity(of_dataset, metric)),
            (ITEMS, by_popularity(of_dataset)),
        ):
            rows += _rows(str(dataset), groups, parts, baseline)
    return pd.DataFrame(rows, columns=[*COLUMNS, *STATISTICS])


def by_activity(users: pd.DataFrame, metric: str) -> dict[str, tuple[str, pd.DataFrame]]:
    """Group -> the metric and the rows of its users."""
    if "history" not in users or metric not in users:
        return {}
    users = users[users["history"].notna()]
    # all methods of a split share its users
    lengths = users.groupby(["split_seed", "user"])["history"].first()
    quartiles = lengths.groupby("split_seed").transform(_quartile).astype(int).rename("quartile")
    joined = users.join(quartiles, on=["split_seed", "user"])
    parts = {}
    for quartile, rows in joined.groupby("quartile"):
        shortest, longest = rows["history"].min(), rows["history"].max()
        lengths_of = f"{shortest:.0f}" if shortest == longest else f"{shortest:.0f} to {longest:.0f}"
        parts[f"{quartile} (history {lengths_of})"] = (metric, rows)
    return parts


def _quartile(lengths: pd.Series) -> np.ndarray:
    """1 to 4; equal lengths are in the same quartile."""
    bounds = np.quantile(lengths, np.arange(1, NUMBER_OF_GROUPS) / NUMBER_OF_GROUPS)
    return 1 + np.searchsorted(bounds, lengths.to_numpy(), side="left")


def by_popularity(users: pd.DataFrame) -> dict[str, tuple[str, pd.DataFrame]]:
    """Group -> the metric and the rows of users with a relevant item in it."""
    names = {1: "1 (least popular)", NUMBER_OF_GROUPS: f"{NUMBER_OF_GROUPS} (most popular)"}
    parts = {}
    for column in sorted(name for name in users if RECALL.fullmatch(name)):
        quartile = int(column[len("recall_q")])
        rows = users[users[column].notna()]
        if len(rows):
            parts[names.get(quartile, str(quartile))] = (column, rows)
    return parts


def _rows(dataset: str, groups: str, parts: dict[str, tuple[str, pd.DataFrame]], baseline: str) -> list[list]:
    """The rows of one kind of groups, corrected together."""
    means: dict[tuple[str, str], tuple[str, float, int]] = {}
    places: list[tuple[str, str]] = []
    family: list[Difference] = []
    for group, (metric, rows) in parts.items():
        methods = dict(iter(rows.groupby("method", sort=False)))
        shown = RECALL.sub(r"recall@\2", metric)
        for method, ours in methods.items():
            per_user = ours.groupby("user")[metric].mean()
            means[group, method] = (shown, float(per_user.mean()), len(per_user))
            if method != baseline and baseline in methods:
                each = difference(dataset, metric, (method, baseline), ours, methods[baseline])
                if each is not None:
                    places.append((group, method))
                    family.append(each)
    found = dict(zip(places, corrected(family)))
    table = []
    for (group, method), (metric, mean, count) in means.items():
        each = found.get((group, method))
        statistics: list[Any] = [None] * len(STATISTICS)
        if each:
            statistics = [*(asdict(each)[name] for name in STATISTICS[:-1]), each.verdict]
        table.append([dataset, groups, group, metric, method, mean, count, *statistics])
    return table


def group_cells(
    table: pd.DataFrame, dataset: str, markup: Markup, mark: str
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a short table: methods x groups, significant differences marked."""
    of_dataset = table[table["dataset"] == dataset]
    columns = of_dataset[["groups", "group"]].drop_duplicates()
    header = ["method"]
    for groups, group in columns.itertuples(index=False):
        header.append(markup.escaped(f"{'users' if groups == USERS else 'items'} {group}"))
    rows = []
    for method, of_method in of_dataset.groupby("method", sort=False):
        cells = {
            (row.groups, row.group): f"{row.mean:.4f}" + (mark if is_significant(row.p_adjusted) else "")
            for row in of_method.itertuples()
        }
        texts = (cells.get(key, "") for key in columns.itertuples(index=False, name=None))
        rows.append([markup.escaped(str(method)), *map(markup.escaped, texts)])
    return header, rows


def is_significant(p_adjusted: float | None) -> bool:
    """Whether a corrected p-value is below the level of the tests."""
    return p_adjusted is not None and not math.isnan(p_adjusted) and p_adjusted < ALPHA


def group_legend(table: pd.DataFrame, dataset: str, baseline: str, mark: str) -> str:
    """The caption of the table."""
    of_dataset = table[table["dataset"] == dataset]
    parts = []
    for groups, meaning in (
        (USERS, "{} of users in quartiles of the length of their training history"),
        (ITEMS, "{} of the relevant items in quartiles of the items' training interactions"),
    ):
        metrics = of_dataset[of_dataset["groups"] == groups]["metric"].unique()
        parts += [meaning.format(metric) for metric in metrics]
    return (
        f"Means over users: {'; '.join(parts)}. {mark} differs from {baseline} at p < 0.05 after Holm's "
        "correction over the methods and groups; groups.csv has the differences."
    )
