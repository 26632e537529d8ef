"""The search space: a space file, or one of RecBole's ``hyper.test`` files, read and checked."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.runs.reading import (
    DATA_KEYS,
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
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, number, refuse

if TYPE_CHECKING:
    import optuna

KEYS = {
    "name": "what the search is called; by default the name of its file",
    "model": "the model's name (may be given in `config`)",
    "config": "a config file of the model, or several",
    "dataset": "a data set's config file, or a mapping of keys",
    "settings": "keys with fixed values",
    "parameters": "a mapping from a key to its possible values, or a hyper.test file",
    "trials": "how many configurations to try",
    "hours": "after how many hours no trial is started, if there is a limit",
    "warm_up_epochs": "for how many epochs no trial is pruned",
    "seeds": "split: seed of the data split; model: seeds that each configuration is trained with",
    "metrics": "RecBole's metrics",
    "topk": "lengths of the list of recommendations",
    "valid_metric": "the metric to maximise on validation data",
}
#: The number of trials where only their time is limited.
UNLIMITED = 10**6
KINDS = ("choice", "uniform", "loguniform", "quniform", "integer", "logint")


def _is_same(value: Any, other: Any) -> bool:
    """Whether two values of a key are the same: 250.0 is 250, but 1 is not true."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


@dataclass(frozen=True)
class Parameter:
    """One key and its possible values.

    Attributes:
        kind: one of :data:`KINDS`.
        values: the choices, or low and high, for quniform also the step.
        when: the parameter is used only with these values of other parameters.
    """

    name: str
    kind: str
    values: tuple
    when: dict[str, Any]

    @classmethod
    def read(cls, name: str, given: Any) -> Parameter:
        """From the value in a space file, such as ``{uniform: [0, 1]}``; a list is a choice.

        Raises:
            ValueError: names the parameter, what it got and what is allowed.
        """
        where = f"parameters.{name}"
        given = {"choice": given} if isinstance(given, list) else mapping(where, given, None)
        when = mapping(f"{where}.when", given.get("when", {}), None)
        kinds = [kind for kind in given if kind != "when"]
        if len(kinds) != 1 or kinds[0] not in KINDS:
            hint = did_you_mean(str(kinds[0]), KINDS) if kinds else ""
            refuse(where, given, f"one of {', '.join(KINDS)}{hint}, and `when`")
        kind, values = kinds[0], given[kinds[0]]
        if not isinstance(values, list) or not values:
            refuse(f"{where}.{kind}", values, "a list of values")
        if kind == "choice":
            return cls(name, kind, tuple(values), when)
        count = 3 if kind == "quniform" else 2
        if len(values) != count:
            refuse(f"{where}.{kind}", values, "[low, high, step]" if count == 3 else "[low, high]")
        key, whole = f"{where}.{kind}", kind in ("integer", "logint")
        numbers: list[Any] = [
            integer(key, value, 0) if whole else number(key, value, -math.inf) for value in values
        ]
        low, high, *step = numbers
        if not low < high or (kind.startswith("log") and low <= 0) or (step and step[0] <= 0):
            positive = ", both above 0" if kind.startswith("log") else ""
            refuse(f"{where}.{kind}", values, f"ascending numbers{positive}")
        return cls(name, kind, (low, high, *step), when)

    @property
    def as_given(self) -> dict[str, Any]:
        """As :meth:`read` takes it."""
        return {self.kind: list(self.values), **({"when": self.when} if self.when else {})}

    def is_used(self, values: dict[str, Any]) -> bool:
        """Whether the values of other parameters meet its ``when``."""
        return all(values.get(name) == value for name, value in self.when.items())

    def contains(self, value: Any) -> bool:
        """Whether a value is among the possible ones."""
        if self.kind == "choice":
            return any(_is_same(value, each) for each in self.values)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind in ("integer", "logint") and not isinstance(value, int):
            return False
        low, high, *step = self.values
        on_grid = not step or math.isclose((value - low) / step[0], round((value - low) / step[0]))
        return low <= value <= high and on_grid

    def encoded(self, value: Any) -> Any:
        """A possible value as Optuna has it."""
        if self.kind != "choice":
            return value
        return json.dumps(next(each for each in self.values if _is_same(value, each)))

    def suggest(self, trial: optuna.Trial) -> Any:
        """A value from an Optuna trial. Choices, which may be lists or null, are passed to Optuna as JSON."""
        if self.kind == "choice":
            return json.loads(
                str(trial.suggest_categorical(self.name, [self.encoded(v) for v in self.values]))
            )
        low, high, *step = self.values
        if self.kind in ("integer", "logint"):
            return trial.suggest_int(self.name, low, high, log=self.kind == "logint")
        return trial.suggest_float(
            self.name, low, high, log=self.kind == "loguniform", step=step[0] if step else None
        )

    @property
    def hyper_test_line(self) -> str:
        """The line in RecBole's notation: lists among choices as strings, logarithms of the ends of a
        loguniform range, integers as choices, because RecBole's ranges are of floats."""
        if self.kind == "choice":
            choices = [str(value) if isinstance(value, list) else value for value in self.values]
            return f"{self.name} choice {choices!r}"
        low, high, *step = self.values
        if self.kind in ("integer", "logint"):
            return f"{self.name} choice {list(range(low, high + 1))!r}"
        if self.kind == "loguniform":
            return f"{self.name} loguniform {math.log(low):.6g},{math.log(high):.6g}"
        return f"{self.name} {self.kind} {','.join(f'{value:g}' for value in self.values)}"


@dataclass(frozen=True)
class Space:
    """A space file, with the contents of the files that it names.

    Attributes:
        label: of the data set.
        dataset, settings: keys of RecBole's config; ``model`` is among the settings.
        trials: how many to run; ``hours``: after which none is started, or ``None``.
        warm_up_epochs: for how many epochs no trial is pruned.
    """

    name: str
    label: str
    dataset: dict
    settings: dict
    parameters: tuple[Parameter, ...]
    trials: int
    hours: float | None
    warm_up_epochs: int
    split_seed: int
    model_seeds: list[int]
    metrics: list[str]
    topk: list[int]
    valid_metric: str

    @classmethod
    def read(cls, file: str) -> Space:
        """Read a space file, given by its path or the name of a shipped one; paths in it are relative to its
        folder.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        path = find_config(file, "space", ("search",))
        given = read_config_file(path, "space")
        refuse_unknown_keys("a space", given, KEYS)
        folder = path.resolve().parent
        settings = read_settings(given, folder)
        dataset = given.get("dataset")
        if isinstance(dataset, dict) and not isinstance(dataset.get("dataset"), str):
            refuse("dataset.dataset", dataset.get("dataset"), "the name of a data set")
        named = [dataset] if isinstance(dataset, str) else {"dataset": dataset}
        ((label, of_data),) = read_datasets(named, folder).items()
        if isinstance(dataset, dict):
            label = of_data["dataset"] = dataset["dataset"]
        seeds = mapping("seeds", given.get("seeds", {"split": 2020, "model": 2020}), ("split", "model"))
        splits = seed_list("seeds.split", seeds.get("split", 2020))
        if len(splits) > 1:
            refuse("seeds.split", splits, "one seed: a search on several splits would use test items of each")
        parameters = read_parameters(given.get("parameters"), folder)
        for parameter in parameters:
            settings.pop(parameter.name, None)
        hours = given.get("hours")
        return cls(
            name=plain_name(given.get("name", path.stem)),
            label=str(label),
            dataset=of_data,
            settings=settings,
            parameters=parameters,
            trials=integer("trials", given.get("trials", 20), 1),
            hours=None if hours is None else number("hours", hours, 0),
            warm_up_epochs=integer("warm_up_epochs", given.get("warm_up_epochs", 5), 0),
            split_seed=splits[0],
            model_seeds=seed_list("seeds.model", seeds.get("model", 2020)),
            **read_evaluation(given),
        )

    def check(self) -> None:
        """Refuse, before any training, what RecBole would refuse.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        from recbole_vae_plugin.integration.training.quick_start import config_of

        checks.check_model(self.settings.get("model"))
        checks.check_evaluation({"metrics": self.metrics})
        model, names = self.settings["model"], [parameter.name for parameter in self.parameters]
        checks.check_keys(model, [*self.settings, *names, *self.dataset], {})
        for parameter in self.parameters:
            refuse_shared_keys("parameters", {parameter.name: None}, DATA_KEYS | EXPERIMENT_KEYS)
            for other in parameter.when:
                if other not in names[: names.index(parameter.name)]:
                    refuse(f"parameters.{parameter.name}.when", other, "a parameter that is listed before it")
            ends = parameter.values if parameter.kind == "choice" else parameter.values[:2]
            for value in ends:
                with error_context(f"parameters.{parameter.name}"):
                    settings = self.run({parameter.name: value}, "check", 0).settings
                    checks.check_evaluation(settings)
                    config = config_of(settings)
                    checks.check_config(config)
                    checks.check_has_evaluation(config, "valid", "a search")
                if not config["valid_metric_bigger"]:
                    refuse("valid_metric", self.valid_metric, "a metric of which higher values are better")

    def check_data(self) -> None:
        """Refuse, before any training, what only the data shows; see ``Experiment.check_data``."""
        from recbole_vae_plugin.integration.data.prepared import check_data
        from recbole_vae_plugin.integration.training.quick_start import config_of

        values = {parameter.name: parameter.values[0] for parameter in self.parameters}
        settings = self.run(values, "check", 0).settings
        with error_context(f"data set {self.label}"):
            check_data(config_of(settings), self.split_seed, set())

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of an Optuna trial, without parameters whose ``when`` is not met."""
        values: dict = {}
        for parameter in self.parameters:
            if parameter.is_used(values):
                values[parameter.name] = parameter.suggest(trial)
        return values

    def inside(self, values: dict[str, Any]) -> list[Parameter]:
        """The parameters that are used with these values and whose value is among the possible ones."""
        return [each for each in self.parameters if each.is_used(values) and each.contains(values[each.name])]

    def outside(self, values: dict[str, Any]) -> list[str]:
        """The parameters that are used with these values, and whose value is not among the possible ones."""
        used = [each for each in self.parameters if each.is_used(values)]
        return [each.name for each in used if not each.contains(values[each.name])]

    def run(self, values: dict, label: str, model_seed: int) -> Run:
        """A run with these values."""
        evaluation = {"metrics": self.metrics, "topk": self.topk, "valid_metric": self.valid_metric}
        settings = {**self.dataset, **self.settings, **values, **evaluation}
        return Run(self.label, label, self.split_seed, model_seed, settings)

    @property
    def size(self) -> float:
        """The number of configurations; infinite unless every parameter is a choice without ``when``."""
        if any(parameter.kind != "choice" or parameter.when for parameter in self.parameters):
            return math.inf
        return math.prod(len(parameter.values) for parameter in self.parameters)

    def own_values(self) -> dict[str, Any]:
        """The values that the settings without any of the space's have for its parameters; ``None`` where
        they are set from the data."""
        from recbole_vae_plugin.integration.training.quick_start import config_of

        config = config_of(self.run({}, "own settings", 0).settings)
        values = {each.name: config[each.name] for each in self.parameters}
        return json.loads(json.dumps(values, default=str))

    def configurations(self, defaults: dict[str, Any] | None) -> float:
        """The number of configurations. Defaults outside the space, if they are tried, are one more."""
        return self.size + (defaults is not None and bool(self.outside(defaults)))

    def goal(self, defaults: dict[str, Any] | None) -> int:
        """The number of trials to run: no more than there are configurations."""
        return int(min(self.trials, self.configurations(defaults)))

    def with_trials(self, trials: int | None) -> Space:
        """The same space with another number of trials; ``None`` keeps it."""
        return self if trials is None else replace(self, trials=integer("--trials", trials, 1))


def read_settings(given: dict, folder: Path) -> dict[str, Any]:
    """The keys with fixed values in the content of a space file, ``model`` among them if it is given."""
    settings: dict = {}
    files = given.get("config", [])
    for name in file_list("config", files):
        settings |= read_config_file(find_config(name, "config", folder=folder), "config")
    settings |= mapping("settings", given.get("settings") or {}, None)
    if "model" in given:
        settings["model"] = given["model"]
    refuse_shared_keys("settings", settings, DATA_KEYS | EXPERIMENT_KEYS)
    return settings


def format_values(values: dict) -> str:
    """The values of a trial on one line."""
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )


def read_parameters(given: Any, folder: Path) -> tuple[Parameter, ...]:
    """From a mapping, or from a file in RecBole's notation."""
    if isinstance(given, str):
        return read_hyper_test(folder / given)
    if not isinstance(given, dict) or not given:
        refuse("parameters", given, KEYS["parameters"])
    return tuple(Parameter.read(str(name), content) for name, content in given.items())


def read_hyper_test(file: Path) -> tuple[Parameter, ...]:
    """The lines ``name kind values`` of a RecBole ``hyper.test`` file.

    Raises:
        ValueError: names the line.
    """
    if not file.is_file():
        refuse("parameters", str(file), "an existing file")
    parameters = []
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.strip().partition(" ")
        kind, _, values = rest.strip().partition(" ")
        if not values:
            continue
        try:
            found = list(ast.literal_eval(values if kind == "choice" else f"[{values}]"))
            # there, a list among the choices is written as a string
            found = [ast.literal_eval(v) if str(v).startswith("[") else v for v in found]
        except (SyntaxError, ValueError) as problem:
            raise Refused(f"parameters: {file.name}: {line!r} cannot be parsed") from problem
        if kind == "loguniform":
            found = [math.exp(value) for value in found]
        with error_context(f"{file.name}: {line!r}"):
            parameters.append(Parameter.read(name, {kind: found}))
    if not parameters:
        refuse("parameters", str(file), "a file with lines such as `learning_rate choice [0.01, 0.001]`")
    return tuple(parameters)
