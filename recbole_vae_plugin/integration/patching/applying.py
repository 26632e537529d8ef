"""Patch a module as soon as it has been imported, and not before.

So that importing this package stays cheap and the order of imports does not matter.
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

#: Patches that are to be applied when their target is there.
_arranged: set[Patch] = set()
#: Those that have been, in that order.
_applied: list[Patch] = []
#: Those whose target was being imported when they were arranged.
_postponed: list[Patch] = []


def apply_patches(compare_sources: bool = False) -> None:
    """Patch what is loaded now and arrange for the rest. Doing it twice does it once.

    Args:
        compare_sources: warn of a patch whose target is not what it was read against.
    """
    for patch in in_order():
        if patch in _arranged:
            continue
        _arranged.add(patch)
        if compare_sources and (differences := patch.differences()):
            warnings.warn(
                f"recbole-vae-plugin: {patch.name} patches {patch.target} and was read against "
                f"{patch.read_against}; here {', '.join(differences)}",
                stacklevel=2,
            )
        # torch loads this package in the middle of RecBole's own imports where RecBole
        # was imported first; a half-made module has nothing to patch yet.
        if is_loading(patch.target):
            _postponed.append(patch)
            sys.modules[patch.target].__class__ = HalfMade
        else:
            _apply_when_imported(patch)


def undo_patches() -> None:
    """Undo every patch, the last one first; those that wait for an import are not applied any more."""
    while _applied:
        _applied.pop().undo()
    for patch in _arranged:
        patch.state = WAITING  # also of one that failed
    _arranged.clear()
    _postponed.clear()


def apply_postponed() -> None:
    """Patch the modules whose import has ended since :func:`apply_patches`."""
    for patch in _postponed[:]:
        if not is_loading(patch.target):
            _postponed.remove(patch)
            # an import that failed is waited for again
            _apply_when_imported(patch)


def _apply_when_imported(patch: Patch) -> None:
    wrapt.register_post_import_hook(partial(_apply, patch), patch.target)


def _apply(patch: Patch, module: ModuleType) -> None:
    # no hook can be taken back: one may be left from before an undo_patches
    if patch in _arranged and patch.state == WAITING:
        patch.apply(module)
        _applied.append(patch)


class HalfMade(ModuleType):
    """A module whose import has not ended yet: who reads a name from it afterwards finds it patched."""

    def __getattribute__(self, name: str) -> Any:
        read = ModuleType.__getattribute__
        if not read(self, "__spec__")._initializing:
            self.__class__ = ModuleType
            apply_postponed()
        return read(self, name)
