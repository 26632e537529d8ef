"""Whether higher or lower values of a metric are better."""

from __future__ import annotations

#: RecBole's metrics of which lower values are better.
SMALLER = frozenset({"averagepopularity", "giniindex", "logloss", "mae", "rmse"})


def smaller_is_better(metric: str) -> bool:
    """Whether lower values of a metric, such as ``GiniIndex`` or ``giniindex@10``, are better."""
    return metric.lower().partition("@")[0] in SMALLER


def with_arrow(metric: str) -> str:
    """A metric as the header of a table shows it: up where higher is better, else down."""
    return f"{metric} {'↓' if smaller_is_better(metric) else '↑'}"
