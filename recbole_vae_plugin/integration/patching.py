"""Patch a module of RecBole as soon as it has been imported, and not before.

So that importing this package stays cheap and the order of imports does not matter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import wrapt

Patch = Callable[[ModuleType], None]
_patches: list[tuple[str, Patch]] = []
_postponed: list[tuple[str, Patch]] = []


def patch_of(module_name: str) -> Callable[[Patch], Patch]:
    """Decorate a function that patches the module of that name, which it is called with."""

    def collect(patch: Patch) -> Patch:
        _patches.append((module_name, patch))
        return patch

    return collect


def is_loading(module_name: str) -> bool:
    """Whether the module's import has begun and not ended."""
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def apply_patches() -> None:
    """Patch what is loaded now and arrange for the rest. Doing it twice does it once."""
    patches, _patches[:] = _patches[:], []
    for module_name, patch in patches:
        # torch loads this package in the middle of RecBole's own imports where RecBole
        # was imported first; a half-made module has nothing to patch yet.
        if is_loading(module_name):
            _postponed.append((module_name, patch))
        else:
            wrapt.register_post_import_hook(patch, module_name)


def apply_postponed() -> None:
    """Patch the modules whose import has ended since :func:`apply_patches`."""
    for entry in _postponed[:]:
        module_name, patch = entry
        if not is_loading(module_name):
            _postponed.remove(entry)
            # an import that failed is waited for again
            wrapt.register_post_import_hook(patch, module_name)


def module_with(module: ModuleType, **names) -> ModuleType:
    """A copy of the module in which some names mean something else, for one importer to see."""
    copy = ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update(module.__dict__, **names)
    return copy
