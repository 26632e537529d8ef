"""One table over all data sets of an experiment: the rank of each method, and what it loses to the best."""

from __future__ import annotations

import pandas as pd

from recbole_vae_plugin.compare.costs import MEMORY, SECONDS, mean_costs
from recbole_vae_plugin.compare.directions import lower_is_better
from recbole_vae_plugin.compare.markup import MARKDOWN, markdown_table
from recbole_vae_plugin.compare.tables import Comparison, main_metric


def league(comparison: Comparison) -> pd.DataFrame:
    """Methods with their ranks, the best mean rank first, in the metric of the verdicts.

    A method that has not run on all data sets comes after those that have.

    Returns:
        The index is the method. For each data set ``<data set>`` is the mean, ``rank <data set>`` its rank
        (1 is the best) and ``loss <data set>`` the fraction of the best method's mean that is missing;
        then ``data sets`` (the number with a result), ``mean rank``, ``mean loss``, ``largest loss``,
        ``seconds`` (of a run with the data prepared, summed over the data sets) and ``peak MiB`` (the
        largest).
    """
    metric = main_metric(comparison.results)
    main = comparison.summary[comparison.summary["metric"] == metric]
    datasets = [name for name in comparison.results.experiment["datasets"] if name in set(main["dataset"])]
    with_results = set(main["method"])
    methods = [name for name in comparison.results.experiment["methods"] if name in with_results]
    table = pd.DataFrame(index=pd.Index(methods, name="method"))
    costs = []
    for dataset in datasets:
        means = main[main["dataset"] == dataset].set_index("method")["mean"]
        lower = lower_is_better(metric)
        best = means.min() if lower else means.max()
        table[dataset] = means
        table[f"rank {dataset}"] = comparison.ranks(dataset)[metric]
        table[f"loss {dataset}"] = (means - best if lower else best - means) / abs(best)
        costs.append(mean_costs(comparison, dataset))
    ranks, losses = (table[[f"{name} {dataset}" for dataset in datasets]] for name in ("rank", "loss"))
    every_cost = pd.concat(costs).groupby(level=0)
    return table.assign(
        **{
            "data sets": ranks.notna().sum(axis=1),
            "mean rank": ranks.mean(axis=1),
            "mean loss": losses.mean(axis=1),
            "largest loss": losses.max(axis=1),
            "seconds": every_cost[SECONDS].sum(),
            "peak MiB": every_cost[MEMORY].max(),
        }
    ).sort_values(["data sets", "mean rank"], ascending=[False, True], kind="stable")


def league_markdown(comparison: Comparison) -> str:
    """The table in Markdown: of each data set the mean and, in brackets, the rank."""
    table = league(comparison)
    datasets = [name.removeprefix("rank ") for name in table if name.startswith("rank ")]
    header = ["method", *datasets, "mean rank", "mean loss", "largest loss", "s", "peak MiB"]
    rows = []
    for method, row in table.iterrows():
        cells = [MARKDOWN.escaped(str(method))]
        for dataset in datasets:
            missing = pd.isna(row[dataset])
            mean = "" if missing else f"{row[dataset]:.4f} ({row[f'rank {dataset}']:.0f})"
            cells.append(MARKDOWN.bold(mean) if row[f"rank {dataset}"] == 1 else mean)
        cells += [f"{row['mean rank']:.1f}", f"{row['mean loss']:.1%}", f"{row['largest loss']:.1%}"]
        rows.append([*cells, f"{row['seconds']:,.0f}", f"{row['peak MiB']:,.0f}"])
    return markdown_table(header, rows)


def league_legend(comparison: Comparison) -> str:
    """The caption of the table."""
    return (
        f"{main_metric(comparison.results)} on the test data, in brackets the rank; loss: what is missing to "
        "the best method of a data set; s: seconds of a run with the data prepared, summed over data sets; "
        "peak MiB: the largest of any run."
    )
