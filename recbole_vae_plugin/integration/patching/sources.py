"""Fingerprints of another package's functions: do they still match what a patch was written against?

They are computed from the files, which patches do not change, and without importing anything.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib import util
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def package_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        ModuleNotFoundError: it is not installed, or is not a package.
    """
    spec = util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no package named {package!r}", name=package)
    return Path(spec.submodule_search_locations[0])


@cache
def fingerprint(module: str, path: str) -> str | None:
    """The first eight hex digits of the hash of a definition's source, ignoring comments and blank lines.

    Args:
        module: the name of its module.
        path: its qualified name in the module, such as ``"Trainer.fit"``.

    Returns:
        ``None`` if the module has no source file, or the file does not define it.
    """
    lines, scope = _parsed(module)
    definition = None
    for name in path.split("."):
        definition = next(
            (node for node in scope if isinstance(node, Definition) and node.name == name), None
        )
        if definition is None:
            return None
        scope = definition.body
    if definition is None:
        return None
    source = map(str.strip, lines[definition.lineno - 1 : definition.end_lineno])
    code = "\n".join(line for line in source if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:8]


@cache
def _parsed(module: str) -> tuple[list[str], list[ast.stmt]]:
    """The lines and the top-level statements of a module; both empty if it has no source file."""
    package, *parts = module.split(".")
    try:
        # find_spec of a submodule would import its parent packages
        path = package_folder(package).joinpath(*parts)
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        text = file.read_text(encoding="utf-8")
    except (ImportError, OSError, ValueError):
        return [], []
    # split as ast counts lines; splitlines() knows more line endings
    return text.split("\n"), ast.parse(text).body
