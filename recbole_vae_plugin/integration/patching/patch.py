"""A patch: what it changes in RecBole or another library, against which source, and how to undo it.

A patch is a function that is called with its :class:`Patch` and its target once the target has been imported.
It makes changes only through its :class:`Patch`, so that all changes are declared and can be undone.
Attributes are named by paths: ``"Trainer.fit"`` in the target, or ``"torch:load"`` in another module.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.sources import fingerprint

WAITING, APPLIED, NOT_NEEDED = "waiting", "applied", "not needed"
ABSENT = object()


@dataclass(eq=False)
class Patch:
    """A function that patches a module, and its state.

    Attributes:
        kind: ``repair`` of a defect, or ``extension``.
        target: name of the module that is patched.
        function: called with the patch and the module; returns ``False`` if the installed versions do not
            need the patch.
        replaces: path of each function that is replaced or wrapped -> fingerprint of its source
            (:func:`.sources.fingerprint`), or ``None`` if the module only imports it.
        adds: paths of new attributes.
        extends: paths of lists and dicts to which entries are added.
        reads: path of other code on which the patch relies -> fingerprint.
        after: names of patches of the same target that must be applied first.
        read_against: the releases for which the patch was written.
        state: ``waiting`` until the module has been imported, then ``applied``, ``not needed``, or the
            reason why it failed.
    """

    kind: str
    target: str
    function: Callable[[Patch, ModuleType], bool | None]
    replaces: dict[str, str | None] = field(default_factory=dict)
    adds: tuple[str, ...] = ()
    extends: tuple[str, ...] = ()
    reads: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    read_against: str = "RecBole 1.2.1"
    state: str = WAITING
    _changes: list[Callable[[], None]] = field(default_factory=list, repr=False)
    _module: ModuleType | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.function.__name__

    def apply(self, module: ModuleType) -> None:
        """Make all changes, or none if one of them fails."""
        self._module = module
        try:
            needed = self.function(self, module)
        except Exception as problem:
            self.undo()
            self.state = f"failed: {type(problem).__name__}: {problem}"
            raise
        self.state = NOT_NEEDED if needed is False else APPLIED

    def undo(self) -> None:
        """Revert all changes, the last one first."""
        while self._changes:
            self._changes.pop()()
        self.state = WAITING

    def differences(self) -> list[str]:
        """The paths whose source differs from the one the patch was written against.

        An entry looks like ``Trainer.fit (is 1a2b3c4d)``.
        """
        result = []
        for path, expected in {**self.replaces, **self.reads}.items():
            module, _, attributes = path.rpartition(":")
            actual = fingerprint(module or self.target, attributes) if expected else None
            if actual != expected:
                result.append(f"{path} ({f'is {actual}' if actual else 'does not exist'})")
        return result

    def current(self, path: str) -> Any:
        """The present value at a path."""
        owner, name = self._find(path)
        return getattr(owner, name)

    def replace(self, path: str, value: Any) -> None:
        """Set the value at a path, also in all modules of RecBole that have imported the former value."""
        if path not in self.replaces and path not in self.adds:
            raise LookupError(f"{self.name} does not declare that it changes {path}")
        owner, name = self._find(path)
        former = vars(owner).get(name, ABSENT)
        setattr(owner, name, value)
        # nothing can have been imported yet from a module that is still being imported
        if (
            isinstance(owner, ModuleType)
            and getattr(former, "__module__", None) == owner.__name__
            and not is_loading(owner.__name__)
        ):
            _replace_imported(former, value)
        self._changes.append(lambda: self._put_back(path, value, former))

    def wrap(self, path: str) -> Callable[[Callable], Callable]:
        """Decorate a function that replaces the one at a path, which it gets as its first argument."""

        def decorate(function: Callable) -> Callable:
            former = self.current(path)

            @functools.wraps(former)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(former, *args, **kwargs)

            self.replace(path, wrapper)
            return wrapper

        return decorate

    def put(self, path: str, key: Any, value: Any) -> None:
        """Set an entry of the dict at a path."""
        entries: MutableMapping[Any, Any] = self._container(path)
        former = entries.get(key, ABSENT)
        entries[key] = value

        def put_back() -> None:
            if entries.get(key) is value:
                if former is ABSENT:
                    del entries[key]
                else:
                    entries[key] = former

        self._changes.append(put_back)

    def insert(self, path: str, entry: Any) -> None:
        """Insert an entry at the front of the list at a path."""
        entries: list[Any] = self._container(path)
        entries.insert(0, entry)
        self._changes.append(lambda: _remove(entries, entry))

    def ignore_warnings(self, **which: Any) -> None:
        """Call ``warnings.filterwarnings("ignore", ...)`` until the patch is undone."""
        filters: list[Any] = self._container("warnings:filters")
        before = filters[:]
        warnings.filterwarnings("ignore", **which)
        added = filters[0]
        if added not in before:
            self._changes.append(lambda: _remove(filters, added))

    def on_undo(self, function: Callable[[], None]) -> None:
        """Register a function to be called when the patch is undone."""
        self._changes.append(function)

    def _container(self, path: str) -> Any:
        if path not in self.extends:
            raise LookupError(f"{self.name} does not declare that it extends {path}")
        return self.current(path)

    def _find(self, path: str) -> tuple[Any, str]:
        module, _, attributes = path.rpartition(":")
        owner = import_module(module) if module else self._module
        *outer, name = attributes.split(".")
        return functools.reduce(getattr, outer, owner), name

    def _put_back(self, path: str, value: Any, former: Any) -> None:
        owner, name = self._find(path)
        if vars(owner).get(name, ABSENT) is not value:
            # whatever has replaced our value may hold a reference to it
            warnings.warn(
                f"cannot undo the patch of {path} in {self.target}: it has been changed since", stacklevel=2
            )
        elif former is ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, former)
            if isinstance(owner, ModuleType):
                _replace_imported(value, former)


def is_loading(module_name: str) -> bool:
    """Whether the module is being imported at the moment."""
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _remove(entries: list, entry: Any) -> None:
    if entry in entries:
        entries.remove(entry)


def _replace_imported(former: Any, value: Any) -> None:
    """Replace a value in all modules of RecBole, and ours, that have imported it by name."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("recbole") and isinstance(module, ModuleType):
            # not vars(module), which would make PartiallyImported apply its patches
            for name, imported in list(ModuleType.__getattribute__(module, "__dict__").items()):
                if imported is former:
                    setattr(module, name, value)


def module_with(module: ModuleType, **names: Any) -> ModuleType:
    """A copy of a module with other values for some names, for use by a single importer."""
    copy = ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update(module.__dict__, **names)
    return copy
