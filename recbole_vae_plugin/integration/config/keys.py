"""The models, keys and data sets that RecBole and this package know."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.integration.patching.sources import package_folder
from recbole_vae_plugin.settings.config_files import Loader
from recbole_vae_plugin.settings.model_registry import MODELS

#: Read from a command line, or from a config file. ``data_hash``: of the data set's files, as in
#: :mod:`~recbole_vae_plugin.integration.config.data_files`.
RUN_KEYS = {"resume", "model", "dataset", "data_hash", "log_mlflow"}
#: Read from the command line of `run_recbole` alone.
LAUNCH_KEYS = {"config_files", "nproc", "ip", "port", "world_size", "group_offset"}
#: In the source of a model that no optimiser trains.
CLOSED_FORM = re.compile(r"ModelType\.TRADITIONAL|dummy_param")


@cache
def recbole_folder() -> Path:
    """The folder in which RecBole is installed."""
    return package_folder("recbole")


@cache
def builtin_models() -> list[str]:
    """The names of RecBole's own models."""
    return sorted((file.stem for file in recbole_folder().glob("properties/model/*.yaml")), key=str.lower)


def default_keys(model: str) -> list[str]:
    """The keys for which a model has defaults."""
    return list(default_values(model))


def default_values(model: str) -> dict[str, Any]:
    """Key -> default of the keys that are a model's own; empty for an unknown model."""
    if model in MODELS:
        text = "\n".join(f"{key}: {value}" for key, value, _ in documented_keys(model))
    else:
        file = recbole_folder() / f"properties/model/{model}.yaml"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return yaml.load(text, Loader) or {}


def is_trained_by_gradient(model: str) -> bool:
    """Whether a model has a learning rate; RecBole's models in closed form say so in their sources."""
    sources = recbole_folder().glob(f"model/*/{model.lower()}.py")
    return not any(CLOSED_FORM.search(source.read_text(encoding="utf-8")) for source in sources)


def downloadable_datasets() -> dict[str, str]:
    """Data set name -> the URL from which RecBole downloads it."""
    return yaml.safe_load((recbole_folder() / "properties/dataset/url.yaml").read_text())


def known_keys(model: str) -> set[str]:
    """Every key that a run of ``model`` can read.

    RecBole has no such list, so it is made up of the keys in its default files (of the models' files,
    only this model's) and the keys that its code looks up in a config.
    """
    keys = RUN_KEYS | set(default_keys(model))
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
    return keys - LAUNCH_KEYS
