"""What each method cost: its search, and time, memory and energy of its runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from recbole_vae_plugin.compare.markup import Markup

if TYPE_CHECKING:
    from recbole_vae_plugin.compare.tables import Comparison

TRIALS, SEARCH, SECONDS, MEMORY, ENERGY = (
    "trials",
    "h of search",
    "s per run, data prepared",
    "peak MiB",
    "Wh per run",
)
#: Columns of the table -> the column of ``Results.runs`` that they are the mean of.
OF_RUNS = {
    SECONDS: "seconds",
    "processor s per run": "cpu_seconds",
    "s per training epoch": "train_seconds",
    "s per evaluation": "eval_seconds",
    MEMORY: "peak_memory",
    "peak GPU MiB": "peak_gpu_memory",
    "parameters": "parameters",
    ENERGY: "energy_wh",
}


def mean_costs(comparison: Comparison, dataset: str) -> pd.DataFrame:
    """Costs of the methods on a data set: sums over their searches, and means over their runs.

    Returns:
        The index is the method. Columns for which no method has a value are left out, as is the memory of a
        GPU that was not used.
    """
    runs = comparison.results.finished()
    runs = runs[runs["dataset"] == dataset]
    gpu = runs.reindex(columns=["train_gpu_memory", "eval_gpu_memory"]).max(axis=1)
    # the first run on a split also prepares the data of the others
    runs = runs.assign(
        # without a finished run there is no such column
        seconds=runs.get("seconds", math.nan) - runs.get("prepare_seconds", math.nan),
        peak_gpu_memory=gpu.replace(0, math.nan),
    )
    means = runs.reindex(columns=["method", *OF_RUNS.values()]).groupby("method").mean().astype(float)
    means.columns = list(OF_RUNS)
    costs = pd.concat([_searches(comparison, dataset).reindex(means.index), means], axis=1)
    return costs.dropna(axis="columns", how="all")


def _searches(comparison: Comparison, dataset: str) -> pd.DataFrame:
    """Trials and hours of the methods that were tuned on a data set."""
    searches = comparison.results.searches
    if searches.empty:
        return pd.DataFrame(columns=[TRIALS, SEARCH], dtype=float)
    sums = searches[searches["dataset"] == dataset].groupby("method")[["trials", "search_seconds"]].sum()
    return pd.DataFrame({TRIALS: sums["trials"].astype(float), SEARCH: sums["search_seconds"] / 3600})


def cost_text(name: str, value: float) -> str:
    """A cost with as many digits as tell something; empty for NaN."""
    if math.isnan(value):
        return ""
    whole = name in (TRIALS, "parameters") or value >= 100
    return f"{value:,.0f}" if whole else f"{value:.3g}"


def cost_cells(comparison: Comparison, dataset: str, markup: Markup) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of costs of a data set, methods in the experiment's order."""
    costs = mean_costs(comparison, dataset)
    methods = [name for name in comparison.results.experiment["methods"] if name in costs.index]
    rows = [
        [markup.escaped(method), *(cost_text(name, costs.loc[method, name]) for name in costs)]
        for method in methods
    ]
    return ["method", *map(markup.escaped, costs)], rows


def cost_legend(comparison: Comparison, dataset: str) -> str:
    """The caption of the table of costs."""
    columns = mean_costs(comparison, dataset).columns
    parts = ["Means over a method's runs, measured once the data is prepared"]
    if TRIALS in columns:
        parts.append("trials and hours of search in all; a method without them was not tuned here")
    if ENERGY in columns:
        runs = comparison.results.finished()
        tools = runs[runs["dataset"] == dataset]["energy_by"].dropna().unique()
        parts.append(f"Wh: energy of processor, memory and GPU as estimated by {', '.join(sorted(tools))}")
    return "; ".join(parts) + "."


def all_costs(comparison: Comparison) -> pd.DataFrame:
    """One row per data set and method with its costs, for CSV and JSON."""
    tables = [
        mean_costs(comparison, dataset).reset_index().assign(dataset=dataset)
        for dataset in comparison.summary["dataset"].unique()
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["method", "dataset"])
    return table[["dataset", *table.columns.drop("dataset")]]
