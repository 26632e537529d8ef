"""The type of each key's values, read from the comments in RecBole's default files and in ours.

Every line there gives it, ``repeatable: False  # (bool) Whether ...``. A ``Config`` then holds values of
that type, however they were written, or the error names the key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import util
from numbers import Real
from pathlib import Path
from typing import Any

import yaml

from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.integration.config.literals import read_literal
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import refuse

LINE = re.compile(r"^(\w+):.*#\s*\(([^)]*)\)")
WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
#: What float32 holds without losing digits.
SMALLEST, LARGEST = 1e-37, 1e37
PATHS = {"data_path", "checkpoint_dir", "dataset_save_path", "dataloaders_save_path", "resume"}
NOTHING = ("none", "null", "~", "")


def default_files(model: str) -> Iterator[Path]:
    """RecBole's files that say what keys a run of the model has, the more general ones first."""
    (folder,) = util.find_spec("recbole").submodule_search_locations
    properties = Path(folder, "properties")
    yield properties / "overall.yaml"
    yield properties / "dataset/sample.yaml"
    if model not in MODELS:
        yield properties / f"model/{model}.yaml"


@cache
def kinds_of_keys(model: str) -> dict[str, frozenset[str]]:
    """Key -> the kinds that its comment names, such as ``{"int"}`` or ``{"list", "str"}``.

    A key whose default is of another kind than its comment says is left out.
    """
    kinds: dict[str, frozenset[str]] = {}
    for file in default_files(model):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            defaults = yaml.safe_load(text) or {}
            for key, said in filter(None, map(_read_line, text.splitlines())):
                if key in defaults and _fits(defaults[key], said):
                    # of its own models' numbers RecBole does not always say which may be fractions
                    whole = file.parent.name != "model" or said != {"int"}
                    kinds[key] = said if whole else frozenset({"float"})
    if model in MODELS:
        for key, _, comment in documented_keys(model):
            kinds[key] = _kinds_in(comment.partition(")")[0].removeprefix("("))
    return kinds


def _read_line(line: str) -> tuple[str, frozenset[str]] | None:
    match = LINE.match(line)
    if not match:
        return None
    return match[1], _kinds_in(match[2])


def _kinds_in(said: str) -> frozenset[str]:
    words = re.split(r" or |, ", said.replace("string", "str"))
    return frozenset(word.strip() for word in words)


def _fits(value: Any, kinds: frozenset[str]) -> bool:
    types = {"bool": bool, "int": int, "float": (int, float), "str": str, "list": list, "dict": dict}
    if value is None or ("bool" in kinds and value in (0, 1)):
        return True
    first_words = {kind.split()[0] for kind in kinds}
    return any(isinstance(value, types[word]) for word in first_words if word in types)


def as_kind(key: str, value: Any, kinds: frozenset[str]) -> Any:
    """A value as its key takes it: words for true and false, numbers written as texts.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    (kind,) = kinds if len(kinds) == 1 else (None,)
    if value is None or kind not in ("bool", "int", "float", "dict", "list"):
        return value
    if isinstance(value, str) and value.strip().lower() in NOTHING:
        return None
    if kind == "bool":
        return _as_bool(key, value)
    if kind in ("int", "float"):
        return _as_number(key, value, whole=kind == "int")
    if kind == "dict" and not isinstance(value, dict):
        refuse(key, value, "keys with values, such as {key: value}, or ~")
    if kind == "list" and not isinstance(value, (list, tuple)):
        refuse(key, value, "a list, such as [a, b], or ~")
    return value


def _as_bool(key: str, value: Any) -> bool:
    word = str(value).strip().lower()
    if isinstance(value, float) or word not in WORDS:
        refuse(key, value, "true or false (also yes, no, on, off, 1, 0)")
    return WORDS[word]


def _as_number(key: str, value: Any, whole: bool) -> Any:
    allowed = "a whole number" if whole else "a number"
    number = value
    if isinstance(value, str):
        try:
            number = read_literal(value.strip())
        except NameError:
            refuse(key, value, allowed)
    if isinstance(number, bool) or not isinstance(number, Real):
        refuse(key, value, allowed)
    if number != 0 and not SMALLEST <= abs(number) <= LARGEST:  # NaN, too
        refuse(key, value, f"{allowed} that float32 can hold")
    if whole and int(number) != number:
        refuse(key, value, allowed)
    return int(number) if whole else number


def as_kinds(model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All values of a config as their keys take them; see :func:`as_kind`."""
    kinds = kinds_of_keys(model)
    return {key: as_kind(key, value, kinds[key]) if key in kinds else value for key, value in given.items()}


@repair(
    "recbole.config.configurator",
    replaces={"Config._convert_config_dict": "1a14c8dd", "Config._get_final_config_dict": "d123191b"},
)
def read_values_as_the_kind_of_their_key(patch, configurator) -> None:
    """RecBole takes ``no`` for yes, since it is a text that is not empty, and fails on a folder that is
    called 2024, after it has read it as a number."""

    @patch.wrap("Config._convert_config_dict")
    def convert_but_keep_texts(convert, self, config_dict):
        texts = {
            key: value
            for key, value in config_dict.items()
            if isinstance(value, str) and kinds_of_keys("").get(key) == {"str"}
        }
        converted = convert(self, config_dict)
        for key, text in texts.items():
            if isinstance(converted[key], Real):
                converted[key] = text
        return converted

    @patch.wrap("Config._get_final_config_dict")
    def finish_as_kinds(finish, self):
        given = as_kinds(self.model, self.external_config_dict)
        for key in PATHS & given.keys():
            if isinstance(given[key], str):
                given[key] = os.path.expanduser(given[key])
        self.external_config_dict = given
        return finish(self)
