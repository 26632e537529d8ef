"""What a command refuses before anything is loaded or trained, and in which words."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.integration.config.keys import builtin_models, downloadable_datasets, known_keys
from recbole_vae_plugin.integration.config.nested import check_filters, check_nested, check_within
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused, did_you_mean, integer, number, one_of, refuse

#: RecBole also knows sparse_adam, for sparse gradients, which no model has.
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop")
#: Metrics whose value stands under their bare name.
WITHOUT_K = {"gauc", "auc", "mae", "rmse", "logloss"}
BYTE_ORDER_MARK = "\ufeff"
EVAL_MODE = re.compile(r"full|labeled|(uni|pop)[1-9]\d*")
#: Part of a split -> the word for it, its place among the ratios, the mode of leave-one-out without it.
EVALUATED_PARTS = {"valid": ("validation", 1, "test_only"), "test": ("test", 2, "valid_only")}


def check_model(name: str | None) -> None:
    """Raise ``ValueError`` unless RecBole or this package has that model."""
    if name is None:
        refuse("model", name, "a model's name, as in --model=VAESplit; --help lists them")
    models = [*MODELS, *builtin_models()]
    if name not in models:
        ours = ", ".join(MODELS)
        hint = did_you_mean(str(name), models, most=3)
        refuse("model", name, f"{ours} or a model of RecBole{hint}; --help lists them all")


def check_keys(model: str, typed: Iterable[str], from_files: dict[str, Iterable[str]]) -> None:
    """Refuse unknown keys on the command line, warn of those in files that others may share.

    Raises:
        ValueError: a typed key is not known.
    """
    known = known_keys(model)
    for key in map(str, typed):  # a file may have numbers for keys
        if key not in known:
            raise Refused(f"{key}: {model} has no such key{did_you_mean(key, known, most=2)}")
    for file, keys in from_files.items():
        for key in map(str, keys):
            if key not in known:
                hint = did_you_mean(key, known)
                print(f"run_recbole: warning: {file}: {model} has no key {key}{hint}", file=sys.stderr)


def check_evaluation(given: Mapping) -> None:
    """Refuse metrics and modes of evaluation that there are not, before RecBole's ``Config``.

    Args:
        given: keys as they stand in config files and on the command line.

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
    check_within("eval_args", evaluation)
    check_within("eval_args.mode", modes)  # RecBole's Config fills it up and drops other keys
    for mode in modes.values() if isinstance(modes, dict) else [modes]:
        if not EVAL_MODE.fullmatch(str(mode)):
            refuse("eval_args.mode", mode, "full, labeled, uniN or popN with a number N")


def metric_list(metrics) -> list[str]:
    """One metric or several as a list.

    Raises:
        ValueError: it is neither.
    """
    found = [metrics] if isinstance(metrics, str) else metrics
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(each, str) for each in found):
        refuse("metrics", metrics, "a list of metrics")
    return list(found)


def metric_name(key: str, value) -> str:
    """``value`` if it is a text.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not value.strip() or value.strip().lower() == "none":
        refuse(key, value, "a metric, such as NDCG@10")
    return value


def config_of(model: str, dataset: str, **given):
    """RecBole's ``Config``.

    Raises:
        Refused: RecBole cannot make sense of the settings.
    """
    from recbole.config import Config

    try:
        return Config(model=model, dataset=dataset, **given)
    except Refused:
        raise
    except (ValueError, RuntimeError, NotImplementedError) as problem:
        raise Refused(str(problem)) from problem


def check_config(config) -> None:
    """Refuse what a run of RecBole with this ``Config`` would fail on, or misread, later.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    check_values(config)
    check_nested(config)
    if config["model"] in MODELS:
        config.model_class.check(config)
    check_dataset(config)


def check_values(config) -> None:
    """Refuse values that RecBole would take silently or fail on only after training began.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    one_of("learner", config["learner"], LEARNERS)
    integer("epochs", config["epochs"], 0)
    integer("train_batch_size", config["train_batch_size"], 1)
    integer("eval_batch_size", config["eval_batch_size"], 1)
    integer("stopping_step", config["stopping_step"], 0)
    integer("eval_step", config["eval_step"], 0)
    integer("worker", config["worker"], 0)
    number("weight_decay", config["weight_decay"], 0)
    if number("learning_rate", config["learning_rate"], 0) == 0:
        refuse("learning_rate", config["learning_rate"], "a number above 0")
    check_valid_metric(config)
    modes = config["eval_args"]["mode"]
    if config["eval_type"].name == "RANKING" and "labeled" in modes.values():
        refuse("eval_args.mode", "labeled", f"full, uniN or popN, with {', '.join(config['metrics'])}")


def check_judged(config, part: str, purpose: str) -> None:
    """Refuse a split or a step of evaluation that leaves a purpose without data to judge by.

    Args:
        part: ``valid`` or ``test``.
        purpose: such as ``a search``, for the message.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    if setting := left_out(config, part):
        refuse(*setting, f"a {EVALUATED_PARTS[part][0]} part: {purpose} is judged by it")
    if part == "valid" and not config["eval_step"]:
        refuse("eval_step", config["eval_step"], f"at least 1: {purpose} is judged by validation")


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
    for way in ("RS", "TS"):
        if way in split and not split[way][place]:
            return f"eval_args.split.{way}", split[way]
    return None


def parts_read(config: Mapping[str, Any]) -> list[str]:
    """The parts of the split that a run evaluates."""
    return [part for part in EVALUATED_PARTS if part != "valid" or config["eval_step"]]


def check_valid_metric(config) -> None:
    """The metric that early stopping watches must be one that is computed."""
    computed = {
        name
        for metric in config["metrics"]
        for name in ([metric] if metric.lower() in WITHOUT_K else [f"{metric}@{k}" for k in config["topk"]])
    }
    if config["valid_metric"].lower() not in {name.lower() for name in computed}:
        refuse("valid_metric", config["valid_metric"], ", ".join(sorted(computed)))


def check_dataset(config) -> None:
    """Refuse a data set that is not there or whose files cannot be read.

    Raises:
        ValueError: names the file and what it should be.
    """
    name, folder = config["dataset"], Path(config["data_path"])
    if len(Path(name).parts) != 1:
        parent = Path(config["data_path"]).parent
        refuse("dataset", name, f"a name without folders: data_path: {parent} and dataset: {Path(name).name}")
    if not folder.exists():
        known = downloadable_datasets()
        if name not in known:
            refuse(
                "dataset",
                name,
                f"ml-100k, a data set that RecBole downloads, or a folder {folder} that holds "
                f"{name}.inter{did_you_mean(name, ['ml-100k', *known], most=3)}",
            )
        return
    suffixes = [f"{part}.inter" for part in config["benchmark_filename"] or []] or ["inter"]
    for suffix in suffixes:
        file = folder / f"{name}.{suffix}"
        if not file.is_file():
            raise Refused(f"dataset: {folder} has no file {file.name}")
        check_header(file, config)


def check_header(file: Path, config) -> None:
    """The first line of an atomic file names its columns, each with a type."""
    try:
        opened = file.open(encoding=config["encoding"])
    except (LookupError, ValueError, TypeError):
        refuse("encoding", config["encoding"], "one that Python knows, such as utf-8")
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
    present = [column[0] for column in columns]
    for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
        if config[key] not in present:
            refuse(key, config[key], f"a column of {file}, which has {', '.join(present)}")
        kind = dict(columns)[config[key]]
        if kind in ("float", "float_seq", "token_seq"):  # others RecBole refuses
            raise Refused(
                f"dataset: the first line of {file} says {config[key]}:{kind}; allowed: {config[key]}:token"
            )
    check_filters(config, {column[0]: column[1] for column in columns}, str(file))
    if not first_row:
        raise Refused(f"dataset: {file} has no interactions")
