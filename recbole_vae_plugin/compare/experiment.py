"""The experiment file, read and checked, and the runs that it defines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recbole_vae_plugin.compare.published import check_published, read_published
from recbole_vae_plugin.compare.tuning import MethodSpace, read_budget, read_spaces
from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.runs.reading import (
    DATA_KEYS,
    DATASETS,
    EXPERIMENT_KEYS,
    error_context,
    file_list,
    mapping,
    plain_name,
    read_datasets,
    read_evaluation,
    refuse_shared_keys,
    refuse_unknown_keys,
    seed_list,
)
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import one_of, refuse
from recbole_vae_plugin.system.installation import require
from recbole_vae_plugin.tune.space import UNLIMITED, Space

KEYS = {
    "name": "what the experiment is called; by default the name of its file",
    "description": "a sentence for tables and the report",
    "datasets": DATASETS,
    "methods": "a mapping from a label to a model, a config file and overrides",
    "baseline": "the method that the others are tested against",
    "seeds": "split: seeds of the data split; model: seeds of weights and batches; 2020 by default",
    "metrics": "RecBole's metrics",
    "topk": "lengths of the list of recommendations",
    "valid_metric": "the metric of early stopping and of the verdicts",
    "settings": "keys for all methods",
    "checkpoints": "whether to keep the best checkpoint of each run",
    "published": "published results to show alongside, such as recbole-ml-1m",
    "energy": "whether CodeCarbon estimates the energy of each run",
    "tune": "the budget of a search for each method: trials, hours, warm_up_epochs, splits",
}


class SearchKey(NamedTuple):
    """What a search is for: a method on a data set, on one split of it."""

    dataset: str
    method: str
    split_seed: int

    def __str__(self) -> str:
        return f"{self.method} on {self.dataset}, split {self.split_seed}"


#: Search -> the values that its best trial has changed; those of searches that have ended.
Winners = Mapping[SearchKey, dict[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """An experiment file, with the contents of the files that it names.

    Attributes:
        datasets: label -> keys of RecBole's config, ``dataset`` among them.
        methods: label -> keys, ``model`` among them.
        method_seeds: label -> model seeds of a method that replace the experiment's.
        published: see :func:`~recbole_vae_plugin.compare.published.read_published`.
        tune: the budget of every search, see :func:`~recbole_vae_plugin.compare.tuning.read_budget`; ``None``
            where nothing is tuned.
        spaces: label -> :class:`~recbole_vae_plugin.compare.tuning.MethodSpace` as a dict; empty where
            nothing is tuned.
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
    energy: bool = False
    published: list[dict] = field(default_factory=list)
    tune: dict[str, Any] | None = None
    spaces: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def read(cls, file: str, datasets: list[str] | None = None) -> Experiment:
        """Read an experiment file, given by its path or the name of a shipped one; paths in it are relative
        to its folder.

        Args:
            file: a path or a name.
            datasets: configs of data sets, relative to the working directory, in place of the experiment's.
                Their labels are added to the experiment's name, and so to its folder of results.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        path = find_config(file, "experiment", ("experiments",))
        given = read_config_file(path, "experiment")
        if "contestants" in given:
            print(f"warning: {path}: the key contestants is now called methods", file=sys.stderr)
        given = with_current_names(given)
        refuse_unknown_keys("an experiment", given, KEYS)
        folder = path.resolve().parent
        seeds = mapping("seeds", given.get("seeds", {}), ("split", "model"))
        methods, method_seeds, method_tune = read_methods(given.get("methods"), folder)
        name, description = given.get("name", path.stem), str(given.get("description", "")).strip()
        if datasets:
            of_data = read_datasets(datasets, Path())
            description = f"The methods of the experiment {name} on {', '.join(of_data)}."
            name = "-".join([str(name), *of_data])
        else:
            of_data = read_datasets(given.get("datasets"), folder)
        settings = mapping("settings", given.get("settings") or {}, None)
        refuse_shared_keys("settings", settings, DATA_KEYS | EXPERIMENT_KEYS | {"model"})
        budget = read_budget(given.get("tune"))
        spaces: dict[str, dict] = {}
        if budget is not None:
            spaces, warm_up = read_spaces(methods, method_tune, settings, folder)
            if budget["warm_up_epochs"] is None:
                budget["warm_up_epochs"] = warm_up
        elif method_tune:
            refuse("tune", None, f"the budget of {' and '.join(method_tune)}, such as {{trials: 20}}")
        return cls(
            name=plain_name(name),
            description=description,
            datasets=of_data,
            methods=methods,
            method_seeds=method_seeds,
            baseline=one_of("baseline", given.get("baseline"), methods),
            split_seeds=seed_list("seeds.split", seeds.get("split", 2020)),
            model_seeds=seed_list("seeds.model", seeds.get("model", 2020)),
            **read_evaluation(given),
            settings=settings,
            checkpoints=boolean("checkpoints", given.get("checkpoints", False)),
            published=read_published("published", given.get("published"), folder),
            energy=boolean("energy", given.get("energy", False)),
            tune=budget,
            spaces=spaces,
        )

    def is_tuned(self, method: str) -> bool:
        """Whether there is a search for a method."""
        return self.tune is not None and bool(self.spaces[method]["parameters"])

    def searches(self) -> Iterator[SearchKey]:
        """All searches."""
        if self.tune is None:
            return
        splits = self.split_seeds[:1] if self.tune["splits"] == "first" else self.split_seeds
        for dataset in self.datasets:
            for split_seed in splits:
                for method in filter(self.is_tuned, self.methods):
                    yield SearchKey(dataset, method, split_seed)

    def search_of(self, run: Run) -> SearchKey | None:
        """The search that a run takes its values from; ``None`` if its method is not tuned."""
        if self.tune is None or not self.is_tuned(run.method):
            return None
        first = self.tune["splits"] == "first"
        return SearchKey(run.dataset, run.method, self.split_seeds[0] if first else run.split_seed)

    def space_of(self, search: SearchKey) -> Space:
        """The space of a search, with the method's own settings beneath its values."""
        assert self.tune is not None
        space = MethodSpace(**self.spaces[search.method])
        return Space(
            name=f"{self.name}/{search.dataset}/{search.method}/split-{search.split_seed}",
            label=search.dataset,
            dataset=self.datasets[search.dataset],
            settings={**self.settings, **self.methods[search.method]},
            parameters=space.read_parameters(),
            trials=space.trials or self.tune["trials"] or UNLIMITED,
            hours=self.tune["hours"],
            warm_up_epochs=self.tune["warm_up_epochs"],
            split_seed=search.split_seed,
            model_seeds=self.method_seeds.get(search.method, self.model_seeds)[:1],
            metrics=self.metrics,
            topk=self.topk,
            valid_metric=self.valid_metric,
        )

    def runs(self, winners: Winners | None = None) -> Iterator[Run]:
        """All runs. Those that share prepared data are adjacent, and all methods run with one seed before any
        runs with the next.

        Args:
            winners: what searches have found; other runs have their method's own settings.
        """
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
                            run = Run(dataset, label, split_seed, model_seed, settings)
                            search = self.search_of(run)
                            yield (
                                run if search is None else run.with_settings((winners or {}).get(search, {}))
                            )

    def check(self) -> None:
        """Refuse, before any training, what RecBole would refuse or silently misread.

        Raises:
            ValueError: names the method or the data set, the key, the value, what is allowed.
        """
        from recbole_vae_plugin.integration.training.quick_start import config_of

        metrics = [f"{metric}@{k}".lower() for metric in self.metrics for k in self.topk]
        check_published(self.published, self.datasets, metrics)
        if self.energy:
            require("energy", "codecarbon", "energy")
        checks.check_evaluation({"metrics": self.metrics})
        if len({metric.lower() for metric in self.metrics}) < len(self.metrics):
            refuse("metrics", self.metrics, "a list without repetitions")
        for label, keys in self.methods.items():
            with error_context(f"method {label}"):
                checks.check_model(keys["model"])
                checks.check_keys(keys["model"], [*keys, *self.settings], {})
        for label, keys in self.datasets.items():
            with error_context(f"data set {label}"):
                checks.check_keys(self.methods[self.baseline]["model"], keys, {})
        first_runs = {(run.dataset, run.method): run for run in self.runs()}
        expected: dict[str, dict] = {}
        for (label, method), run in first_runs.items():
            with error_context(f"method {method} on {label}"):
                checks.check_evaluation(run.settings)
                config = config_of(run.settings)
                data_keys = {key: config[key] for key in sorted(DATA_KEYS - {"data_path", "dataset"})}
                for key, value in expected.setdefault(label, data_keys).items():
                    if data_keys[key] != value:
                        refuse(
                            key,
                            data_keys[key],
                            f"{value}, as for the other methods; {run.settings['model']} has a different "
                            f"default, so set {key} in the data set",
                        )
                checks.check_config(config)
                checks.check_has_evaluation(config, "test", "a comparison")
        # the methods' spaces are the same on every split
        for search in {(each.dataset, each.method): each for each in self.searches()}.values():
            with error_context(f"method {search.method} on {search.dataset}: tune"):
                self.space_of(search).check()

    def check_data(self, runs: Iterable[Run]) -> None:
        """Refuse, before any training, what only the data shows: lists longer than the catalogue, filters
        that leave nothing, missing columns. Each data set is prepared once for each kind of model.

        Args:
            runs: the runs to be executed.

        Raises:
            Refused: names the method and the data set, the key, the value, what is allowed.
        """
        from recbole_vae_plugin.integration.data.prepared import check_data
        from recbole_vae_plugin.integration.training.quick_start import config_of

        prepared: set[str] = set()
        for run in {(run.dataset, run.method): run for run in runs}.values():
            with error_context(f"method {run.method} on {run.dataset}"):
                check_data(config_of(run.settings), run.split_seed, prepared)


def boolean(key: str, value: Any) -> bool:
    """``value`` if it is true or false."""
    if not isinstance(value, bool):
        refuse(key, value, "true or false")
    return value


def read_methods(given: Any, folder: Path) -> tuple[dict[str, dict], dict[str, list[int]], dict[str, Any]]:
    """Label -> keys, label -> model seeds and label -> ``tune``, the latter two where they are given;
    ``model`` is by default the label."""
    if isinstance(given, list) and all(isinstance(label, str) for label in given):
        given = dict.fromkeys(given)
    if not isinstance(given, dict) or not given:
        refuse("methods", given, KEYS["methods"])
    methods, seeds, tune = {}, {}, {}
    for label, content in given.items():
        where = f"methods.{label}"
        overrides = dict(mapping(where, {} if content is None else content, None))
        files = overrides.pop("config", [])
        if "seeds" in overrides:
            seeds[str(label)] = seed_list(f"{where}.seeds", overrides.pop("seeds"))
        if "tune" in overrides:
            tune[str(label)] = overrides.pop("tune")
        keys: dict = {}
        key = f"{where}.config"
        for file in file_list(key, files):
            keys |= read_config_file(find_config(file, key, folder=folder), key)
        keys |= overrides
        keys.setdefault("model", str(label))
        refuse_shared_keys(where, keys, DATA_KEYS | EXPERIMENT_KEYS)
        methods[str(label)] = keys
    return methods, seeds, tune
