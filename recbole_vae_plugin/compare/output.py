"""Results in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json

import pandas as pd

from recbole_vae_plugin.compare import budgets
from recbole_vae_plugin.compare.costs import all_costs, cost_cells, cost_legend
from recbole_vae_plugin.compare.groups import group_cells, group_legend
from recbole_vae_plugin.compare.league import league, league_legend, league_markdown
from recbole_vae_plugin.compare.markup import LATEX, MARKDOWN, latex_table, markdown_table
from recbole_vae_plugin.compare.tables import MARK, Comparison, legend, published_rows, table_cells
from recbole_vae_plugin.system.atomic import replacing, write_text


def markdown(comparison: Comparison) -> str:
    """A table for each data set and one over all of them, the verdicts and the failures."""
    parts = [f"# {comparison.results.experiment['name']}"]
    if comparison.results.experiment["description"]:
        parts.append(comparison.results.experiment["description"])
    for dataset in comparison.results.experiment["datasets"]:
        table = markdown_table(*table_cells(comparison, dataset, MARKDOWN))
        parts += [f"## {dataset}", table, legend(comparison, dataset)]
        if tuned := budgets.tuned_rows(comparison.results, dataset):
            cells = [[MARKDOWN.escaped(cell) for cell in row] for row in tuned]
            parts += ["### Tuned values", markdown_table(budgets.HEADER, cells)]
        if len((costs := cost_cells(comparison, dataset, MARKDOWN))[1]):
            parts += ["### Costs", markdown_table(*costs), cost_legend(comparison, dataset)]
        if dataset in set(comparison.groups["dataset"]):
            baseline = comparison.results.experiment["baseline"]
            groups = group_cells(comparison.groups, dataset, MARKDOWN, MARK)
            caption = group_legend(comparison.groups, dataset, baseline, MARK)
            parts += ["### For whom", markdown_table(*groups), caption]
    if comparison.summary["dataset"].nunique() > 1:
        parts += ["## All data sets", league_markdown(comparison), league_legend(comparison)]
    if verdicts := comparison.verdicts():
        parts += ["## Verdicts", "\n".join(f"- {verdict}" for verdict in verdicts)]
    if failures := comparison.failures():
        parts += ["## Failures", "\n".join(f"- {failure}" for failure in failures)]
    return "\n\n".join(parts) + "\n"


def latex(comparison: Comparison) -> str:
    """A booktabs table for each data set."""
    return "\n".join(
        latex_table(
            *table_cells(comparison, dataset, LATEX),
            caption=LATEX.escaped(f"{dataset}. {legend(comparison, dataset)}"),
        )
        for dataset in comparison.results.experiment["datasets"]
    )


def statistics_table(comparison: Comparison) -> pd.DataFrame:
    """Summary and difference from the baseline, one row per data set, method and metric."""
    rows = []
    for row in comparison.summary.to_dict("records"):
        found = comparison.difference(row["dataset"], row["method"], row["metric"])
        keys = (
            "difference",
            "low",
            "high",
            "t_p",
            "run_p",
            "p_adjusted",
            "wilcoxon_p",
            "wilcoxon_p_adjusted",
        )
        against = {f"baseline_{key}": getattr(found, key) for key in keys} if found else {}
        searches = budgets.statistics_columns(comparison.results, row["dataset"], row["method"])
        verdict = comparison.finding(found) if found else ""
        rows.append({**row, **against, "verdict": verdict, **searches})
    return pd.DataFrame(rows)


def as_csv(comparison: Comparison) -> str:
    """:func:`statistics_table` as CSV."""
    return statistics_table(comparison).to_csv(index=False)


def as_json(comparison: Comparison) -> str:
    """Experiment, environments, searches, :func:`statistics_table`, costs, groups and failures as JSON."""
    experiment = comparison.results.experiment
    content = {
        "experiment": experiment,
        "environments": comparison.results.environments,
        "searches": list(comparison.results.records.values()),
        "results": json.loads(statistics_table(comparison).to_json(orient="records", double_precision=10)),
        "costs": json.loads(all_costs(comparison).to_json(orient="records", double_precision=10)),
        "groups": json.loads(comparison.groups.to_json(orient="records", double_precision=10)),
        "published": {name: published_rows(comparison, name) for name in experiment["datasets"]},
        "failures": comparison.failures(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


FORMATS = {"markdown": markdown, "latex": latex, "csv": as_csv, "json": as_json}


def write_all(comparison: Comparison) -> None:
    """Write the tables and the collected data into the results folder."""
    results = comparison.results
    texts = {
        "runs.csv": results.runs.to_csv(index=False),
        "curves.csv": results.curves.to_csv(index=False),
        "environment.json": json.dumps(results.environments, indent=1),
        "table.md": markdown(comparison),
        "statistics.csv": as_csv(comparison),
        "costs.csv": all_costs(comparison).to_csv(index=False),
        "groups.csv": comparison.groups.to_csv(index=False),
    }
    if results.records:
        texts["searches.csv"] = results.searches.to_csv(index=False)
    if comparison.summary["dataset"].nunique() > 1:
        texts["league.csv"] = league(comparison).to_csv()
    for name, text in texts.items():
        write_text(results.folder / name, text)
    with replacing(results.folder / "users.csv.gz") as partial:
        results.users.to_csv(partial, index=False, compression="gzip")
