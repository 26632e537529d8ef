"""What a split says about time, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What RecBole completes ``eval_args`` with.
DEFAULTS = {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO"}


def describe_split(keys: Mapping[str, Any]) -> str:
    """One clause for tables: how a data set is split, and whether training knows the future.

    Args:
        keys: of the data set's config, or RecBole's ``Config``.
    """
    if keys.get("benchmark_filename"):
        return "split as the files are"
    evaluation = {**DEFAULTS, **(keys.get("eval_args") or {})}
    if "HO" in evaluation["split"]:
        return "users are held out; training includes interactions that are later than those tested"
    if "GT" in evaluation["split"]:
        return (
            "split at the same points in time for all users: training has nothing later than what is tested"
        )
    if evaluation["order"] == "RO":
        return "random split: training includes interactions that are later than those tested"
    if "RS" in evaluation["split"] and evaluation["group_by"] in (None, "none"):
        return "split by the order of time over all users"
    return "each user's last interactions are tested: training includes later ones of other users"
