"""Results as tables for a README, a paper or a program."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pandas as pd

from recbole_vae_plugin.compare.directions import smaller_is_better, with_arrow
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.statistics import Difference, differences, summary
from recbole_vae_plugin.system.atomic import replacing, write_text

#: Marks a value that differs from the baseline's.
MARK = "*"


def metric_names(results: Results) -> list[str]:
    """The test metrics, such as ``ndcg@10``, in the experiment's order."""
    wanted = [metric.lower() for metric in results.experiment["metrics"]]
    known = [column.removeprefix("test_") for column in results.finished() if column.startswith("test_")]
    return sorted(known, key=lambda name: wanted.index(name.partition("@")[0]))


def main_metric(results: Results) -> str:
    """The metric of the verdicts, as a column is called."""
    return results.experiment["valid_metric"].lower()


class Comparison:
    """The statistics of an experiment, computed once for all the forms they are shown in.

    Attributes:
        summary: see :func:`~recbole_vae_plugin.compare.statistics.summary`.
        differences: each contestant against the baseline, in every metric.
    """

    def __init__(self, results: Results):
        self.results = results
        self.metrics = metric_names(results)
        self.summary = summary(results.finished(), results.users, self.metrics)
        tested = [metric for metric in self.metrics if metric in results.users]
        self.differences = differences(results.users, results.experiment["baseline"], tested)

    def of(self, dataset: str, contestant: str, metric: str) -> Difference | None:
        """The difference to the baseline, if there is one to speak of."""
        for each in self.differences:
            if (each.dataset, each.contestant, each.metric) == (dataset, contestant, metric):
                return each
        return None

    def ranks(self, dataset: str) -> pd.DataFrame:
        """Contestants x metrics: 1 for the best, 2 for the second, as far as four decimals tell."""
        of_dataset = self.summary[self.summary["dataset"] == dataset]
        means = of_dataset.pivot(index="contestant", columns="metric", values="mean")
        signs = [-1 if smaller_is_better(metric) else 1 for metric in means]
        return (means.round(4) * signs).rank(ascending=False, method="dense")

    def verdicts(self) -> list[str]:
        """One sentence a contestant and data set, in the metric of early stopping."""
        chosen = main_metric(self.results)
        if chosen not in self.results.users:
            return [f"{chosen} is no mean over users, so there is nothing to test"]
        return [
            f"{each.contestant} against {each.baseline} on {each.dataset}, {each.metric}: {each.verdict}"
            for each in self.differences
            if each.metric == chosen
        ]

    def failures(self) -> list[str]:
        """One line for each run that failed."""
        runs = self.results.runs
        failed = runs[runs["failed"].notna()] if len(runs) else runs
        return [
            f"{row.contestant} on {row.dataset}, split {row.split_seed}, seed {row.model_seed} "
            f"failed: {row.failed}"
            for row in failed.itertuples()
        ]


def formatted(
    comparison: Comparison, dataset: str, bold: Callable[[str], str], underline: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one data set: mean ± deviation, best bold, second underlined, marked where
    it differs from the baseline."""
    of_dataset = comparison.summary[comparison.summary["dataset"] == dataset]
    ranks = comparison.ranks(dataset)
    failed = set(comparison.results.experiment["contestants"]) - set(ranks.index)
    most = of_dataset["runs"].max()
    rows = []
    for contestant, group in of_dataset.groupby("contestant", sort=False):
        runs = group["runs"].iloc[0]
        cells = [contestant if runs == most else f"{contestant} ({runs} of {most} runs)"]
        for row in group.itertuples():
            emphasis = {1: bold, 2: underline}.get(ranks.loc[contestant, row.metric], str)
            text = emphasis(f"{row.mean:.4f}")
            found = comparison.of(dataset, contestant, row.metric)
            spread = "" if math.isnan(row.deviation) else f" ± {row.deviation:.4f}"
            cells.append(text + (MARK if found and found.shown else "") + spread)
        rows.append(cells)
    runs = comparison.results.runs
    for contestant in comparison.results.experiment["contestants"]:
        if contestant in failed:
            reasons = runs[(runs["dataset"] == dataset) & (runs["contestant"] == contestant)]["failed"]
            reason = f"failed: {reasons.iloc[0]}" if len(reasons) else "not run yet"
            rows.append([contestant, reason, *[""] * (len(comparison.metrics) - 1)])
    return ["model", *map(with_arrow, comparison.metrics)], rows


def legend(comparison: Comparison, dataset: str) -> str:
    """What the numbers and marks of a data set's table mean."""
    baseline = comparison.results.experiment["baseline"]
    of_dataset = comparison.results.finished()
    of_dataset = of_dataset[of_dataset["dataset"] == dataset]
    splits, seeds = of_dataset["split_seed"].nunique(), of_dataset["model_seed"].nunique()
    return (
        f"Test metrics, mean ± standard deviation over {splits} split(s) x {seeds} model seed(s); ↑ more, "
        "↓ less is better; best in bold, second underlined; "
        f"{MARK} differs from {baseline} at p < 0.05 after Holm's correction: "
        "paired t-test over users and, where there are several, over runs."
    )


def markdown(comparison: Comparison) -> str:
    """A table for each data set, the verdicts and what failed."""
    parts = [f"# {comparison.results.experiment['name']}"]
    if comparison.results.experiment["description"]:
        parts.append(comparison.results.experiment["description"])
    for dataset in comparison.results.experiment["datasets"]:
        header, rows = formatted(comparison, dataset, "**{}**".format, "<u>{}</u>".format)
        lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
        parts += [f"## {dataset}", "\n".join(lines), legend(comparison, dataset)]
    if verdicts := comparison.verdicts():
        parts += ["## Verdicts", "\n".join(f"- {verdict}" for verdict in verdicts)]
    if failures := comparison.failures():
        parts += ["## Failures", "\n".join(f"- {failure}" for failure in failures)]
    return "\n\n".join(parts) + "\n"


def latex(comparison: Comparison) -> str:
    """A booktabs table for each data set."""
    parts = []
    for dataset in comparison.results.experiment["datasets"]:
        # emphasis is marked with characters that no escape touches
        header, rows = formatted(comparison, dataset, "\x01{}\x03".format, "\x02{}\x03".format)
        commands = str.maketrans({"\x01": r"\textbf{", "\x02": r"\underline{", "\x03": "}"})
        body = [latex_row(row).translate(commands) for row in rows]
        lines = [
            r"\begin{table}",
            rf"\caption{{{latex_escaped(dataset)}. {latex_escaped(legend(comparison, dataset))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            latex_row(header),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex_row(cells: list[str]) -> str:
    return " & ".join(map(latex_escaped, cells)) + r" \\"


def latex_escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    special = {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "<": "$<$", ">": "$>$"}
    return "".join(special.get(character, character) for character in text)


def wide(comparison: Comparison) -> pd.DataFrame:
    """Summary and difference to the baseline, a row a data set, contestant and metric."""
    rows = []
    for row in comparison.summary.to_dict("records"):
        found = comparison.of(row["dataset"], row["contestant"], row["metric"])
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
        rows.append({**row, **against, "verdict": found.verdict if found else ""})
    return pd.DataFrame(rows)


def csv(comparison: Comparison) -> str:
    return wide(comparison).to_csv(index=False)


def as_json(comparison: Comparison) -> str:
    content = {
        "experiment": comparison.results.experiment,
        "environments": comparison.results.environments,
        "results": json.loads(wide(comparison).to_json(orient="records", double_precision=10)),
        "failures": comparison.failures(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


FORMATS = {"markdown": markdown, "latex": latex, "csv": csv, "json": as_json}


def write_all(comparison: Comparison) -> None:
    """Tables and collected data into the results folder, each file readable by itself."""
    results = comparison.results
    texts = {
        "runs.csv": results.runs.to_csv(index=False),
        "curves.csv": results.curves.to_csv(index=False),
        "environment.json": json.dumps(results.environments, indent=1),
        "table.md": markdown(comparison),
        "statistics.csv": csv(comparison),
    }
    for name, text in texts.items():
        write_text(results.folder / name, text)
    with replacing(results.folder / "users.csv.gz") as partial:
        results.users.to_csv(partial, index=False, compression="gzip")
