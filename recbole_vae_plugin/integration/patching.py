"""Patch a module of RecBole as soon as it has been imported, and not before.

So that importing this package stays cheap and the order of imports does not matter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import wrapt

WAITING, IN_FORCE, NOT_NEEDED = "waiting", "in force", "not needed"


@dataclass
class Patch:
    """A function that patches a module, and what has become of it.

    Attributes:
        target: name of the module that is patched.
        function: is called with it; returns ``False`` where the installed versions need no patch.
        state: ``waiting`` until the module has been imported, then ``in force``, ``not needed``, or
            the reason why it failed.
    """

    target: str
    function: Callable[[ModuleType], bool | None]
    state: str = WAITING

    @property
    def name(self) -> str:
        return self.function.__name__

    def apply(self, module: ModuleType) -> None:
        try:
            needed = self.function(module)
        except Exception as problem:
            self.state = f"failed: {type(problem).__name__}: {problem}"
            raise
        self.state = NOT_NEEDED if needed is False else IN_FORCE


#: Every patch, in the order in which they are applied to a module.
PATCHES: list[Patch] = []
_arranged: set[int] = set()
_postponed: list[Patch] = []


def patch_of(module_name: str) -> Callable[[Callable], Callable]:
    """Decorate a function that patches the module of that name, which it is called with."""

    def collect(function: Callable) -> Callable:
        PATCHES.append(Patch(module_name, function))
        return function

    return collect


def is_loading(module_name: str) -> bool:
    """Whether the module's import has begun and not ended."""
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def apply_patches() -> None:
    """Patch what is loaded now and arrange for the rest. Doing it twice does it once."""
    for patch in PATCHES:
        if id(patch) in _arranged:
            continue
        _arranged.add(id(patch))
        # torch loads this package in the middle of RecBole's own imports where RecBole
        # was imported first; a half-made module has nothing to patch yet.
        if is_loading(patch.target):
            _postponed.append(patch)
            sys.modules[patch.target].__class__ = HalfMade
        else:
            wrapt.register_post_import_hook(patch.apply, patch.target)


class HalfMade(ModuleType):
    """A module whose import has not ended yet: who reads a name from it afterwards finds it patched."""

    def __getattribute__(self, name: str):
        read = ModuleType.__getattribute__
        if not read(self, "__spec__")._initializing:
            self.__class__ = ModuleType
            apply_postponed()
        return read(self, name)


def apply_postponed() -> None:
    """Patch the modules whose import has ended since :func:`apply_patches`."""
    for patch in _postponed[:]:
        if not is_loading(patch.target):
            _postponed.remove(patch)
            # an import that failed is waited for again
            wrapt.register_post_import_hook(patch.apply, patch.target)


def module_with(module: ModuleType, **names) -> ModuleType:
    """A copy of the module in which some names mean something else, for one importer to see."""
    copy = ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update(module.__dict__, **names)
    return copy
