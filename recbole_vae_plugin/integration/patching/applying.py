"""Apply each patch as soon as its target has been imported, and no earlier.

This keeps the import of this package cheap, and makes the order of imports irrelevant.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from recbole_vae_plugin.integration.patching.patch import WAITING, Patch, is_loading
from recbole_vae_plugin.integration.patching.registry import in_order

#: Patches that are applied, or will be once their target is imported.
_scheduled: set[Patch] = set()
#: Those already applied, in that order.
_applied: list[Patch] = []
#: Those whose target was being imported when they were scheduled.
_postponed: list[Patch] = []


def apply_patches(compare_sources: bool = False) -> None:
    """Patch the modules already imported, and schedule the other patches; calling it again has no effect.

    Args:
        compare_sources: warn about each patch whose target differs from the source it was written against.
    """
    for patch in in_order():
        if patch in _scheduled:
            continue
        _scheduled.add(patch)
        if compare_sources and (differences := patch.differences()):
            warnings.warn(
                f"recbole-vae-plugin: the patch {patch.name} of {patch.target} was written for "
                f"{patch.read_against}, which differs from the installed version: {', '.join(differences)}",
                stacklevel=2,
            )
        # If RecBole is imported first, torch loads this package in the middle of RecBole's own imports;
        # a partially imported module has nothing to patch yet.
        if is_loading(patch.target):
            _postponed.append(patch)
            sys.modules[patch.target].__class__ = PartiallyImported
        else:
            _apply_when_imported(patch)


def undo_patches() -> None:
    """Undo all patches, the last one first; those still waiting for an import are cancelled."""
    while _applied:
        _applied.pop().undo()
    for patch in _scheduled:
        patch.state = WAITING  # even if it had failed
    _scheduled.clear()
    _postponed.clear()


def apply_postponed() -> None:
    """Patch the modules whose import has finished since :func:`apply_patches`."""
    for patch in _postponed[:]:
        if not is_loading(patch.target):
            _postponed.remove(patch)
            # if that import failed, this waits for the next one
            _apply_when_imported(patch)


def _apply_when_imported(patch: Patch) -> None:
    wrapt.register_post_import_hook(partial(_apply, patch), patch.target)


def _apply(patch: Patch, module: ModuleType) -> None:
    # import hooks cannot be removed: this one may date from before undo_patches
    if patch in _scheduled and patch.state == WAITING:
        patch.apply(module)
        _applied.append(patch)


class PartiallyImported(ModuleType):
    """A module that is still being imported; it is patched when a name is first read after the import."""

    def __getattribute__(self, name: str) -> Any:
        read = ModuleType.__getattribute__
        if not read(self, "__spec__")._initializing:
            super().__setattr__("__class__", ModuleType)
            apply_postponed()
        return read(self, name)
