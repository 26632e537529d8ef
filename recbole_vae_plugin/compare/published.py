"""Published results, shown alongside runs on the same protocol; they are never tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.runs.reading import error_context, mapping, refuse_unknown_keys
from recbole_vae_plugin.settings.config_files import find_config, read_config_file, shipped_files
from recbole_vae_plugin.settings.validation import Refused, number, one_of, refuse

KIND = "published"
KEYS = {
    "source": "where the figures are from",
    "protocol": "keys of the data set",
    "metrics": "such as ndcg@10",
    "rows": "a mapping from a model to its metrics, in their order",
}
#: Keys that decide which interactions are the training, validation and test data, and their defaults.
PROTOCOL: dict[str, Any] = {
    "dataset": None,
    "benchmark_filename": None,
    "val_interval": None,
    "user_inter_num_interval": None,
    "item_inter_num_interval": None,
    "filter_inter_by_user_or_item": True,
    "rm_dup_inter": None,
    "threshold": None,
    "repeatable": False,
    "eval_args": {},
}
EVALUATION = {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO", "mode": "full"}


def read_published(key: str, given: Any, folder: Path = Path()) -> list[dict[str, Any]]:
    """The published results that a key names.

    Args:
        key: the key or option, for error messages.
        given: the name or path of a file, a list of them, or a mapping from them to the models to show.
        folder: what a relative path is relative to.

    Returns:
        The content of each file, with its ``name`` and the chosen ``rows``.

    Raises:
        ValueError: there is no such file or model, or the file is not one of published results.
    """
    if not isinstance(given, dict):
        names = [given] if isinstance(given, str) else given or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            refuse(key, given, "a name or path of published results, or a mapping from it to models")
        given = dict.fromkeys(names)
    found = []
    for name, models in given.items():
        path = find_config(name, key, (KIND,), folder)
        content = read_file(path)
        if models is not None:
            models = [models] if isinstance(models, str) else models
            chosen = [one_of(f"{key}.{name}", model, content["rows"]) for model in models]
            content["rows"] = {model: content["rows"][model] for model in chosen}
        found.append(content)
    return found


def read_file(path: Path) -> dict[str, Any]:
    """The content of a file of published results, with its ``name``.

    Raises:
        ValueError: it has other content.
    """
    content = read_config_file(path, KIND)
    with error_context(str(path)):
        refuse_unknown_keys("a file of published results", content, KEYS)
        for key in KEYS:
            if not content.get(key):
                refuse(key, content.get(key), KEYS[key])
        mapping("protocol", content["protocol"], PROTOCOL)
        for model, values in mapping("rows", content["rows"], None).items():
            if not isinstance(values, list) or len(values) != len(content["metrics"]):
                refuse(f"rows.{model}", values, f"a list with {', '.join(content['metrics'])}")
            for value in values:
                number(f"rows.{model}", value, 0)
        content["metrics"] = [str(metric).lower() for metric in content["metrics"]]
    return {"name": path.stem, **content}


def difference_of_protocols(published: Mapping[str, Any], dataset: Mapping[str, Any]) -> str | None:
    """What a data set's keys have otherwise than a published protocol; ``None`` if they are the same.

    Args:
        published: keys of a data set, of which ``dataset`` may be a list of the names that it has gone by.
        dataset: keys of a data set.
    """
    names = _names(published)
    if dataset["dataset"] not in names:
        return f"dataset is {dataset['dataset']}, not {' or '.join(names)}"
    for key, default in PROTOCOL.items():
        ours, theirs = (_plain(key, keys.get(key, default)) for keys in (dataset, published))
        if key != "dataset" and ours != theirs:
            return f"{key} is {ours}, not {theirs}"
    return None


def _names(published: Mapping[str, Any]) -> list[str]:
    names = published["dataset"]
    return [names] if isinstance(names, str) else names


def _plain(key: str, value: Any) -> Any:
    """A value in a form that equal protocols share: without spaces, with ratios that sum to 1."""
    if key == "eval_args":
        value = {**EVALUATION, **(value or {})}
        mode = value["mode"]
        value["mode"] = mode.get("test", "full") if isinstance(mode, dict) else mode
        value["split"] = {way: _ratios(split) for way, split in value["split"].items()}
        return value
    if isinstance(value, dict):
        return {name: _plain("", each) for name, each in sorted(value.items())}
    if isinstance(value, str):
        value = value.replace(" ", "")
    # RecBole's default of the numbers of interactions
    return None if value == "[0,inf)" else value or None


def _ratios(split: Any) -> Any:
    if isinstance(split, list) and all(isinstance(part, (int, float)) for part in split) and sum(split):
        return [round(part / sum(split), 6) for part in split]
    return split


def rows_for(
    published: Iterable[Mapping[str, Any]], dataset: Mapping[str, Any], metrics: Iterable[str]
) -> dict[str, dict[str, float]]:
    """Model -> metric -> value, of the published results on the protocol of a data set.

    Args:
        published: from :func:`read_published`.
        dataset: keys of the data set.
        metrics: those of the table; rows without any of them are left out.
    """
    rows = {}
    for content in published:
        if difference_of_protocols(content["protocol"], dataset) is None:
            for model, values in content["rows"].items():
                known = dict(zip(content["metrics"], values))
                if shown := {metric: known[metric] for metric in metrics if metric in known}:
                    # two sources may have the same model
                    name = model if model not in rows else f"{model}, {content['name']}"
                    rows[name] = shown
    return rows


def check_published(
    published: Iterable[Mapping[str, Any]], datasets: Mapping[str, Mapping[str, Any]], metrics: Iterable[str]
) -> None:
    """Refuse published results that no data set could be compared with.

    Args:
        published: from :func:`read_published`.
        datasets: label -> keys.
        metrics: those of the table.

    Raises:
        Refused: names what differs.
    """
    metrics = list(metrics)
    for content in published:
        reasons = []
        for label, keys in datasets.items():
            if rows_for([content], keys, metrics):
                break
            differs = difference_of_protocols(content["protocol"], keys)
            reasons.append(
                f"on {label}, " + (differs or f"no metric is one of {', '.join(content['metrics'])}")
            )
        else:
            raise Refused(
                f"published: the results {content['name']} have another protocol than the runs: "
                f"{'; '.join(reasons)}"
            )


def check_board(dataset: Mapping[str, Any]) -> str:
    """Check that a data set has the protocol of RecBole's board for it.

    Returns:
        What was found, as a sentence.

    Raises:
        Refused: there is a board for this data set, and its protocol differs.
    """
    name = dataset["dataset"]
    boards = [read_file(path) for path in shipped_files([KIND])]
    board = next((each for each in boards if name in _names(each["protocol"])), None)
    if board is None:
        known = ", ".join(each["name"] for each in boards)
        return f"the protocol is not checked: RecBole's boards are of {known}, and none is of {name}"
    if differs := difference_of_protocols(board["protocol"], dataset):
        raise Refused(
            f"--format leaderboard: the runs do not have the protocol of the board {board['name']}: {differs}"
        )
    return f"the protocol is that of RecBole's board {board['name']}"


def label_of(model: str) -> str:
    """How a published row is marked in tables."""
    return f"{model} (published)"


def legend_of(published: Iterable[Mapping[str, Any]], dataset: Mapping[str, Any]) -> str:
    """Where the published rows of a table are from; empty without any."""
    sources = [
        content["source"]
        for content in published
        if difference_of_protocols(content["protocol"], dataset) is None
    ]
    if not sources:
        return ""
    return f" Published: on the same protocol, but not run, ranked or tested here; {', '.join(sources)}."
