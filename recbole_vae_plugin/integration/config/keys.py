"""What can be typed: the models and the keys that RecBole and this package know."""

from __future__ import annotations

import re
from functools import cache
from importlib import util
from pathlib import Path

import yaml

from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.settings.model_registry import MODELS

#: Read by RecBole from its command line alone.
LAUNCH_KEYS = {
    "resume",
    "model",
    "dataset",
    "config_files",
    "nproc",
    "ip",
    "port",
    "world_size",
    "group_offset",
}


@cache
def recbole_folder() -> Path:
    """Where RecBole is installed."""
    (folder,) = util.find_spec("recbole").submodule_search_locations
    return Path(folder)


@cache
def builtin_models() -> list[str]:
    """RecBole's own models, by name."""
    return sorted((file.stem for file in recbole_folder().glob("properties/model/*.yaml")), key=str.lower)


def default_keys(model: str) -> list[str]:
    """The keys that a model has defaults for."""
    if model in MODELS:
        return [key for key, _, _ in documented_keys(model)]
    file = recbole_folder() / f"properties/model/{model}.yaml"
    return list(yaml.safe_load(file.read_text(encoding="utf-8")) or ()) if file.is_file() else []


def downloadable_datasets() -> dict[str, str]:
    """Data set name -> the address RecBole downloads it from."""
    return yaml.safe_load((recbole_folder() / "properties/dataset/url.yaml").read_text())


def known_keys(model: str) -> set[str]:
    """Every key that a run of ``model`` can read.

    RecBole keeps no such list: these are the keys of its default files (of the models, only
    this one's) and those that its code asks a config for.
    """
    keys = LAUNCH_KEYS | set(default_keys(model))
    properties = recbole_folder() / "properties"
    files = [
        properties / "overall.yaml",
        *properties.glob("quick_start_config/*.yaml"),
        properties / "dataset/sample.yaml",
        properties / "dataset/ml-100k.yaml",
    ]
    for file in files:
        if file.is_file():
            keys.update(re.findall(r"^(\w+):", file.read_text(encoding="utf-8"), re.MULTILINE))
    sources = [
        source
        for folder in ("config", "data", "evaluator", "quick_start", "sampler", "trainer", "utils")
        for source in recbole_folder().glob(f"{folder}/**/*.py")
    ]
    if model not in MODELS:
        sources += [*recbole_folder().glob(f"model/*/{model.lower()}.py")]
        sources += [*recbole_folder().glob("model/*.py")]
    for source in sources:
        text = source.read_text(encoding="utf-8")
        keys.update(re.findall(r"""config\[["'](\w+)["']\]""", text))
        if source.name == "argument_list.py":
            keys.update(re.findall(r"'(\w+)'", text))
    return keys
