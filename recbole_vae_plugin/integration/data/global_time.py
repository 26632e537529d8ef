"""A split at points in time that are the same for all users: `eval_args: {split: {GT: [0.8, 0.1, 0.1]}}`.

What is tested is later than all that the model was trained on, as it is when a system is deployed (Meng et
al., Exploring Data Splitting Strategies for the Evaluation of Recommendation Models, RecSys 2020; Ji et al.,
A Critical Study on Data Leakage in Recommender System Offline Evaluation, TOIS 2023).

RecBole's `split: {RS: ...}, group_by: none, order: TO` counts interactions instead: interactions of one
moment may come into two parts. It also tests users and items that the training part does not have, about whom
a model of interactions knows nothing; here they are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_vae_plugin.integration.config.nested import check_global_time
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension, repair
from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset

SPLIT_KEY = "eval_args.split.GT"


@dataclass(frozen=True)
class GlobalTime:
    """Where validation and test begin.

    Attributes:
        ratios: of the interactions in training, validation and test; empty if the points are given.
        points: seconds since 1970 from which on interactions are for validation and for test.
    """

    ratios: tuple[float, ...] = ()
    points: tuple[float, ...] = ()

    @classmethod
    def from_config(cls, config: Config) -> GlobalTime | None:
        """Read the settings from a RecBole ``Config``; ``None`` if it splits otherwise.

        Raises:
            ValueError: a value is not allowed.
        """
        evaluation = config["eval_args"]
        split = evaluation["split"]
        if not isinstance(split, dict) or "GT" not in split or config["benchmark_filename"]:
            return None
        given = check_global_time(split["GT"])
        if evaluation["order"] != "TO":
            refuse("eval_args.order", evaluation["order"], f"TO, with {SPLIT_KEY}")
        if len(given) == 3:
            return cls(ratios=tuple(given))
        if config["TIME_FIELD"] in (config["normalize_field"] or ()):
            refuse(
                "normalize_field",
                config["normalize_field"],
                f"fields other than {config['TIME_FIELD']}, with points in time in {SPLIT_KEY}",
            )
        if config["normalize_all"]:
            refuse("normalize_all", config["normalize_all"], f"False, with points in time in {SPLIT_KEY}")
        return cls(points=tuple(given))

    def boundaries(self, times: np.ndarray) -> tuple[float, float]:
        """The first moments of validation and of test. A moment is never in two parts.

        Args:
            times: of all interactions, float64.
        """
        if self.points:
            return self.points[0], self.points[1]
        shares = np.cumsum(self.ratios) / np.sum(self.ratios)
        ordered = np.append(np.sort(times), np.inf)
        first, second = (ordered[round(share * len(times))] for share in shares[:2])
        return float(first), float(second)


def split_by_time(dataset: Dataset, split: GlobalTime) -> list[Dataset]:
    """Split a data set into training, validation and test.

    Interactions of validation and test with users or items that have none in training are left out.

    Raises:
        ValueError: nothing is left for training.
    """
    # RecBole converts times to float32 next, in which those of two minutes are one
    times = dataset.inter_feat[dataset.time_field].to_numpy(dtype=np.float64)
    part = np.searchsorted(split.boundaries(times), times, side="right")
    dataset._change_feat_format()
    in_training = part == 0
    if not in_training.any():
        given = dataset.config["eval_args"]["split"]["GT"]
        refuse(SPLIT_KEY, given, "points in time with interactions before them")
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    known_users, known_items = np.zeros(dataset.user_num, dtype=bool), np.zeros(dataset.item_num, dtype=bool)
    known_users[users[in_training]] = True
    known_items[items[in_training]] = True
    new_user, new_item = ~known_users[users], ~known_items[items]
    known = ~(new_user | new_item)
    dataset.logger.info(
        f"split at points in time: of {int((~in_training).sum())} later interactions, "
        f"{int((~known).sum())} are left out: {int(new_user.sum())} of users and "
        f"{int((new_item & ~new_user).sum())} with items that have none before"
    )
    dataset._drop_unused_col()
    interactions = dataset.inter_feat
    return [dataset.copy(interactions[np.flatnonzero((part == number) & known)]) for number in range(3)]


@extension(
    "recbole.data.dataset.dataset",
    replaces={"Dataset.build": "5471bfaa"},
    after=("split_by_held_out_users",),
)
def split_by_global_time(patch: Patch, dataset: ModuleType) -> None:
    """RecBole cannot split at a point in time."""

    @patch.wrap("Dataset.build")
    def build_or_split_by_time(build: Callable[..., list[Dataset]], self: Dataset) -> list[Dataset]:
        split = GlobalTime.from_config(self.config)
        return split_by_time(self, split) if split else build(self)


@repair(
    "recbole.data.dataset.dataset",
    replaces={"Dataset.build": "5471bfaa"},
    after=("split_by_global_time",),
)
def order_by_exact_times(patch: Patch, dataset: ModuleType) -> None:
    """RecBole orders interactions by time in float32, in which times up to about two minutes apart are equal:
    which of these interactions comes last depends on the order of the file."""

    @patch.wrap("Dataset.build")
    def order_and_build(build: Callable[..., list[Dataset]], self: Any) -> list[Dataset]:
        table = self.inter_feat
        by_time = self.config["eval_args"]["order"] == "TO" and not self.config["benchmark_filename"]
        if by_time and isinstance(table, dataset.pd.DataFrame) and self.time_field in table:
            # stable, as RecBole's own sorting that follows
            self.inter_feat = table.sort_values(self.time_field, kind="stable", ignore_index=True)
        return build(self)
