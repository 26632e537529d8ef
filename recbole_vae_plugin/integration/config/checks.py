"""Checks that a command runs before it loads or trains anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.config.data_files import check_stated_hash
from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.integration.config.keys import (
    LAUNCH_KEYS,
    builtin_models,
    downloadable_datasets,
    is_trained_by_gradient,
    known_keys,
)
from recbole_vae_plugin.integration.config.nested import check_filters, check_nested, check_nested_keys
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, number, one_of, refuse
from recbole_vae_plugin.system.installation import require

if TYPE_CHECKING:
    from recbole.config import Config

#: RecBole also knows sparse_adam, but no model has sparse gradients.
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
#: Metrics that are reported without "@k".
METRICS_WITHOUT_K = {"gauc", "auc", "mae", "rmse", "logloss"}
#: Key -> the library that it needs, and the extra that installs it.
TRACKERS = {"log_wandb": "wandb", "log_mlflow": "mlflow"}
BYTE_ORDER_MARK = "\ufeff"
EVAL_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
#: Part of a split -> the word for it, its place among the ratios, the mode of leave-one-out without it.
EVALUATED_PARTS = {"valid": ("validation", 1, "test_only"), "test": ("test", 2, "valid_only")}


def check_model(name: str | None) -> str:
    """Return the name of a model.

    Raises:
        ValueError: neither RecBole nor this package has the model.
    """
    if name is None:
        refuse("model", name, "the name of a model, as in --model=VAESplit; see --help for a list")
    models = [*MODELS, *builtin_models()]
    if name not in models:
        ours = ", ".join(MODELS)
        hint = did_you_mean(str(name), models, most=3)
        refuse("model", name, f"{ours} or a model of RecBole{hint}; see --help for a list")
    return name


def check_keys(model: str, overrides: Iterable[str], files: Mapping[str, Mapping]) -> None:
    """Refuse unknown keys on the command line; warn about those in files, which several models may share.

    Args:
        model: the model's name.
        overrides: keys given on the command line.
        files: file name -> its content.

    Raises:
        ValueError: a key on the command line is unknown, or a file has one of the launcher's.
    """
    known = known_keys(model)
    for key in map(str, overrides):
        if key not in known:
            raise Refused(f"{key}: {model} has no such key{did_you_mean(key, known, most=2)}")
    for file, content in files.items():
        for key, value in ((str(key), value) for key, value in content.items()):  # YAML keys may be numbers
            if key in LAUNCH_KEYS:
                refuse(f"{file}: {key}", value, f"on the command line alone, as run_recbole --{key}=...")
            if key not in known:
                hint = did_you_mean(key, known)
                print(f"run_recbole: warning: {file}: {model} has no key {key}{hint}", file=sys.stderr)


def check_evaluation(given: Mapping[str, Any]) -> None:
    """Refuse unknown metrics and evaluation modes, before RecBole's ``Config`` is made.

    Args:
        given: the keys in config files and on the command line.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    from recbole.evaluator import metrics_dict

    for metric in metric_list(given.get("metrics", ["Recall"])):
        if str(metric).lower() not in metrics_dict:
            refuse("metrics", metric, ", ".join(metrics_dict) + did_you_mean(str(metric), metrics_dict))
    topk = given.get("topk", [10])
    for k in topk if isinstance(topk, (list, tuple)) and topk else [topk]:
        integer("topk", k, 1)
    metric_name("valid_metric", given.get("valid_metric", "MRR@10"))
    evaluation = given.get("eval_args")
    modes = evaluation.get("mode", "full") if isinstance(evaluation, dict) else "full"
    check_nested_keys("eval_args", evaluation)
    check_nested_keys("eval_args.mode", modes)  # RecBole's Config completes it and drops unknown keys
    for mode in modes.values() if isinstance(modes, dict) else [modes]:
        if not EVAL_MODE.fullmatch(str(mode)):
            refuse("eval_args.mode", mode, "full, labeled, or uniN or popN with a number N")


def metric_list(metrics: Any) -> list[str]:
    """A metric, or several, as a list.

    Raises:
        ValueError: it is neither a metric's name nor a list of names.
    """
    names = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        refuse("metrics", metrics, "a list of metrics")
    return list(names)


def metric_name(key: str, value: Any) -> str:
    """Return the value if it is a non-empty string.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or not value.strip() or value.strip().lower() == "none":
        refuse(key, value, "a metric, such as NDCG@10")
    return value


def config_of(model: str, dataset: str, **given: Any) -> Config:
    """Make RecBole's ``Config``.

    Raises:
        Refused: RecBole rejects the settings.
    """
    from recbole.config import Config

    try:
        return Config(model=model, dataset=dataset, **given)
    except Refused:
        raise
    except (ValueError, RuntimeError, NotImplementedError) as problem:
        raise Refused(str(problem)) from problem


def check_config(config: Config) -> None:
    """Refuse settings that a RecBole run would fail on, or misread, later.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    check_values(config)
    check_trackers(config)
    check_nested(config)
    if config["model"] in MODELS:
        config.model_class.check(config)
    check_dataset(config)


def check_trackers(config: Config) -> None:
    """Refuse a tracker whose library is not installed."""
    for key, library in TRACKERS.items():
        if config[key] not in (None, False, True):
            refuse(key, config[key], "true or false")
        if config[key]:
            require(key, library, library)


def check_values(config: Config) -> None:
    """Refuse values that RecBole accepts silently, or on which it fails only after training has begun.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    one_of("learner", config["learner"], LEARNERS)
    for key, least in (
        ("epochs", 0),
        ("train_batch_size", 1),
        ("eval_batch_size", 1),
        ("stopping_step", 0),
        ("eval_step", 0),
        ("worker", 0),
    ):
        if not (config[key] is None and default_is_none(config["model"], key)):
            integer(key, config[key], least)
    number("weight_decay", config["weight_decay"], 0)
    if number("learning_rate", config["learning_rate"], 0) == 0:
        refuse("learning_rate", config["learning_rate"], "a number above 0")
    check_valid_metric(config)
    modes = config["eval_args"]["mode"]
    if config["eval_type"].name == "RANKING" and "labeled" in modes.values():
        refuse("eval_args.mode", "labeled", f"full, uniN or popN, with {', '.join(config['metrics'])}")


def default_is_none(model: str, key: str) -> bool:
    """Whether a key is by default left open, to be set from the data."""
    return model in MODELS and (key, "~") in ((name, value) for name, value, _ in documented_keys(model))


def check_has_evaluation(config: Config, part: str, purpose: str) -> None:
    """Refuse settings under which the validation or the test set is never evaluated.

    Args:
        config: RecBole's ``Config``.
        part: ``valid`` or ``test``.
        purpose: what needs it, such as ``a search``, for the message.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    if setting := left_out(config, part):
        refuse(*setting, f"a split with a {EVALUATED_PARTS[part][0]} set, which {purpose} needs")
    if part == "valid" and config["eval_step"] == 0:
        refuse("eval_step", config["eval_step"], f"at least 1: {purpose} needs validation")
    epochs, interval = config["epochs"], config["eval_step"]
    never = epochs and interval and epochs < interval and is_trained_by_gradient(config["model"])
    if part == "valid" and never:
        refuse("eval_step", interval, f"at most {epochs}, the epochs: {purpose} needs validation")


def left_out(config: Mapping[str, Any], part: str) -> tuple[str, Any] | None:
    """The setting by which a split has no validation or no test part, with its value; ``None`` where that
    part is asked for.

    Args:
        part: ``valid`` or ``test``.
    """
    if config["benchmark_filename"]:  # a file for each part, and the split is not read
        return None
    split = config["eval_args"]["split"]
    _, place, mode = EVALUATED_PARTS[part]
    if split.get("LS") == mode:
        return "eval_args.split.LS", mode
    for way in ("RS", "TS", "GT"):
        # a split at two points in time has all parts
        if len(split.get(way, ())) == 3 and not split[way][place]:
            return f"eval_args.split.{way}", split[way]
    return None


def parts_read(config: Mapping[str, Any]) -> list[str]:
    """The parts of the split that a run evaluates."""
    return [part for part in EVALUATED_PARTS if part != "valid" or config["eval_step"] != 0]


def check_valid_metric(config: Config) -> None:
    """Refuse a metric for early stopping that is not among the computed ones."""
    computed = []
    for metric in config["metrics"]:
        without_k = metric.lower() in METRICS_WITHOUT_K
        computed += [metric] if without_k else [f"{metric}@{k}" for k in config["topk"]]
    if config["valid_metric"].lower() not in {name.lower() for name in computed}:
        refuse("valid_metric", config["valid_metric"], ", ".join(sorted({*computed})))


def check_dataset(config: Config) -> None:
    """Refuse a data set that does not exist or whose files cannot be read.

    Raises:
        ValueError: names the file and what is wrong with it.
    """
    name, folder = config["dataset"], Path(config["data_path"])
    if len(Path(name).parts) != 1:
        parent = Path(config["data_path"]).parent
        refuse("dataset", name, f"a bare name: set data_path: {parent} and dataset: {Path(name).name}")
    if not folder.exists():
        known = downloadable_datasets()
        if name not in known:
            refuse(
                "dataset",
                name,
                f"ml-100k, a data set that RecBole can download, or a folder {folder} that contains "
                f"{name}.inter{did_you_mean(name, ['ml-100k', *known], most=3)}",
            )
        return
    suffixes = [f"{part}.inter" for part in config["benchmark_filename"] or []] or ["inter"]
    for suffix in suffixes:
        file = folder / f"{name}.{suffix}"
        if not file.is_file():
            raise Refused(f"dataset: {folder} has no file {file.name}")
        check_header(file, config)
    check_stated_hash(config)


def check_header(file: Path, config: Config) -> None:
    """Refuse an atomic file whose first line does not declare the needed columns with their types."""
    try:
        opened = file.open(encoding=config["encoding"])
    except (LookupError, ValueError, TypeError):
        refuse("encoding", config["encoding"], "an encoding that Python knows, such as utf-8")
    with opened as lines:
        header = lines.readline().rstrip("\n")
        first_row = next(filter(None, map(str.strip, lines)), "")
    if header.startswith(BYTE_ORDER_MARK):
        raise Refused(
            f"dataset: {file} begins with a byte-order mark; save it as UTF-8 without one, or set "
            "encoding: utf-8-sig"
        )
    separator = config["field_separator"]
    columns = [column.split(":") for column in header.split(separator)]
    if not all(len(column) == 2 and column[1] for column in columns):
        raise Refused(
            f"dataset: the first line of {file} must name each column with its type, separated "
            f"by {separator!r}, such as user_id:token{separator}item_id:token; it is {header!r}"
        )
    types = {column[0]: column[1] for column in columns}
    for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
        if config[key] not in types:
            refuse(key, config[key], f"a column of {file}, which has {', '.join(types)}")
        stated = types[config[key]]
        if stated in ("float", "float_seq", "token_seq"):  # RecBole itself refuses unknown types
            raise Refused(
                f"dataset: the first line of {file} says {config[key]}:{stated}; allowed: {config[key]}:token"
            )
    check_filters(config, types, str(file))
    if not first_row:
        raise Refused(f"dataset: {file} has no interactions")
