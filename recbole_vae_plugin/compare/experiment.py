"""What is compared: the experiment file, read and checked, and the runs it asks for."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, one_of, refuse

KEYS = {
    "name": "what the experiment is called; by default the name of its file",
    "description": "a sentence for tables and the report",
    "datasets": "config files of data sets, or a mapping from a label to a file or to keys",
    "methods": "a mapping from a label to a model, a config file and overrides",
    "baseline": "the method that the others are tested against",
    "seeds": "split: seeds of the data split; model: seeds of weights and batches",
    "metrics": "RecBole's metrics",
    "topk": "lengths of the list of recommendations",
    "valid_metric": "the metric of early stopping and of the verdicts",
    "settings": "keys for all methods",
    "checkpoints": "whether to keep the best checkpoint of each run",
}

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


#: Characters of a label in the name of a folder.
LONGEST_NAME = 80


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


def slug(label: str) -> str:
    """A label as the name of a folder; labels that differ only in odd characters stay apart."""
    plain = re.sub(r"[^\w.+-]+", "-", label).strip("-.")[:LONGEST_NAME]
    return plain if plain == label else f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Cell:
    """One run: a contestant on a data set, with a seed for the split and one for the model."""

    dataset: str
    contestant: str
    split_seed: int
    model_seed: int
    settings: dict

    @property
    def folder(self) -> Path:
        """Where its results lie, below the experiment's ``runs``."""
        seeds = f"split-{self.split_seed}-model-{self.model_seed}"
        return Path(slug(self.dataset), slug(self.contestant), seeds)

    @property
    def fingerprint(self) -> str:
        """Equal for runs that are configured alike, wherever their data lies."""
        settings = {key: value for key, value in self.settings.items() if key != "data_path"}
        text = json.dumps(asdict(replace(self, settings=settings)), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.contestant} on {self.dataset}, split {self.split_seed}, seed {self.model_seed}"


@dataclass(frozen=True)
class Experiment:
    """An experiment file with every other file that it names read in.

    Attributes:
        datasets: label -> keys of RecBole's config, ``dataset`` among them.
        methods: label -> keys, ``model`` among them.
        method_seeds: label -> seeds of its model, where they are not the experiment's.
    """

    name: str
    description: str
    datasets: dict[str, dict]
    methods: dict[str, dict]
    method_seeds: dict[str, list[int]]
    baseline: str
    split_seeds: list[int]
    model_seeds: list[int]
    metrics: list[str]
    topk: list[int]
    valid_metric: str
    settings: dict
    checkpoints: bool

    @classmethod
    def read(cls, file: str) -> Experiment:
        """Read a file, given by its path or a shipped one's name; paths in it are relative to it.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        file = find_config(file, "experiment", ("experiments",))
        given = read_config_file(file, "experiment")
        if "contestants" in given:
            print(f"warning: {file}: the key contestants is now called methods", file=sys.stderr)
        given = with_current_names(given)
        refuse_unknown_keys("an experiment", given, KEYS)
        folder = Path(file).resolve().parent
        seeds = mapping("seeds", given.get("seeds"), ("split", "model"))
        methods, method_seeds = read_methods(given.get("methods"), folder)
        settings = mapping("settings", given.get("settings") or {}, None)
        refuse_shared_keys("settings", settings, OF_DATA | OF_EXPERIMENT | {"model"})
        metrics = checks.metric_list(given.get("metrics", ["Recall", "MRR", "NDCG", "Hit", "Precision"]))
        topk = given.get("topk", [10])
        topk = topk if isinstance(topk, list) else [topk]
        if not topk:
            refuse("topk", topk, "a number, or a list of numbers")
        return cls(
            name=plain_name(given.get("name", Path(file).stem)),
            description=str(given.get("description", "")).strip(),
            datasets=read_datasets(given.get("datasets"), folder),
            methods=methods,
            method_seeds=method_seeds,
            baseline=one_of("baseline", given.get("baseline"), methods),
            split_seeds=seed_list("seeds.split", seeds.get("split", 2020)),
            model_seeds=seed_list("seeds.model", seeds.get("model")),
            metrics=metrics,
            topk=[integer("topk", k, 1) for k in topk],
            valid_metric=checks.metric_name("valid_metric", given.get("valid_metric", f"NDCG@{topk[0]}")),
            settings=settings,
            checkpoints=yes_or_no("checkpoints", given.get("checkpoints", False)),
        )

    def cells(self) -> Iterator[Cell]:
        """All runs; those that share prepared data stand together, and every method runs once
        before any runs with a further seed."""
        shared = {"metrics": self.metrics, "topk": self.topk, "valid_metric": self.valid_metric}
        every_seed = dict.fromkeys(self.model_seeds)
        for seeds in self.method_seeds.values():
            every_seed |= dict.fromkeys(seeds)
        for dataset, of_data in self.datasets.items():
            for split_seed in self.split_seeds:
                for model_seed in every_seed:
                    for label, keys in self.methods.items():
                        if model_seed in self.method_seeds.get(label, self.model_seeds):
                            settings = {**of_data, **self.settings, **keys, **shared}
                            yield Cell(dataset, label, split_seed, model_seed, settings)

    def check(self) -> None:
        """Refuse what RecBole would refuse, or silently misread, before anything is trained.

        Raises:
            ValueError: names the method or the data set, the key, the value, what is allowed.
        """
        checks.check_evaluation({"metrics": self.metrics})
        if len({metric.lower() for metric in self.metrics}) < len(self.metrics):
            refuse("metrics", self.metrics, "a list without repetitions")
        for label, keys in self.methods.items():
            with explained(f"method {label}"):
                checks.check_model(keys["model"])
                checks.check_keys(keys["model"], [*keys, *self.settings], {})
        for label, keys in self.datasets.items():
            with explained(f"data set {label}"):
                checks.check_keys(self.methods[self.baseline]["model"], keys, {})
        one_run_each = {(cell.dataset, cell.contestant): cell for cell in self.cells()}
        ground: dict[str, dict] = {}
        for (label, method), cell in one_run_each.items():
            with explained(f"method {method} on {label}"):
                checks.check_evaluation(cell.settings)
                model, dataset = cell.settings["model"], cell.settings["dataset"]
                config = checks.config_of(model, dataset, config_dict=cell.settings)
                here = {key: config[key] for key in sorted(OF_DATA - {"data_path", "dataset"})}
                for key, value in ground.setdefault(label, here).items():
                    if here[key] != value:
                        refuse(
                            key,
                            here[key],
                            f"{value}, as for the other methods; {model} has a default of its own, so "
                            f"set {key} in the data set",
                        )
                checks.check_config(config)
                checks.check_judged(config, "test", "a comparison")

    def check_data(self, cells: Iterable[Cell]) -> None:
        """Refuse what only the data tells, before anything is trained: lists longer than the catalogue,
        filters that leave nothing, columns that there are not. Each data set is prepared once for each kind
        of model.

        Args:
            cells: the runs that are ahead.

        Raises:
            Refused: names the contestant and the data set, the key, the value, what is allowed.
        """
        from recbole_vae_plugin.integration.data.prepared import check_data

        prepared: set[str] = set()
        for cell in {(cell.dataset, cell.contestant): cell for cell in cells}.values():
            with explained(f"contestant {cell.contestant} on {cell.dataset}"):
                config = checks.config_of(
                    cell.settings["model"], cell.settings["dataset"], config_dict=cell.settings
                )
                check_data(config, cell.split_seed, "test", prepared)


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


def yes_or_no(key: str, value) -> bool:
    if not isinstance(value, bool):
        refuse(key, value, "true or false")
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
        refuse("datasets", given, KEYS["datasets"])
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


def read_methods(given, folder: Path) -> tuple[dict[str, dict], dict[str, list[int]]]:
    """Label -> keys, and label -> its own seeds; a label without a model is the model's name."""
    if isinstance(given, list) and all(isinstance(label, str) for label in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict) or not given:
        refuse("methods", given, KEYS["methods"])
    methods, seeds = {}, {}
    for label, content in given.items():
        where = f"methods.{label}"
        overrides = dict(mapping(where, {} if content is None else content, None))
        files = overrides.pop("config", [])
        if "seeds" in overrides:
            seeds[str(label)] = seed_list(f"{where}.seeds", overrides.pop("seeds"))
        keys: dict = {}
        key = f"{where}.config"
        for file in file_list(key, files):
            keys |= read_config_file(find_config(file, key, folder=folder), key)
        keys |= overrides
        keys.setdefault("model", str(label))
        refuse_shared_keys(where, keys, OF_DATA | OF_EXPERIMENT)
        methods[str(label)] = keys
    return methods, seeds
