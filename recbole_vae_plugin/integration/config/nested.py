"""Settings within settings: ``eval_args``, filters, columns. RecBole takes any key there and reads some."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from recbole_vae_plugin.settings.validation import Refused, did_you_mean, number, one_of, refuse

SOURCES = ("inter", "user", "item", "kg", "link", "net", "ent", "rel")
#: Key -> the keys that it may have within.
KEYS_WITHIN = {
    "eval_args": ("split", "group_by", "order", "mode", "fold_in"),
    "eval_args.split": ("RS", "LS", "HO"),
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
LEFT_OUT = ("valid_and_test", "valid_only", "test_only")
END = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|inf)"
INTERVAL = re.compile(rf"[\[(]\s*({END})\s*,\s*({END})\s*[\])]")
HOW_INTERVALS = "an interval such as [3,inf) or (0,5], several separated by a semicolon"


def check_within(key: str, value: Any) -> None:
    """Refuse keys within a setting that nothing reads.

    Args:
        key: one of :data:`KEYS_WITHIN`, or any other, of which nothing is known.

    Raises:
        ValueError: names the inner key and the ones that there are.
    """
    known = KEYS_WITHIN.get(key)
    if known is None or not isinstance(value, Mapping):
        return
    for name in value:
        if name not in known:
            raise Refused(f"{key}: has no key {name!r}{_belongs(str(name), key)}; it has {', '.join(known)}")


def _belongs(name: str, key: str) -> str:
    for outer, inner in KEYS_WITHIN.items():
        if outer != key and name in inner:
            return f" (it belongs into {outer})"
    return did_you_mean(name, KEYS_WITHIN[key])


def check_nested(config: Mapping[str, Any]) -> None:
    """Refuse nested settings that RecBole would ignore, or fail on after training.

    Args:
        config: RecBole's ``Config``.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    evaluation = config["eval_args"]
    for key in ("eval_args", "train_neg_sample_args", "clip_grad_norm"):
        check_within(key, config[key])
    check_within("eval_args.mode", evaluation["mode"])
    clip = config["clip_grad_norm"]
    if clip:
        number("clip_grad_norm.max_norm", clip.get("max_norm"), 0)
        if str(clip.get("norm_type")) != "inf":
            number("clip_grad_norm.norm_type", clip.get("norm_type", 2.0), 0)
    check_split(evaluation["split"])
    one_of("eval_args.order", evaluation["order"], ("RO", "TO"))
    one_of("eval_args.group_by", evaluation["group_by"], ("user", "none"))
    columns = columns_read(config)
    if evaluation["order"] == "TO" and columns is not None and config["TIME_FIELD"] not in columns:
        refuse("eval_args.order", "TO", f"RO, or TO with {config['TIME_FIELD']} in load_col: {{inter: ...}}")
    for key in ("load_col", "unload_col", "unused_col"):
        check_columns(key, config[key], config["additional_feat_suffix"] or ())
    for key in INTERVALS:
        if config[key] is not None:
            check_intervals(key, config[key])
    for column, wanted in (config["val_interval"] or {}).items():
        if isinstance(wanted, str):
            check_intervals(f"val_interval.{column}", wanted)
        elif not isinstance(wanted, (list, tuple)) or not wanted:
            refuse(
                f"val_interval.{column}", wanted, f"{HOW_INTERVALS}; of a column of tokens, a list of them"
            )


def check_split(split: Any) -> None:
    """Refuse a split that is none of RecBole's, or leaves nothing to train on."""
    if not isinstance(split, Mapping):
        refuse("eval_args.split", split, "{RS: [0.8, 0.1, 0.1]}, {LS: valid_and_test} or {HO: [100, 100]}")
    check_within("eval_args.split", split)
    if len(split) != 1:
        refuse("eval_args.split", split, "one of RS, LS and HO")
    if "LS" in split and split["LS"] not in LEFT_OUT:
        refuse(
            "eval_args.split.LS", split["LS"], ", ".join(LEFT_OUT) + did_you_mean(str(split["LS"]), LEFT_OUT)
        )
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


def check_columns(key: str, value: Any, more: Collection[str]) -> None:
    """Refuse columns of files that there are not."""
    allowed = (*SOURCES, *more)
    for source, columns in (value or {}).items():
        if source not in allowed:
            hint = did_you_mean(str(source), allowed)
            raise Refused(f"{key}: has no key {source!r}{hint}; it has {', '.join(allowed)}")
        if columns is not None and columns != "*" and not isinstance(columns, (list, tuple)):
            refuse(f"{key}.{source}", columns, "a list of column names")


def columns_read(config: Mapping[str, Any]) -> Collection[str] | None:
    """Columns of the interactions that ``load_col`` asks for; ``None``: all that there are."""
    wanted = config["load_col"]
    columns = wanted.get("inter") if isinstance(wanted, Mapping) else None
    return columns if isinstance(columns, (list, tuple)) else None


def check_intervals(key: str, value: Any) -> None:
    """Refuse what RecBole would take for no interval, with a warning in the log at most."""
    for part in str(value).split(";"):
        match = INTERVAL.fullmatch(part.strip())
        if not match or not float(match[1]) <= float(match[2]):
            refuse(key, value, HOW_INTERVALS)


def check_filters(config: Mapping[str, Any], types: Mapping[str, str], file: str) -> None:
    """Refuse filters that do not fit the columns of a file.

    Args:
        types: column -> ``token``, ``float``, ``token_seq`` or ``float_seq``.
        file: what they are the columns of, for the message.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    read = columns_read(config)
    for column, wanted in (config["val_interval"] or {}).items():
        if column not in types:
            continue
        if read is not None and column not in read:
            refuse("val_interval", column, f"a column that load_col reads: {', '.join(read)}")
        is_number = types[column].startswith("float")
        if is_number and not isinstance(wanted, str):
            refuse(f"val_interval.{column}", wanted, f"{HOW_INTERVALS}, of a column of numbers in {file}")
        if not is_number and isinstance(wanted, str):
            refuse(f"val_interval.{column}", wanted, f"a list, of a column of tokens in {file}")
    if config["eval_args"]["order"] == "TO" and config["TIME_FIELD"] not in types:
        refuse("eval_args.order", "TO", f"RO; {file} has no column {config['TIME_FIELD']}")
