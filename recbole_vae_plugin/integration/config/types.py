"""The type of each key, read from the comments in RecBole's default files and in ours.

Every line there states it: ``repeatable: False  # (bool) Whether ...``. The values of a ``Config`` are
converted to these types; where a value cannot be converted, the error names the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.integration.config.literals import read_literal
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.integration.patching.sources import package_folder
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config

LINE = re.compile(r"^(\w+):.*#\s*\(([^)]*)\)")
BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
#: The range of normal float32 numbers, rounded.
MIN_FLOAT32, MAX_FLOAT32 = 1e-37, 1e37
PATH_KEYS = {"data_path", "checkpoint_dir", "dataset_save_path", "dataloaders_save_path", "resume"}
NONE_WORDS = ("none", "null", "~", "")


def default_files(model: str) -> Iterator[Path]:
    """RecBole's default files for a run of the model, the most general first."""
    properties = package_folder("recbole") / "properties"
    yield properties / "overall.yaml"
    yield properties / "dataset/sample.yaml"
    if model not in MODELS:
        yield properties / f"model/{model}.yaml"


@cache
def types_of_keys(model: str) -> dict[str, frozenset[str]]:
    """Key -> the types named in its comment, such as ``{"int"}`` or ``{"list", "str"}``.

    Keys whose default contradicts the comment are left out.
    """
    types: dict[str, frozenset[str]] = {}
    for file in default_files(model):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            defaults = yaml.safe_load(text) or {}
            for key, stated in filter(None, map(_read_line, text.splitlines())):
                if key in defaults and _matches(defaults[key], stated):
                    # the comments of RecBole's models say int for some keys that take fractions
                    reliable = file.parent.name != "model" or stated != {"int"}
                    types[key] = stated if reliable else frozenset({"float"})
    if model in MODELS:
        for key, _, comment in documented_keys(model):
            types[key] = _types_in(comment.partition(")")[0].removeprefix("("))
    return types


def _read_line(line: str) -> tuple[str, frozenset[str]] | None:
    match = LINE.match(line)
    if not match:
        return None
    return match[1], _types_in(match[2])


def _types_in(text: str) -> frozenset[str]:
    words = re.split(r" or |, ", text.replace("string", "str"))
    return frozenset(word.strip() for word in words)


def _matches(value: Any, types: frozenset[str]) -> bool:
    classes: dict[str, type | tuple[type, ...]] = {
        "bool": bool,
        "int": int,
        "float": (int, float),
        "str": str,
        "list": list,
        "dict": dict,
    }
    if value is None or ("bool" in types and value in (0, 1)):
        return True
    first_words = {name.split()[0] for name in types}
    return any(isinstance(value, classes[word]) for word in first_words if word in classes)


def convert(key: str, value: Any, types: frozenset[str]) -> Any:
    """Convert a value to the type of its key: words to booleans, strings to numbers.

    Raises:
        ValueError: the value cannot be converted.
    """
    (name,) = types if len(types) == 1 else (None,)
    if value is None or name not in ("bool", "int", "float", "dict", "list"):
        return value
    if isinstance(value, str) and value.strip().lower() in NONE_WORDS:
        return None
    if name == "bool":
        return _to_bool(key, value)
    if name in ("int", "float"):
        return _to_number(key, value, integral=name == "int")
    if name == "dict" and not isinstance(value, dict):
        refuse(key, value, "keys with values, such as {key: value}, or ~")
    if name == "list" and not isinstance(value, (list, tuple)):
        refuse(key, value, "a list, such as [a, b], or ~")
    return value


def _to_bool(key: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, float) or word not in BOOLEANS:
        refuse(key, value, "true or false (also yes, no, on, off, 1, 0)")
    return BOOLEANS[word]


def _to_number(key: str, value: Any, integral: bool) -> int | float:
    allowed = "a whole number" if integral else "a number"
    number = value
    if isinstance(value, str):
        try:
            number = read_literal(value.strip())
        except NameError:
            refuse(key, value, allowed)
    if not _is_real(number):
        refuse(key, value, allowed)
    if number != 0 and not MIN_FLOAT32 <= abs(number) <= MAX_FLOAT32:  # also refuses NaN
        refuse(key, value, f"{allowed} within the range of float32")
    if integral and int(number) != number:
        refuse(key, value, allowed)
    return int(number) if integral else number


def _is_real(value: Any) -> bool:
    # numbers.Real, unlike float, covers numpy's scalars
    return isinstance(value, Real) and not isinstance(value, bool)


def convert_all(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert all values of a config; see :func:`convert`."""
    types = types_of_keys(model)
    return {key: convert(key, value, types[key]) if key in types else value for key, value in given.items()}


@repair(
    "recbole.config.configurator",
    replaces={"Config._convert_config_dict": "1a14c8dd", "Config._get_final_config_dict": "d123191b"},
)
def convert_values_to_the_types_of_their_keys(patch: Patch, configurator: ModuleType) -> None:
    """RecBole reads ``no`` as true, since it is a non-empty string, and fails on a folder named 2024, which
    it reads as a number."""

    @patch.wrap("Config._convert_config_dict")
    def convert_config_dict(
        original: Callable[..., dict[str, Any]], self: Config, config_dict: dict[str, Any]
    ) -> dict[str, Any]:
        strings = {
            key: value
            for key, value in config_dict.items()
            if isinstance(value, str) and types_of_keys("").get(key) == {"str"}
        }
        converted = original(self, config_dict)
        for key, string in strings.items():
            if isinstance(converted[key], Real):
                converted[key] = string
        return converted

    @patch.wrap("Config._get_final_config_dict")
    def get_final_config_dict(original: Callable[..., dict[str, Any]], self: Config) -> dict[str, Any]:
        given = convert_all(self.model, self.external_config_dict)
        for key in PATH_KEYS & given.keys():
            if isinstance(given[key], str):
                given[key] = os.path.expanduser(given[key])
        self.external_config_dict = given
        return original(self)
