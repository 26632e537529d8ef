"""Which way a metric is better."""

from __future__ import annotations

#: RecBole's metrics of which less is better.
SMALLER = frozenset({"averagepopularity", "giniindex", "logloss", "mae", "rmse"})


def smaller_is_better(metric: str) -> bool:
    """Whether less of a metric, such as ``GiniIndex`` or ``giniindex@10``, is better."""
    return metric.lower().partition("@")[0] in SMALLER


def with_arrow(metric: str) -> str:
    """A metric as the header of a table shows it: up where more is better, else down."""
    return f"{metric} {'↓' if smaller_is_better(metric) else '↑'}"
