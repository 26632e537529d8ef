"""``python -m recbole_vae_plugin.cli.generate``: write anew, in a checkout, what is derived from the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import recbole_vae_plugin
from recbole_vae_plugin.cli import patch_table
from recbole_vae_plugin.integration.config import default_files
from recbole_vae_plugin.settings.model_registry import SHIPPED
from recbole_vae_plugin.system.atomic import write_text

DOCS = Path(recbole_vae_plugin.__file__).parents[1] / "docs"


def generated() -> Iterator[tuple[Path, str]]:
    """(file, text) of everything that is generated."""
    for model in SHIPPED:
        yield default_files.FOLDER / f"{model}.yaml", default_files.default_file(model)
    yield DOCS / "keys.md", table_of_keys()
    yield DOCS / "patches.md", patch_table.table()


def table_of_keys() -> str:
    """A page with every key of the models."""
    lines = [
        "# Keys of the models",
        "",
        "Made by `python -m recbole_vae_plugin.cli.generate` from the settings that the components declare.",
        "RecBole's own keys are in its documentation.",
        "",
        "| key | default | | models |",
        "|---|---|---|---|",
    ]
    described: dict[tuple[str, str, str], list[str]] = {}
    for model in SHIPPED:
        for entry in default_files.documented_keys(model):
            described.setdefault(entry, []).append(model)
    for (key, default, comment), models in described.items():
        of = "all" if len(models) == len(SHIPPED) else ", ".join(models)
        lines.append(f"| `{key}` | `{default}` | {comment} | {of} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for file, text in generated():
        write_text(file, text)
