"""What the pictures of the report show, as plain lists."""

from __future__ import annotations

import pandas as pd

from recbole_vae_plugin.compare.statistics import per_user
from recbole_vae_plugin.compare.tables import Comparison, main_metric

#: Most users whose differences the page shows; of more users, a sample.
MOST_USERS = 20_000
MONITORED = {
    "reconstruction": "reconstruction loss (nats per user)",
    "kl": "KL term (nats per user)",
    "beta": "weight of the KL term (beta)",
    "active_units": "active latent units",
}


def data_of(comparison: Comparison, dataset: str) -> dict:
    """The pictures of one data set."""
    results, metric = comparison.results, main_metric(comparison.results)
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    users = results.users[results.users["dataset"] == dataset]
    columns = {
        method: per_user(group, metric).groupby("user").mean()
        for method, group in users.groupby("method", sort=False)
        if metric in users
    }
    table = pd.DataFrame(columns)
    if len(table) > MOST_USERS:
        table = table.sample(MOST_USERS, random_state=0)
    seconds = costs(comparison, dataset)["s per run, data prepared"]
    main = of_dataset[of_dataset["metric"] == metric].set_index("method")
    return {
        "metric": metric,
        "baseline": results.experiment["baseline"],
        "summary": of_dataset[["method", "metric", "mean", "low", "high"]].to_dict("records"),
        "time": [
            {"method": method, "seconds": seconds[method], "mean": main.loc[method, "mean"]}
            for method in main.index
        ],
        "curves": curves_of(comparison, dataset),
        "monitored": MONITORED,
        "users": {method: table[method].round(4).tolist() for method in table},
    }


def curves_of(comparison: Comparison, dataset: str) -> list[dict]:
    """One entry per run: epochs, validation metric and what was monitored."""
    curves = comparison.results.curves
    if curves.empty:
        return []
    columns = {"valid": f"valid_{main_metric(comparison.results)}", **{name: name for name in MONITORED}}
    entries = []
    keys = ["method", "split_seed", "model_seed"]
    for (method, split, seed), run in curves[curves["dataset"] == dataset].groupby(keys, sort=False):
        entry = {"method": method, "seeds": f"split {split}, seed {seed}"}
        entry["epoch"] = run["epoch"].tolist()
        for name, column in columns.items():
            if column in run and run[column].notna().any():
                entry[name] = run[column].tolist()
        entries.append(entry)
    return entries


def costs(comparison: Comparison, dataset: str) -> pd.DataFrame:
    """Method -> mean cost of its runs."""
    runs = comparison.results.finished()
    runs = runs[runs["dataset"] == dataset]
    # the first run on a split prepares the data for all
    runs = runs.assign(seconds=runs["seconds"] - runs["prepare_seconds"])
    names = {
        "train_seconds": "s per training epoch",
        "eval_seconds": "s per evaluation",
        "seconds": "s per run, data prepared",
        "peak_memory": "peak MiB",
        "parameters": "parameters",
    }
    return runs.groupby("method")[[*names]].mean().astype(float).rename(columns=names)
