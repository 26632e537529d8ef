"""Whether higher or lower values of a metric are better."""

from __future__ import annotations

#: RecBole's metrics of which lower values are better.
LOWER_IS_BETTER = frozenset({"averagepopularity", "giniindex", "logloss", "mae", "rmse"})


def lower_is_better(metric: str) -> bool:
    """Whether lower values of a metric, such as ``GiniIndex`` or ``giniindex@10``, are better."""
    return metric.lower().partition("@")[0] in LOWER_IS_BETTER


def with_arrow(metric: str) -> str:
    """The name of a metric with an arrow in the better direction, for headers of tables."""
    return f"{metric} {'↓' if lower_is_better(metric) else '↑'}"
