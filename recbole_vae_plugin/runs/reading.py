"""What experiment files and search spaces have in common: names, seeds, data sets, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.runs.run import MAX_NAME_LENGTH
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, refuse

#: Keys of a data set: all methods of a comparison must share them.
DATA_KEYS = {
    "dataset",
    "data_path",
    "data_hash",
    "benchmark_filename",
    "load_col",
    "unload_col",
    "val_interval",
    "filter_inter_by_user_or_item",
    "user_inter_num_interval",
    "item_inter_num_interval",
    "rm_dup_inter",
    "threshold",
    "eval_args",
    "repeatable",
}
#: Keys of an experiment or a search as a whole.
EXPERIMENT_KEYS = {"metrics", "topk", "valid_metric", "seed", "checkpoint_dir", "metric_decimal_place"}
#: What ``datasets`` may be.
DATASETS = "config files of data sets, or a mapping from a label to a file or to keys"


def plain_name(name: Any) -> str:
    """``name`` if it can be the name of a folder.

    Raises:
        ValueError: it is empty, too long, or a path.
    """
    text = str(name)
    if (
        isinstance(name, (dict, list))
        or not text.strip()
        or Path(text).name != text
        or len(text) > MAX_NAME_LENGTH
    ):
        refuse("name", name, f"a name of up to {MAX_NAME_LENGTH} characters, without folders")
    return text


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """Prefix the messages of :class:`Refused`, and add a note to other errors, with the part of the file."""
    try:
        yield
    except Refused as problem:
        raise Refused(f"{where}: {problem}") from problem
    except Exception as problem:
        problem.add_note(where)
        raise


def refuse_unknown_keys(what: str, given: dict, known: dict) -> None:
    """Refuse the first key of ``given`` that is not in ``known``."""
    for key in given:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise Refused(f"{key}: {what} has no such key{hint}; it has {', '.join(known)}")


def mapping(key: str, value: Any, allowed: Iterable[str] | None) -> dict:
    """``value`` if it is a dict with no other keys than the allowed ones; ``None`` allows all."""
    if not isinstance(value, dict):
        keys = "keys" if allowed is None else " and ".join(allowed)
        refuse(key, value, f"a mapping with {keys}")
    for name in value:
        if allowed is not None and name not in allowed:
            refuse(key, name, " and ".join(allowed))
    return value


def seed_list(key: str, value: Any) -> list[int]:
    """One seed or several as a list without duplicates."""
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        refuse(key, value, "a number, or a list of numbers")
    seeds = [integer(key, seed, 0) for seed in values]
    if len(set(seeds)) < len(seeds):
        refuse(key, value, "a list without repetitions")
    return seeds


def refuse_shared_keys(where: str, keys: dict, shared: set[str]) -> None:
    """Refuse keys of the data set or the experiment among those of one method."""
    for key in keys:
        if key in shared:
            place = "the data set" if key in DATA_KEYS else "the experiment"
            raise Refused(f"{where}: {key} must be the same for all methods, so it belongs to {place}")


def read_datasets(given: Any, folder: Path) -> dict[str, dict]:
    """Label -> keys; the label of a data set given as a file is the file's name."""
    if isinstance(given, list) and given and all(isinstance(file, str) for file in given):
        labels = [Path(file).stem for file in given]
        if len(set(labels)) < len(labels):
            refuse("datasets", given, "files of different names, or a mapping from labels to files")
        given = dict(zip(labels, given))
    if not isinstance(given, dict) or not given:
        refuse("datasets", given, DATASETS)
    datasets = {}
    for label, content in given.items():
        if isinstance(content, str):
            where = f"datasets.{label}"
            content = read_config_file(find_config(content, where, ("datasets",), folder), where)
        keys = dict(mapping(f"datasets.{label}", content, None))
        keys.setdefault("dataset", str(label))
        # absolute: each run has a working directory of its own
        path = keys.get("data_path", "dataset")
        if not isinstance(path, str):
            refuse(f"datasets.{label}.data_path", path, "the path of a folder")
        keys["data_path"] = str(Path(path).expanduser().resolve())
        for key in (*EXPERIMENT_KEYS, "model"):
            keys.pop(key, None)
        datasets[str(label)] = keys
    return datasets


def file_list(key: str, files: Any) -> list[str]:
    """One config file or several as a list."""
    found = [files] if isinstance(files, str) else files or []
    if not isinstance(found, list) or not all(isinstance(file, str) for file in found):
        refuse(key, files, "a config file, or a list of them")
    return found


def read_evaluation(given: dict) -> dict:
    """The keys ``metrics``, ``topk`` and ``valid_metric`` of a file, or their defaults."""
    topk = given.get("topk", [10])
    topk = topk if isinstance(topk, list) else [topk]
    if not topk:
        refuse("topk", topk, "a number, or a list of numbers")
    return {
        "metrics": checks.metric_list(given.get("metrics", ["Recall", "MRR", "NDCG", "Hit", "Precision"])),
        "topk": [integer("topk", k, 1) for k in topk],
        "valid_metric": checks.metric_name("valid_metric", given.get("valid_metric", f"NDCG@{topk[0]}")),
    }
