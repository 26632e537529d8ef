"""The statistics of an experiment, and the table of a data set."""

from __future__ import annotations

import math
from functools import cached_property

import pandas as pd

from recbole_vae_plugin.compare import budgets
from recbole_vae_plugin.compare.directions import lower_is_better, with_arrow
from recbole_vae_plugin.compare.groups import group_table
from recbole_vae_plugin.compare.markup import Markup
from recbole_vae_plugin.compare.published import label_of, legend_of, rows_for
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.statistics import Difference, differences, differences_of_runs, summary
from recbole_vae_plugin.integration.config.splits import describe_split

#: Marks a significant difference from the baseline.
MARK = "*"


def metric_names(results: Results) -> list[str]:
    """The test metrics, such as ``ndcg@10``, in the experiment's order."""
    order = [metric.lower() for metric in results.experiment["metrics"]]
    known = [column.removeprefix("test_") for column in results.finished() if column.startswith("test_")]
    return sorted(known, key=lambda name: order.index(name.partition("@")[0]))


def main_metric(results: Results) -> str:
    """The metric of the verdicts, such as ``ndcg@10``."""
    return results.experiment["valid_metric"].lower()


class Comparison:
    """The statistics of an experiment, computed once for all output formats.

    Attributes:
        summary: see :func:`~recbole_vae_plugin.compare.statistics.summary`.
        differences: each method against the baseline, in every metric.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.metrics = metric_names(results)
        users = results.users
        # runs of earlier versions have no values of users in some metrics; one test is for all runs
        users = users.drop(columns=[m for m in self.metrics if m in users and users[m].isna().any()])
        self.summary = summary(results.finished(), users, self.metrics)
        tested = [metric for metric in self.metrics if metric in users]
        baseline, untested = results.experiment["baseline"], [m for m in self.metrics if m not in tested]
        self.differences = differences(users, baseline, tested)
        self.differences += differences_of_runs(results.finished(), baseline, untested)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """The differences for groups of users and of items, see
        :func:`~recbole_vae_plugin.compare.groups.group_table`."""
        return group_table(self.results.users, self.results.experiment["baseline"], main_metric(self.results))

    def difference(self, dataset: str, method: str, metric: str) -> Difference | None:
        """The difference from the baseline; ``None`` if it was not tested."""
        for each in self.differences:
            if (each.dataset, each.method, each.metric) == (dataset, method, metric):
                return each
        return None

    def ranks(self, dataset: str) -> pd.DataFrame:
        """Methods x metrics: 1 for the best, 2 for the second best, after rounding to four decimals."""
        of_dataset = self.summary[self.summary["dataset"] == dataset]
        means = of_dataset.pivot(index="method", columns="metric", values="mean")
        signs = [-1 if lower_is_better(metric) else 1 for metric in means]
        return (means.round(4) * signs).rank(ascending=False, method="dense")

    def verdicts(self) -> list[str]:
        """One sentence per method and data set, in the metric of early stopping; it names unequal budgets of
        tuning."""
        metric = main_metric(self.results)
        verdicts = [
            f"{each.method} against {each.baseline} on {each.dataset}, {each.metric}: {self.finding(each)}"
            for each in self.differences
            if each.metric == metric
        ]
        if metric not in self.results.users and not verdicts:
            return [f"{metric} is not a mean over users, and there are too few runs to test it over these"]
        return verdicts

    def finding(self, difference: Difference) -> str:
        """The verdict on a difference, with the budgets of tuning where they are unequal."""
        return difference.verdict + budgets.unequal_note(self.results, difference.dataset, difference.method)

    def failures(self) -> list[str]:
        """One line for each run that failed, and for each search without a winner."""
        runs = self.results.runs
        failed = runs[runs["failed"].notna()] if len(runs) else runs
        return budgets.failed_searches(self.results) + [
            f"{row.method} on {row.dataset}, split {row.split_seed}, seed {row.model_seed} "
            f"failed: {row.failed}"
            for row in failed.itertuples()
        ]


def published_rows(comparison: Comparison, dataset: str) -> dict[str, dict[str, float]]:
    """Label -> metric -> value of the published rows of a data set."""
    experiment = comparison.results.experiment
    published = experiment.get("published", [])
    rows = rows_for(published, experiment["datasets"][dataset], comparison.metrics)
    return {label_of(model): values for model, values in rows.items()}


def planned_runs(comparison: Comparison, method: str) -> int:
    """The number of runs of a method on a data set that the experiment asks for."""
    experiment = comparison.results.experiment
    seeds = experiment.get("method_seeds", {}).get(method, experiment["model_seeds"])
    return len(experiment["split_seeds"]) * len(seeds)


def table_cells(comparison: Comparison, dataset: str, markup: Markup) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one data set: mean ± standard deviation, the best in bold, the second underlined,
    significant differences from the baseline marked."""
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    ranks = comparison.ranks(dataset)
    failed = set(comparison.results.experiment["methods"]) - set(ranks.index)
    # without a finished run there is no metric, but failures still need a column for the reason
    metrics = [markup.escaped(with_arrow(metric)) for metric in comparison.metrics]
    header = ["method", *(metrics or [""])]
    rows = []
    for method, group in of_dataset.groupby("method", sort=False):
        runs = group["runs"].iloc[0]
        name = budgets.marked(comparison.results, dataset, method)
        planned = planned_runs(comparison, method)
        cells = [markup.escaped(name if runs == planned else f"{name} ({runs} of {planned} runs)")]
        for row in group.itertuples():
            emphasis = {1: markup.bold, 2: markup.underline}.get(ranks.loc[method, row.metric], str)
            text = emphasis(f"{row.mean:.4f}")
            found = comparison.difference(dataset, method, row.metric)
            spread = "" if math.isnan(row.deviation) else f" ± {row.deviation:.4f}"
            cells.append(text + markup.escaped((MARK if found and found.significant else "") + spread))
        rows.append(cells)
    runs = comparison.results.runs
    for method in comparison.results.experiment["methods"]:
        if method in failed:
            reasons = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]["failed"]
            reason = f"failed: {reasons.iloc[0]}" if len(reasons) else "not run yet"
            if any(
                each["values"] is None for each in budgets.records_of(comparison.results, dataset, method)
            ):
                reason = "failed: no trial of its search has finished"
            rows.append([markup.escaped(method), markup.escaped(reason), *[""] * (len(header) - 2)])
    for label, values in published_rows(comparison, dataset).items():
        cells = [f"{values[metric]:.4f}" if metric in values else "" for metric in comparison.metrics]
        rows.append([markup.escaped(label), *cells])
    return header, rows


def legend(comparison: Comparison, dataset: str) -> str:
    """The caption of the table of a data set."""
    experiment = comparison.results.experiment
    baseline = experiment["baseline"]
    of_dataset = comparison.results.finished()
    of_dataset = of_dataset[of_dataset["dataset"] == dataset]
    splits, seeds = of_dataset["split_seed"].nunique(), of_dataset["model_seed"].nunique()
    return (
        f"Test metrics, mean ± standard deviation over {splits} split(s) x {seeds} model seed(s); ↑ higher, "
        "↓ lower is better; best in bold, second underlined; "
        f"{MARK} differs from {baseline} at p < 0.05 after Holm's correction: "
        "paired t-test over users and, where there are several, over runs; metrics that are not means over "
        f"users are tested over runs alone. Data: {describe_split(experiment['datasets'][dataset])}."
        + budgets.legend(comparison.results, dataset)
        + legend_of(experiment.get("published", []), experiment["datasets"][dataset])
    )
