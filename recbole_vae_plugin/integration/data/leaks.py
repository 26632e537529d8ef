"""What the parts of a split know of one another: later interactions in training, repeated pairs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_vae_plugin.integration.config.splits import describe_split
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset


def later_in_training(train: Dataset, test: Dataset) -> float:
    """The fraction of training interactions that are later than the earliest that is tested; 0 where no times
    are loaded."""
    field = train.time_field
    if field not in train.inter_feat or not len(test.inter_feat):
        return 0.0
    return float((train.inter_feat[field] > test.inter_feat[field].min()).double().mean())


def repeated_pairs(parts: list[Dataset]) -> int:
    """How many validation and test interactions are of a user with an item of an earlier part."""
    import pandas as pd

    seen, repeated = np.empty(0, dtype=np.int64), 0
    for part in parts:
        users, items = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field))
        pairs = users.astype(np.int64) * part.item_num + items
        # by hashing, ten times faster than np.isin
        repeated += int(pd.Series(pairs).isin(seen).sum()) if len(seen) else 0
        seen = np.concatenate([seen, pairs])
    return repeated


def warnings_about(config: Config, parts: list[Dataset]) -> list[str]:
    """One sentence for each thing to know about a split.

    Args:
        config: RecBole's ``Config``.
        parts: training, validation and test.
    """
    train, *evaluated = parts
    # what a sequential model predicts may be an item that the user had before
    if config["MODEL_TYPE"].name == "SEQUENTIAL" or train.uid_field is None or train.iid_field is None:
        return []
    found = []
    share = later_in_training(train, evaluated[-1])
    if share > 0:
        keys = {key: config[key] for key in ("eval_args", "benchmark_filename")}
        found.append(
            f"{describe_split(keys)} ({share:.0%} of training is later than the earliest tested "
            "interaction); a split GT has none"
        )
    if repeated := repeated_pairs(parts):
        total = sum(len(part.inter_feat) for part in evaluated)
        found.append(
            f"{repeated} of {total} validation and test interactions repeat a user and an item of an earlier "
            "part: such items are not recommended again, so these cannot be found; rm_dup_inter: first, or "
            "last, leaves one of each"
        )
    return found


@extension(
    "recbole.data.utils",
    replaces={"data_preparation": "1a72de92"},
    after=("refuse_parts_that_came_out_empty",),
)
def say_what_a_split_leaks(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole does not warn if a split lets training see the future, or if parts overlap."""

    @patch.wrap("data_preparation")
    def prepare_and_warn(data_preparation: Callable[..., Any], config: Config, dataset: Dataset) -> Any:
        train, valid, test = data_preparation(config, dataset)
        parts = [getattr(loader, "dataset", None) for loader in (train, valid, test)]
        if all(part is not None for part in parts):
            for warning in warnings_about(config, parts):
                logging.getLogger().warning(warning)
        return train, valid, test
