"""Generated data of a given shape: long-tailed as real data is, the same on every machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

#: users, items, interactions
SHAPES = {
    "ml-20m-shape": (136_677, 20_108, 10_000_000),
    "ml-1m-shape": (6_033, 3_123, 834_449),
    "small-shape": (5_000, 2_000, 250_000),
    "twice the users": (10_000, 2_000, 250_000),
    "twice the items": (5_000, 4_000, 250_000),
    "twice the interactions": (5_000, 2_000, 500_000),
    "20,000 items": (10_000, 20_000, 1_000_000),
}
GROWTH = ["small-shape", "twice the users", "twice the items", "twice the interactions"]


def draw(users: int, items: int, interactions: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (user, item) pairs, int64: item popularity and user activity fall as power laws."""
    random = np.random.default_rng(0)
    activity = 1 / (np.arange(users) + 20) ** 0.6
    popularity = 1 / (np.arange(items) + 20) ** 0.8
    pairs = np.empty(0, dtype=np.int64)
    while len(pairs) < interactions:
        size = int(1.3 * (interactions - len(pairs))) + users
        drawn_users = random.choice(users, size, p=activity / activity.sum())
        drawn_items = random.choice(items, size, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate([pairs, drawn_users * items + drawn_items]))
    pairs = np.sort(random.choice(pairs, interactions, replace=False))
    return pairs // items, pairs % items


def write(name: str, folder: Path) -> None:
    """A RecBole data set ``folder/name`` of one of the :data:`SHAPES`."""
    (folder / name).mkdir(parents=True)
    with (folder / name / f"{name}.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\n")
        np.savetxt(file, np.stack(draw(*SHAPES[name]), 1), fmt="%d", delimiter="\t")
