"""Config files: YAML with numbers as RecBole reads them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from recbole_vae_plugin.values import did_you_mean, refuse


class Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for a text; RecBole, and everyone who writes a learning rate, for a number."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config_file(file: str | Path, key: str = "config_files") -> dict:
    """The keys of a config file.

    Args:
        file: its path.
        key: what named the file, for the message.

    Raises:
        ValueError: there is no such file, or it is not a YAML file of keys.
    """
    path = Path(file)
    if not path.is_file():
        nearby = [str(other) for other in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        refuse(key, str(file), "the path of an existing YAML file" + did_you_mean(str(file), nearby))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        where = " ".join(str(problem).split())
        raise ValueError(f"{key}: {file} is not valid YAML: {where}") from problem
    if not isinstance(content, dict):
        raise ValueError(f"{key}: {file} must hold lines of `key: value`")
    return content
