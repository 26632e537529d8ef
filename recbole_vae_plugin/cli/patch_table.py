"""The table of patches in docs."""

from __future__ import annotations

import re

from recbole_vae_plugin.integration import registration  # noqa: F401  collects the patches
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import in_order

HEAD = """# Patches

What this package changes in RecBole 1.2.1, and in the libraries that RecBole uses, once `register()` has been
called; importing the package calls it, and so does importing RecBole (`recbole_vae_plugin/autoload.py`).
`recbole_vae_plugin.unregister()` undoes all of it. `recbole-vae doctor` shows the state of each patch here,
and compares the sources of what it replaces with those that it was read against.

Made by `python -m recbole_vae_plugin.cli.generate`.
"""
COLUMNS = "| Patch | What | Changes | After | Read against |\n|---|---|---|---|---|"
KINDS = {"repair": "Repairs", "extension": "Extensions"}


def table() -> str:
    """The text of the file, the same on every machine."""
    parts = [HEAD]
    for kind, title in KINDS.items():
        found = [patch for patch in in_order() if patch.kind == kind]
        found.sort(key=lambda patch: (patch.target, in_order().index(patch)))
        parts.append(f"## {title}\n\n{COLUMNS}\n" + "".join(map(row, found)))
    return "\n".join(parts)


def row(patch: Patch) -> str:
    defined_in = patch.function.__module__.replace(".", "/")
    changed = [*patch.replaces, *patch.adds, *(f"{path}[...]" for path in patch.extends)]
    cells = (
        f"[{patch.name}](../{defined_in}.py)",
        first_sentence(patch.function.__doc__),
        f"`{patch.target}`: {', '.join(f'`{path}`' for path in changed)}",
        ", ".join(patch.after),
        patch.read_against,
    )
    return f"| {' | '.join(cells)} |\n"


def first_sentence(docstring: str | None) -> str:
    joined = " ".join((docstring or "").split()).replace("``", "`").replace("|", "\\|")
    return re.split(r"(?<=\.)\s", joined, maxsplit=1)[0]
