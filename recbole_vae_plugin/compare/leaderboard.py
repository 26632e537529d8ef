"""A row for RecBole's public leaderboards, its hyper-parameter page, and the board with the row added.

A board has one value per metric: here it is the mean over the method's runs.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from recbole_vae_plugin.compare.budgets import records_of
from recbole_vae_plugin.compare.directions import lower_is_better
from recbole_vae_plugin.compare.markup import MARKDOWN, markdown_table
from recbole_vae_plugin.compare.published import check_board
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.searches import winner_line
from recbole_vae_plugin.compare.tables import main_metric
from recbole_vae_plugin.integration.config.keys import default_keys
from recbole_vae_plugin.runs.run import slug
from recbole_vae_plugin.settings.config_files import read_config_file
from recbole_vae_plugin.settings.validation import Refused, one_of, refuse
from recbole_vae_plugin.system.atomic import write_text

METRICS = ("recall", "mrr", "ndcg", "hit", "precision")
#: Fields given on the command line by the person who publishes the row.
PUBLISHER_FIELDS = ("year", "pub", "model_link", "ref_code", "contributor", "contributor_email", "tester")


def publish(results: Results, options: Namespace) -> None:
    """Write the row, its page and, if a board is given, the merged board; print the row and its rank.

    Args:
        results: of an experiment with Recall, MRR, NDCG, Hit and Precision at 10.
        options: the command's, see ``recbole-vae table --help``.

    Raises:
        ValueError: an unknown method or data set, no results, another protocol than that of RecBole's board,
            different tuned values on several splits, or an invalid board.
    """
    dataset, method = select_method(results, options.dataset, options.method)
    found = check_board(results.experiment["datasets"][dataset])
    tuned = {winner_line(record) for record in records_of(results, dataset, method)}
    if len(tuned) > 1:
        refuse(
            "tune.splits",
            "each",
            "first, or one split: a row has one page of hyperparameters, and the "
            f"searches of {method} have chosen different ones",
        )
    runs = results.finished()
    runs = runs[(runs["dataset"] == dataset) & (runs["method"] == method)]
    board = read_board(options.board) if options.board else None
    space = read_space(options.search_space) if options.search_space else None
    folder = Path(options.output or results.folder / "leaderboard")
    page = Path("hyperparameters", f"{slug(dataset)}_{slug(method)}.md")
    new = leaderboard_row(
        runs, method, str(page), {field: getattr(options, field) for field in PUBLISHER_FIELDS}
    )

    write_text(folder / page, hyperparameter_page(results, runs, dataset, method, space))
    write_text(folder / "row.json", json.dumps(new, indent=1, ensure_ascii=False))
    print(json.dumps(new, indent=1, ensure_ascii=False))
    print(f"row and hyper-parameter page written to {folder}; {found}")
    if board is not None:
        merged = ranked([*board, new])
        write_text(folder / "board.json", json.dumps(merged, indent=1, ensure_ascii=False))
        print(f"\n{board_table(merged, new)}\nrank {merged.index(new) + 1} of {len(merged)} by NDCG@10")


def select_method(results: Results, dataset: str | None, method: str | None) -> tuple[str, str]:
    """The data set and method that were named; by default the only data set and its best method."""
    runs = results.finished()
    if runs.empty:
        refuse("results", str(results.folder), "a folder with at least one finished run")
    datasets = list(runs["dataset"].unique())
    if dataset is None and len(datasets) > 1:
        refuse("--dataset", dataset, ", ".join(datasets))
    dataset = one_of("--dataset", dataset or datasets[0], datasets)
    means = runs[runs["dataset"] == dataset].groupby("method")[f"test_{main_metric(results)}"].mean()
    best = means.idxmin() if lower_is_better(main_metric(results)) else means.idxmax()
    return dataset, one_of("--method", method or best, means.index)


def leaderboard_row(runs: pd.DataFrame, method: str, page: str, given: dict[str, str]) -> dict[str, str]:
    """The fields of the public boards in their format: metrics with four decimals, seconds per epoch, GB, and
    a dash for what was not measured."""
    columns = [f"test_{metric}@10" for metric in METRICS]
    if missing := [column.removeprefix("test_") for column in columns if column not in runs]:
        refuse("metrics", missing, "Recall, MRR, NDCG, Hit and Precision at topk 10, which a board shows")
    values = runs[columns].mean()
    first = runs.iloc[0]
    return {
        "year": given["year"],
        "pub": given["pub"],
        "model": method,
        "model_link": given["model_link"],
        "ref_code": given["ref_code"],
        "hyper_md": page,
        **{f"{metric}10": f"{values[f'test_{metric}@10']:.4f}" for metric in METRICS},
        "parameters": f"{int(first['parameters']):,}",
        "flops": f"{int(first['flops']):,}",
        "train_time": two_decimals(runs["train_seconds"].mean()),
        "eval_time": two_decimals(runs["eval_seconds"].mean()),
        "train_gpu_memory": gigabytes(runs["train_gpu_memory"].max()),
        "eval_gpu_memory": gigabytes(runs["eval_gpu_memory"].max()),
        "contributor": given["contributor"],
        "contributor_email": given["contributor_email"],
        "tester": given["tester"],
    }


def two_decimals(value: float) -> str:
    """A number with two decimals; a dash for NaN."""
    return "-" if pd.isna(value) else f"{value:.2f}"


def gigabytes(mebibytes: float) -> str:
    """GB as RecBole counts them; a dash if no GPU was used."""
    return two_decimals(mebibytes / 1024) if mebibytes else "-"


def read_space(file: str) -> str:
    """The text of a search space.

    Raises:
        ValueError: there is no such file.
    """
    if not Path(file).is_file():
        refuse("--search-space", file, "the path of an existing file")
    return Path(file).read_text(encoding="utf-8")


def read_board(file: str) -> list[dict]:
    """The rows of a board: a JSON list, or an object that contains one list.

    Raises:
        ValueError: the file is missing or has other content.
    """
    allowed = "a JSON file with a list of rows that have ndcg10 and model"
    try:
        content: Any = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise Refused(f"--board: got {file!r} ({problem}); allowed: {allowed}") from problem
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else None
    is_board = isinstance(content, list) and all(
        isinstance(entry, dict) and {"ndcg10", "model"} <= set(entry) for entry in content
    )
    if not is_board:
        refuse("--board", file, allowed)
    try:
        return ranked(content)
    except (TypeError, ValueError):
        refuse("--board", file, "rows whose ndcg10 is a number")


def ranked(rows: list[dict]) -> list[dict]:
    """Rows by descending NDCG@10; ties keep their order."""
    return sorted(rows, key=lambda entry: -float(entry["ndcg10"]))


def board_table(rows: list[dict], new: dict) -> str:
    """The board in Markdown, the new row in bold."""
    fields = ["model", *(f"{metric}10" for metric in METRICS)]
    table = []
    for rank, entry in enumerate(rows, start=1):
        cells = [str(rank), *(MARKDOWN.escaped(str(entry.get(field, ""))) for field in fields)]
        table.append([MARKDOWN.bold(cell) for cell in cells] if entry is new else cells)
    return markdown_table(["rank", *fields], table)


def hyperparameter_page(
    results: Results, runs: pd.DataFrame, dataset: str, method: str, space: str | None
) -> str:
    """A page with everything that is needed to reproduce the row."""
    experiment = results.experiment
    model = experiment["methods"][method]["model"]
    parameters = experiment["spaces"].get(method, {}).get("parameters", {})
    # what a search has found is in the resolved config
    given = {**experiment["settings"], **experiment["methods"][method], **parameters}
    if parameters and space is None:
        space = yaml.safe_dump(parameters, sort_keys=False)
    resolved = read_config_file(results.config_of(dataset, method))
    shown = {**dict.fromkeys(default_keys(model)), **given}
    model_keys = {key: resolved.get(key) for key in shown}
    of_data = {key: value for key, value in experiment["datasets"][dataset].items() if key != "data_path"}
    of_data |= {key: experiment[key] for key in ("metrics", "topk", "valid_metric")}
    logged = runs[["split_seed", "model_seed", "best_epoch", "valid_score"]].copy()
    for column in (column for column in runs if column.startswith("test_")):
        logged[column] = runs[column].map("{:.4f}".format)
    sections = [
        f"# {method} on {dataset}",
        "## Data set",
        fenced("yaml", yaml.safe_dump(of_data, sort_keys=False)),
        "## Model",
        f"`{model}`, with the seeds of split and weights as in the table below.",
        "## Search space",
        fenced("", space) if space else "No search in this experiment; the values were given.",
        "## Best parameters",
        fenced("yaml", yaml.safe_dump(model_keys, sort_keys=False)),
        "## Logged results",
        markdown_table(list(logged), logged.itertuples(index=False)),
    ]
    return "\n\n".join(sections) + "\n"


def fenced(language: str, text: str) -> str:
    """A fenced code block of Markdown."""
    return f"```{language}\n{text.strip()}\n```"
