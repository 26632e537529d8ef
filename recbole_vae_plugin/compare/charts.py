"""The data of the report's charts, as plain lists."""

from __future__ import annotations

from typing import Any

import pandas as pd

from recbole_vae_plugin.compare.costs import mean_costs
from recbole_vae_plugin.compare.statistics import mean_per_user
from recbole_vae_plugin.compare.tables import Comparison, main_metric

#: Of more users, the page shows the differences of a sample of this size.
MAX_USERS = 20_000
MONITORED = {
    "reconstruction": "reconstruction loss (nats per user)",
    "kl": "KL term (nats per user)",
    "beta": "weight of the KL term (beta)",
    "active_units": "active latent units",
}


def chart_data(comparison: Comparison, dataset: str) -> dict[str, Any]:
    """The charts of one data set."""
    results, metric = comparison.results, main_metric(comparison.results)
    summary = comparison.summary[comparison.summary["dataset"] == dataset]
    users = results.users[results.users["dataset"] == dataset]
    columns = {
        method: mean_per_user(group, metric).groupby("user").mean()
        for method, group in users.groupby("method", sort=False)
        if metric in users
    }
    table = pd.DataFrame(columns)
    if len(table) > MAX_USERS:
        table = table.sample(MAX_USERS, random_state=0)
    costs = mean_costs(comparison, dataset)
    main = summary[summary["metric"] == metric].set_index("method")
    return {
        "metric": metric,
        "baseline": results.experiment["baseline"],
        "summary": summary[["method", "metric", "mean", "low", "high"]].to_dict("records"),
        "quality": main["mean"].to_dict(),
        "costs": {name: costs[name].to_dict() for name in costs},
        "groups": groups_data(comparison, dataset),
        "curves": learning_curves(comparison, dataset),
        "monitored": MONITORED,
        "users": {method: table[method].round(4).tolist() for method in table},
    }


def groups_data(comparison: Comparison, dataset: str) -> list[dict[str, Any]]:
    """The differences from the baseline in each group."""
    groups = comparison.groups[comparison.groups["dataset"] == dataset]
    columns = ["groups", "group", "metric", "method", "difference", "low", "high"]
    return groups[columns].dropna(subset="difference").to_dict("records")


def learning_curves(comparison: Comparison, dataset: str) -> list[dict[str, Any]]:
    """One entry per run: its epochs, validation metric and monitored values."""
    curves = comparison.results.curves
    if curves.empty:
        return []
    columns = {"valid": f"valid_{main_metric(comparison.results)}", **{name: name for name in MONITORED}}
    entries = []
    keys = ["method", "split_seed", "model_seed"]
    for (method, split, seed), run in curves[curves["dataset"] == dataset].groupby(keys, sort=False):
        entry: dict[str, Any] = {"method": method, "seeds": f"split {split}, seed {seed}"}
        entry["epoch"] = run["epoch"].tolist()
        for name, column in columns.items():
            if column in run and run[column].notna().any():
                entry[name] = run[column].tolist()
        entries.append(entry)
    return entries
