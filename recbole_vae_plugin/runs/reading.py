"""What the files of experiments and of search spaces say alike: names, seeds, data sets, metrics."""

from __future__ import annotations

from pathlib import Path

from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.runs.run import LONGEST_NAME
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, refuse

#: Keys that must be the same for all methods, or it is not a comparison.
OF_DATA = {
    "dataset",
    "data_path",
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
OF_EXPERIMENT = {"metrics", "topk", "valid_metric", "seed", "checkpoint_dir", "metric_decimal_place"}
#: What ``datasets`` may be.
DATASETS = "config files of data sets, or a mapping from a label to a file or to keys"


def plain_name(name) -> str:
    """A name that may be a folder's.

    Raises:
        ValueError: it is a path, or none.
    """
    text = str(name)
    if (
        isinstance(name, (dict, list))
        or not text.strip()
        or Path(text).name != text
        or len(text) > LONGEST_NAME
    ):
        refuse("name", name, f"a name of up to {LONGEST_NAME} characters, without folders")
    return text


class explained:
    """Say of an error in the values where in the experiment it stands."""

    def __init__(self, where: str):
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, problem, traceback) -> None:
        if isinstance(problem, Refused):
            raise Refused(f"{self.where}: {problem}") from problem
        if problem is not None:
            problem.add_note(self.where)


def refuse_unknown_keys(what: str, given: dict, known: dict) -> None:
    for key in given:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise Refused(f"{key}: {what} has no such key{hint}; it has {', '.join(known)}")


def mapping(key: str, value, allowed) -> dict:
    """``value`` as a dict with no keys but the allowed ones."""
    if not isinstance(value, dict):
        keys = "keys" if allowed is None else " and ".join(allowed)
        refuse(key, value, f"a mapping with {keys}")
    for name in value:
        if allowed is not None and name not in allowed:
            refuse(key, name, " and ".join(allowed))
    return value


def seed_list(key: str, value) -> list[int]:
    """One seed or several as a list without repetitions."""
    values = value if isinstance(value, list) else [value]
    if value is None or not values:
        refuse(key, value, "a number, or a list of numbers")
    seeds = [integer(key, seed, 0) for seed in values]
    if len(set(seeds)) < len(seeds):
        refuse(key, value, "a list without repetitions")
    return seeds


def refuse_shared_keys(where: str, keys: dict, shared: set[str]) -> None:
    for key in keys:
        if key in shared:
            place = "the data set" if key in OF_DATA else "the experiment"
            raise Refused(f"{where}: {key} must be the same for all methods, so it belongs to {place}")


def read_datasets(given, folder: Path) -> dict[str, dict]:
    """Label -> keys; a data set given as a file is called after it."""
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
        # runs have folders of their own, where a relative path would lead elsewhere
        keys["data_path"] = str(Path(keys.get("data_path", "dataset")).expanduser().resolve())
        for key in (*OF_EXPERIMENT, "model"):
            keys.pop(key, None)
        datasets[str(label)] = keys
    return datasets


def file_list(key: str, files) -> list[str]:
    """One config file or several as a list."""
    found = [files] if isinstance(files, str) else files or []
    if not isinstance(found, list) or not all(isinstance(file, str) for file in found):
        refuse(key, files, "a config file, or a list of them")
    return found


def read_evaluation(given: dict) -> dict:
    """The keys ``metrics``, ``topk`` and ``valid_metric`` of a file, or what stands for them."""
    topk = given.get("topk", [10])
    topk = topk if isinstance(topk, list) else [topk]
    if not topk:
        refuse("topk", topk, "a number, or a list of numbers")
    return {
        "metrics": checks.metric_list(given.get("metrics", ["Recall", "MRR", "NDCG", "Hit", "Precision"])),
        "topk": [integer("topk", k, 1) for k in topk],
        "valid_metric": checks.metric_name("valid_metric", given.get("valid_metric", f"NDCG@{topk[0]}")),
    }
