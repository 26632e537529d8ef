"""The default files in ``properties/``: generated from the models' settings, in the format of RecBole's.

They serve as documentation, and let ``--help`` work without importing torch and RecBole.
``python -m recbole_vae_plugin.cli.generate`` regenerates them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import yaml

from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.registry import COMPONENTS_GROUP

FOLDER = Path(__file__).parents[2] / "properties"
LINE = re.compile(r"^(\w+):\s*(.*?)\s*#\s*(.*)$")


def default_file(model: str) -> str:
    """The content of a model's default file."""
    lines = []
    for key in MODELS[model].every_key():
        value = yaml.safe_dump(key.plain_default, default_flow_style=True).removesuffix("\n...\n").strip()
        lines.append(f"{f'{key.name}: {value}'.replace(': null', ': ~'):<32}# {key.described}\n")
    return "".join(lines)


@cache
def documented_keys(model: str) -> list[tuple[str, str, str]]:
    """(key, default, comment) for each key of one of our models."""
    file = FOLDER / f"{model}.yaml"
    current = file.is_file() and not entry_points(group=COMPONENTS_GROUP)
    text = file.read_text(encoding="utf-8") if current else default_file(model)
    return [(match[1], match[2], match[3]) for match in map(LINE.match, text.splitlines()) if match]
