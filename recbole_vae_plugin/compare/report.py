"""Results as one page of HTML that needs no network: the table, the verdicts and the pictures."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from string import Template

import pandas as pd
from plotly.offline import get_plotlyjs

from recbole_vae_plugin.compare.directions import with_arrow
from recbole_vae_plugin.compare.statistics import per_user
from recbole_vae_plugin.compare.tables import MARK, Comparison, legend, main_metric
from recbole_vae_plugin.nn.monitor import has_collapsed
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import replacing

TEMPLATE = Path(__file__).with_name("report.html")
#: Users whose differences the page can show; a sample of them where there are more.
MOST_USERS = 20_000
MONITORED = {
    "reconstruction": "reconstruction loss (nats a user)",
    "kl": "KL term (nats a user)",
    "beta": "weight of the KL term (beta)",
    "active_units": "active latent units",
}


def write_report(comparison: Comparison, file: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        ValueError: there is no finished run to show.
    """
    if comparison.summary.empty:
        raise Refused(f"results: {comparison.results.folder} has no finished run to report")
    experiment = comparison.results.experiment
    datasets = [name for name in experiment["datasets"] if name in set(comparison.summary["dataset"])]
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(experiment["name"]),
        description=escape(experiment["description"]),
        sections="\n".join(section(comparison, place, name) for place, name in enumerate(datasets)),
        failures=items(comparison.failures(), "Runs that failed"),
        environments=items([in_words(each) for each in comparison.results.environments], "Made on"),
        data=script_json([data_of(comparison, name) for name in datasets]),
        plotly=get_plotlyjs(),
    )
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def script_json(content) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(without_nan(content)).replace("<", "\\u003c")


def without_nan(content):
    """JSON has no NaN: ``None`` in its place."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def in_words(environment: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in environment.items() if value is not None)


def items(lines: list[str], heading: str) -> str:
    """A heading and a list, or nothing."""
    if not lines:
        return ""
    return f"<h2>{escape(heading)}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def section(comparison: Comparison, place: int, dataset: str) -> str:
    """The part of the page about one data set; the script draws into its empty boxes."""
    verdicts = [
        f"<li><b>{escape(each.contestant)}</b>: {escape(each.verdict)}</li>"
        for each in comparison.differences
        if each.dataset == dataset and each.metric == main_metric(comparison.results)
    ]
    baseline = escape(comparison.results.experiment["baseline"])
    warnings = [f'<p class="warning">{escape(line)}</p>' for line in collapses(comparison, dataset)]
    metrics = "".join(f"<option>{escape(metric)}</option>" for metric in comparison.metrics)
    watched = [name for name in MONITORED if name in comparison.results.curves]
    inside = "".join(f'<div class="chart" data-chart="inside" data-name="{name}"></div>' for name in watched)
    return f"""<section data-place="{place}"><h2>{escape(dataset)}</h2>
<label class="filter">Show models that contain <input type="search" placeholder="VAE"></label>
<div class="scroll">{html_table(comparison, dataset)}</div>
<p class="note">{escape(legend(comparison, dataset))}</p>
<h3>Against {baseline}, {escape(main_metric(comparison.results))}</h3><ul>{"".join(verdicts)}</ul>
{"".join(warnings)}
<h3>Metrics with 95% intervals over users</h3>
<label>Metric <select data-role="metric">{metrics}</select></label>
<div class="chart" data-chart="bars"></div>
<h3>Quality against the time of a run</h3><div class="chart" data-chart="time"></div>
<h3>Learning curves</h3><div class="chart" data-chart="curves"></div>
{f"<h3>Inside the autoencoders</h3>{inside}" if inside else ""}
<h3>Differences of single users</h3>
<label>of <select data-role="first"></select></label> <label>less <select data-role="second"></select></label>
<div class="chart" data-chart="users"></div></section>"""


def html_table(comparison: Comparison, dataset: str) -> str:
    """A table that the script sorts by the numbers in ``data-value``."""
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    cost = costs(comparison, dataset)
    ranks = comparison.ranks(dataset)
    header = ["model", *map(with_arrow, comparison.metrics), *cost.columns]
    rows = []
    for contestant, group in of_dataset.groupby("contestant", sort=False):
        cells = [f'<td data-value="{escape(contestant)}">{escape(contestant)}</td>']
        for row in group.itertuples():
            found = comparison.of(dataset, contestant, row.metric)
            mark = MARK if found and found.shown else ""
            spread = "" if math.isnan(row.deviation) else f"<small> ± {row.deviation:.4f}</small>"
            kind = {1: ' class="best"', 2: ' class="second"'}.get(ranks.loc[contestant, row.metric], "")
            cells.append(f'<td data-value="{row.mean}"{kind}>{row.mean:.4f}{mark}{spread}</td>')
        for value in cost.loc[contestant]:
            cells.append(f'<td data-value="{value}">{value:,.{0 if value >= 100 else 2}f}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th scope="col"><button>{escape(name)}</button></th>' for name in header)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def costs(comparison: Comparison, dataset: str) -> pd.DataFrame:
    """Contestant -> what its runs cost on average."""
    runs = comparison.results.finished()
    runs = runs[runs["dataset"] == dataset]
    # the first run on a split prepares the data for all
    runs = runs.assign(seconds=runs["seconds"] - runs["prepare_seconds"])
    names = {
        "train_seconds": "s a training epoch",
        "eval_seconds": "s an evaluation",
        "seconds": "s a run, data prepared",
        "peak_memory": "peak MiB",
        "parameters": "parameters",
    }
    return runs.groupby("contestant")[[*names]].mean().astype(float).rename(columns=names)


def collapses(comparison: Comparison, dataset: str) -> list[str]:
    """A warning in words for each contestant whose code carried next to nothing at the end of a run."""
    curves, experiment = comparison.results.curves, comparison.results.experiment
    if "active_units" not in curves:
        return []
    last = curves[curves["dataset"] == dataset].dropna(subset="active_units")
    last = last.groupby(["contestant", "split_seed", "model_seed"], sort=False).last()
    warnings = []
    for contestant, runs in last.groupby("contestant", sort=False):
        keys = {**experiment["settings"], **experiment["contestants"][contestant]}
        width = keys.get("latent_dimension", default_of(keys["model"], "latent_dimension"))
        empty = [n for n in runs["active_units"] if has_collapsed({"active_units": n}, width)]
        if empty:
            warnings.append(
                f"The posterior of {contestant} has collapsed in {len(empty)} of {len(runs)} runs: at most "
                f"{int(max(empty))} of {width} latent units still vary over users. A smaller anneal_cap "
                "leaves more of them."
            )
    return warnings


def default_of(model: str, key: str):
    """The default of one of our models."""
    from recbole_vae_plugin.settings.model_registry import MODELS

    return next(each.plain_default for each in MODELS[model].every_key() if each.name == key)


def data_of(comparison: Comparison, dataset: str) -> dict:
    """What the pictures of a data set show, as plain lists."""
    results, metric = comparison.results, main_metric(comparison.results)
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    users = results.users[results.users["dataset"] == dataset]
    columns = {
        contestant: per_user(group, metric).groupby("user").mean()
        for contestant, group in users.groupby("contestant", sort=False)
        if metric in users
    }
    table = pd.DataFrame(columns)
    if len(table) > MOST_USERS:
        table = table.sample(MOST_USERS, random_state=0)
    seconds = costs(comparison, dataset)["s a run, data prepared"]
    main = of_dataset[of_dataset["metric"] == metric].set_index("contestant")
    return {
        "metric": metric,
        "baseline": results.experiment["baseline"],
        "summary": of_dataset[["contestant", "metric", "mean", "low", "high"]].to_dict("records"),
        "time": [
            {"contestant": contestant, "seconds": seconds[contestant], "mean": main.loc[contestant, "mean"]}
            for contestant in main.index
        ],
        "curves": curves_of(comparison, dataset),
        "monitored": MONITORED,
        "users": {contestant: table[contestant].round(4).tolist() for contestant in table},
    }


def curves_of(comparison: Comparison, dataset: str) -> list[dict]:
    """One entry a run: epochs, validation metric and what was monitored."""
    curves = comparison.results.curves
    if curves.empty:
        return []
    columns = {"valid": f"valid_{main_metric(comparison.results)}", **{name: name for name in MONITORED}}
    entries = []
    keys = ["contestant", "split_seed", "model_seed"]
    for (contestant, split, seed), run in curves[curves["dataset"] == dataset].groupby(keys, sort=False):
        entry = {"contestant": contestant, "seeds": f"split {split}, seed {seed}"}
        entry["epoch"] = run["epoch"].tolist()
        for name, column in columns.items():
            if column in run and run[column].notna().any():
                entry[name] = run[column].tolist()
        entries.append(entry)
    return entries
