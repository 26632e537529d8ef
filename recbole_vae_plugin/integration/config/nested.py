"""Nested settings: ``eval_args``, filters, columns. RecBole accepts any key there, and ignores some."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.settings.validation import Refused, did_you_mean, number, one_of, refuse

if TYPE_CHECKING:
    from recbole.config import Config

SOURCES = ("inter", "user", "item", "kg", "link", "net", "ent", "rel")
#: Key -> the keys allowed inside its value.
NESTED_KEYS = {
    "eval_args": ("split", "group_by", "order", "mode", "fold_in"),
    "eval_args.split": ("RS", "LS", "GT", "HO"),
    "eval_args.mode": ("valid", "test"),
    "train_neg_sample_args": ("distribution", "sample_num", "alpha", "dynamic", "candidate_num"),
    "clip_grad_norm": ("max_norm", "norm_type", "error_if_nonfinite"),
}
INTERVALS = (
    "user_inter_num_interval",
    "item_inter_num_interval",
    "entity_kg_num_interval",
    "relation_kg_num_interval",
)
LEAVE_ONE_OUT_MODES = ("valid_and_test", "valid_only", "test_only")
BOUND = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|inf)"
INTERVAL = re.compile(rf"[\[(]\s*({BOUND})\s*,\s*({BOUND})\s*[\])]")
ALLOWED_INTERVALS = "an interval such as [3,inf) or (0,5], or several separated by semicolons"


def check_nested_keys(key: str, value: Any) -> None:
    """Refuse unknown keys inside a setting.

    Args:
        key: one of :data:`NESTED_KEYS`; the values of others are not checked.

    Raises:
        ValueError: names the unknown key and the allowed ones.
    """
    known = NESTED_KEYS.get(key)
    if known is None or not isinstance(value, Mapping):
        return
    for name in value:
        if name not in known:
            raise Refused(f"{key}: unknown key {name!r}{_hint(str(name), key)}; allowed: {', '.join(known)}")


def _hint(name: str, key: str) -> str:
    for outer, inner in NESTED_KEYS.items():
        if outer != key and name in inner:
            return f" (it belongs in {outer})"
    return did_you_mean(name, NESTED_KEYS[key])


def check_nested(config: Config) -> None:
    """Refuse nested settings that RecBole would ignore, or on which it would fail after training.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    evaluation = config["eval_args"]
    for key in ("eval_args", "train_neg_sample_args", "clip_grad_norm"):
        check_nested_keys(key, config[key])
    check_nested_keys("eval_args.mode", evaluation["mode"])
    clip = config["clip_grad_norm"]
    if clip:
        number("clip_grad_norm.max_norm", clip.get("max_norm"), 0)
        if str(clip.get("norm_type")) != "inf":
            number("clip_grad_norm.norm_type", clip.get("norm_type", 2.0), 0)
    check_split(evaluation["split"])
    one_of("eval_args.order", evaluation["order"], ("RO", "TO"))
    one_of("eval_args.group_by", evaluation["group_by"], ("user", "none"))
    columns = loaded_columns(config)
    if evaluation["order"] == "TO" and columns is not None and config["TIME_FIELD"] not in columns:
        refuse("eval_args.order", "TO", f"RO, or TO with {config['TIME_FIELD']} in load_col: {{inter: ...}}")
    for key in ("load_col", "unload_col", "unused_col"):
        check_columns(key, config[key], config["additional_feat_suffix"] or ())
    for key in INTERVALS:
        if config[key] is not None:
            check_intervals(key, config[key])
    for column, filter_ in (config["val_interval"] or {}).items():
        if isinstance(filter_, str):
            check_intervals(f"val_interval.{column}", filter_)
        elif not isinstance(filter_, (list, tuple)) or not filter_:
            refuse(
                f"val_interval.{column}",
                filter_,
                f"{ALLOWED_INTERVALS}; for a token column, a list of tokens",
            )


def check_split(split: Any) -> None:
    """Refuse a split that RecBole does not know, or that leaves nothing to train on."""
    if not isinstance(split, Mapping):
        refuse("eval_args.split", split, "{RS: [0.8, 0.1, 0.1]}, {LS: valid_and_test} or {HO: [100, 100]}")
    check_nested_keys("eval_args.split", split)
    if len(split) != 1:
        refuse("eval_args.split", split, "one of RS, LS, GT and HO")
    if "LS" in split and split["LS"] not in LEAVE_ONE_OUT_MODES:
        hint = did_you_mean(str(split["LS"]), LEAVE_ONE_OUT_MODES)
        refuse("eval_args.split.LS", split["LS"], ", ".join(LEAVE_ONE_OUT_MODES) + hint)
    if "GT" in split:
        check_global_time(split["GT"])
    if "RS" in split:
        ratios = split["RS"]
        numbers = isinstance(ratios, (list, tuple)) and all(
            isinstance(ratio, (int, float)) and not isinstance(ratio, bool) and 0 <= ratio < math.inf
            for ratio in ratios
        )
        if not numbers or len(ratios) != 3 or not ratios[0]:
            refuse(
                "eval_args.split.RS",
                ratios,
                "three numbers, for training (above 0), validation and test, such as [0.8, 0.1, 0.1]",
            )


def check_global_time(given: Any) -> list[float]:
    """The three ratios of a split at points in time, or the two points in seconds since 1970.

    Raises:
        ValueError: it is neither.
    """
    key = "eval_args.split.GT"
    allowed = (
        "three numbers, for training (above 0), validation and test, such as [0.8, 0.1, 0.1]; or the times "
        "at which validation and test begin, such as ['2020-01-31', '2020-02-29 12:00']"
    )
    if not isinstance(given, (list, tuple)) or len(given) not in (2, 3):
        refuse(key, given, allowed)
    if len(given) == 3:
        ratios = [number(key, ratio, 0) for ratio in given]
        if not ratios[0] or math.inf in ratios:
            refuse(key, given, allowed)
        return ratios
    points = [seconds_of(point) for point in given]
    begin, end = points
    if begin is None or end is None or not begin < end:
        refuse(key, given, allowed)
    return [begin, end]


def seconds_of(point: Any) -> float | None:
    """A time as seconds since 1970; without a zone it is in UTC. ``None`` if it is not a time."""
    if isinstance(point, (int, float)) and not isinstance(point, bool):
        return float(point)
    try:
        moment = datetime.fromisoformat(str(point))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_columns(key: str, value: Any, additional: Collection[str]) -> None:
    """Refuse columns of unknown files.

    Args:
        key: such as ``load_col``.
        value: file suffix -> columns.
        additional: suffixes besides RecBole's.
    """
    allowed = (*SOURCES, *additional)
    for source, columns in (value or {}).items():
        if source not in allowed:
            hint = did_you_mean(str(source), allowed)
            raise Refused(f"{key}: unknown key {source!r}{hint}; allowed: {', '.join(allowed)}")
        if columns is not None and columns != "*" and not isinstance(columns, (list, tuple)):
            refuse(f"{key}.{source}", columns, "a list of column names")


def loaded_columns(config: Config) -> Collection[str] | None:
    """The columns of the interactions that ``load_col`` selects; ``None`` for all of them."""
    selected = config["load_col"]
    columns = selected.get("inter") if isinstance(selected, Mapping) else None
    return columns if isinstance(columns, (list, tuple)) else None


def check_intervals(key: str, value: Any) -> None:
    """Refuse what RecBole would not recognise as an interval; it logs a warning at most."""
    for part in str(value).split(";"):
        match = INTERVAL.fullmatch(part.strip())
        if not match or not float(match[1]) <= float(match[2]):
            refuse(key, value, ALLOWED_INTERVALS)


def check_filters(config: Config, types: Mapping[str, str], file: str) -> None:
    """Refuse filters that do not match the columns of a file.

    Args:
        config: RecBole's ``Config``.
        types: column -> ``token``, ``float``, ``token_seq`` or ``float_seq``.
        file: the file with these columns, for the message.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    loaded = loaded_columns(config)
    for column, filter_ in (config["val_interval"] or {}).items():
        if column not in types:
            continue
        if loaded is not None and column not in loaded:
            refuse("val_interval", column, f"a column that load_col selects: {', '.join(loaded)}")
        numeric = types[column].startswith("float")
        if numeric and not isinstance(filter_, str):
            refuse(f"val_interval.{column}", filter_, f"{ALLOWED_INTERVALS}, for a float column of {file}")
        if not numeric and isinstance(filter_, str):
            refuse(f"val_interval.{column}", filter_, f"a list, for a token column of {file}")
    if config["eval_args"]["order"] == "TO" and config["TIME_FIELD"] not in types:
        refuse("eval_args.order", "TO", f"RO; {file} has no column {config['TIME_FIELD']}")
