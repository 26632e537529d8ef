"""Fingerprints of functions in another package's files: whether they still are what a patch was read against.

They are taken from the files, which no patch changes; nothing is imported for it.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib import util
from pathlib import Path


@cache
def fingerprint(module: str, path: str) -> str | None:
    """Eight hexadecimal digits of what a function or class says, without comments and blank lines.

    Args:
        module: its module's name.
        path: where it is in there, such as ``"Trainer.fit"``.

    Returns:
        ``None`` where the module has no file, or the file defines no such thing.
    """
    lines, node = _parsed(module)
    for name in path.split("."):
        inside = getattr(node, "body", ())
        node = next((found for found in inside if getattr(found, "name", None) == name), None)
    if node is None:
        return None
    own = map(str.strip, lines[node.lineno - 1 : node.end_lineno])
    code = "\n".join(line for line in own if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:8]


@cache
def _parsed(module: str) -> tuple[list[str], ast.Module | None]:
    package, *parts = module.split(".")
    try:
        # of a submodule find_spec would import the packages that it is in
        (folder,) = util.find_spec(package).submodule_search_locations
        place = Path(folder, *parts)
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        text = file.read_text(encoding="utf-8")
    except (AttributeError, OSError, TypeError, ValueError):
        return [], None
    # numbered as ast numbers them; splitlines() knows more ends of lines
    return text.split("\n"), ast.parse(text)
