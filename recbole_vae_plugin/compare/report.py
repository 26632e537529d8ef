"""Results as one HTML page that works offline: tables, verdicts and charts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from recbole_vae_plugin.compare import budgets
from recbole_vae_plugin.compare.charts import MONITORED, chart_data
from recbole_vae_plugin.compare.costs import SECONDS, cost_legend, cost_text, mean_costs
from recbole_vae_plugin.compare.directions import with_arrow
from recbole_vae_plugin.compare.groups import group_legend
from recbole_vae_plugin.compare.tables import MARK, Comparison, legend, main_metric, published_rows
from recbole_vae_plugin.nn.monitor import has_collapsed
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import write_text


def write_report(comparison: Comparison, file: Path) -> None:
    """Write the page atomically.

    Raises:
        ValueError: there is no finished run.
    """
    if comparison.summary.empty:
        raise Refused(f"results: {comparison.results.folder} has no finished run to report")
    experiment = comparison.results.experiment
    datasets = [name for name in experiment["datasets"] if name in set(comparison.summary["dataset"])]
    page = template().render(
        experiment=experiment,
        metric=main_metric(comparison.results),
        sections=[section_data(comparison, name) for name in datasets],
        failures=comparison.failures(),
        environments=[environment_line(each) for each in comparison.results.environments],
        data=[chart_data(comparison, name) for name in datasets],
        plotly=get_plotlyjs(),
    )
    write_text(file, page)


def template() -> Template:
    """The template of the page: values are escaped, and an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # JSON has no NaN: plotly's encoder writes null; keys keep their order
    environment.policies["json.dumps_kwargs"] = {"cls": PlotlyJSONEncoder}
    return environment.get_template("report.html")


def environment_line(environment: dict) -> str:
    """Versions and hardware on one line."""
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value is not None)


def section_data(comparison: Comparison, dataset: str) -> dict[str, Any]:
    """The values of the template for the section of one data set."""
    metric, cost = main_metric(comparison.results), mean_costs(comparison, dataset)
    baseline = comparison.results.experiment["baseline"]
    of_groups = comparison.groups[comparison.groups["dataset"] == dataset].dropna(subset="difference")
    return {
        "dataset": dataset,
        "header": ["method", *map(with_arrow, comparison.metrics), *cost.columns],
        "rows": table_rows(comparison, dataset, cost),
        "legend": f"{legend(comparison, dataset)} {cost_legend(comparison, dataset)}",
        "costs": list(cost),
        "first_cost": SECONDS,
        "differences": [
            (each.method, comparison.finding(each))
            for each in comparison.differences
            if (each.dataset, each.metric) == (dataset, metric)
        ],
        "marks": {method: budgets.mark(comparison.results, dataset, method) for method in cost.index},
        "tuned_header": budgets.HEADER,
        "tuned": budgets.tuned_rows(comparison.results, dataset),
        "warnings": collapse_warnings(comparison, dataset),
        "metrics": comparison.metrics,
        "groups": list(of_groups["groups"].unique()),
        "group_legend": group_legend(of_groups, dataset, baseline, MARK),
        "monitored": [name for name in MONITORED if name in comparison.results.curves],
    }


class Cell(NamedTuple):
    """A cell of the table: its value, by which rows are sorted, its text, rank and standard deviation."""

    value: float
    text: str
    rank: str = ""
    deviation: str = ""


def table_rows(comparison: Comparison, dataset: str, cost: pd.DataFrame) -> dict[str, list[Cell]]:
    """Method -> cells with its metrics and costs."""
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    ranks = comparison.ranks(dataset)
    rows: dict[str, list[Cell]] = {}
    for method, group in of_dataset.groupby("method", sort=False):
        entries = []
        for row in group.itertuples():
            found = comparison.difference(dataset, method, row.metric)
            mark = MARK if found and found.significant else ""
            deviation = "" if math.isnan(row.deviation) else f"{row.deviation:.4f}"
            rank = {1: "best", 2: "second"}.get(ranks.loc[method, row.metric], "")
            entries.append(Cell(row.mean, f"{row.mean:.4f}{mark}", rank, deviation))
        entries += [Cell(value, cost_text(name, value)) for name, value in cost.loc[method].items()]
        rows[method] = entries
    for label, values in published_rows(comparison, dataset).items():
        shown = [values.get(metric, math.nan) for metric in comparison.metrics]
        cells = [Cell(value, "" if math.isnan(value) else f"{value:.4f}") for value in shown]
        rows[label] = [*cells, *[Cell(math.nan, "")] * len(cost.columns)]
    return rows


def collapse_warnings(comparison: Comparison, dataset: str) -> list[str]:
    """A warning for each method whose posterior has collapsed by the end of a run."""
    curves = comparison.results.curves
    if "active_units" not in curves:
        return []
    last = curves[curves["dataset"] == dataset].dropna(subset="active_units")
    last = last.groupby(["method", "split_seed", "model_seed"], sort=False).last()
    warnings = []
    for method, runs in last.groupby("method", sort=False):
        collapsed = []
        for (_, split, _), units in runs["active_units"].items():
            # a search may have found another width on each split
            width = latent_width(comparison.results.settings_of(dataset, method, split))
            if has_collapsed({"active_units": units}, width):
                collapsed.append((int(units), width))
        if collapsed:
            units, width = max(collapsed)
            warnings.append(
                f"The posterior of {method} has collapsed in {len(collapsed)} of {len(runs)} runs: at most "
                f"{units} of {width} latent units still vary over users. A smaller anneal_cap leaves more of "
                "them."
            )
    return warnings


def latent_width(settings: dict[str, Any]) -> int:
    """The number of latent units of one of this package's models."""
    if "latent_dimension" in settings:
        return settings["latent_dimension"]
    return default_value(settings["model"], "latent_dimension")


def default_value(model: str, key: str) -> Any:
    """The default of a key of one of this package's models."""
    from recbole_vae_plugin.settings.model_registry import MODELS

    # Any: the registry's classes are subclasses of AutoEncoderRecommender, which needs RecBole
    model_class: Any = MODELS[model]
    return next(each.plain_default for each in model_class.every_key() if each.name == key)
