"""One patch: what it changes in RecBole or another library, what it was read against, and its undoing.

A patch is a function, called with its :class:`Patch` and its target when the target has been imported. It
changes things through the former only, so that each change is declared and remembered with what was there.
Things are named by paths: ``"Trainer.fit"`` of the target, or ``"torch:load"`` of another module.
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

WAITING, IN_FORCE, NOT_NEEDED = "waiting", "in force", "not needed"
ABSENT = object()


@dataclass(eq=False)
class Patch:
    """A function that patches a module, and what has become of it.

    Attributes:
        kind: ``repair`` of something that is wrong, or ``extension``.
        target: name of the module that is patched.
        function: is called with the patch and the module; returns ``False`` where the installed versions
            need no patch.
        replaces: path of each function that is replaced or wrapped -> fingerprint of its source
            (:func:`.sources.fingerprint`), or ``None`` for what RecBole does not define itself.
        adds: paths of attributes that were not there before.
        extends: paths of lists and dicts that entries are put into.
        reads: path of what else the patch relies on -> fingerprint.
        after: names of patches of the same target that must have been applied before.
        read_against: the releases that the patch was written for.
        state: ``waiting`` until the module has been imported, then ``in force``, ``not needed``, or
            the reason why it failed.
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
        """Change what is to be changed, all of it or, where that fails, nothing."""
        self._module = module
        try:
            needed = self.function(self, module)
        except Exception as problem:
            self.undo()
            self.state = f"failed: {type(problem).__name__}: {problem}"
            raise
        self.state = NOT_NEEDED if needed is False else IN_FORCE

    def undo(self) -> None:
        """Put back what was there, the last change first."""
        while self._changes:
            self._changes.pop()()
        self.state = WAITING

    def differences(self) -> list[str]:
        """What of this patch's is not what it was read against, such as ``Trainer.fit (is 1a2b3c4d)``."""
        found = []
        for path, expected in {**self.replaces, **self.reads}.items():
            module, _, attributes = path.rpartition(":")
            is_now = fingerprint(module or self.target, attributes) if expected else None
            if is_now != expected:
                found.append(f"{path} ({f'is {is_now}' if is_now else 'is not there'})")
        return found

    def former(self, path: str) -> Any:
        """What is at a path now."""
        owner, name = self._find(path)
        return getattr(owner, name)

    def replace(self, path: str, value: Any) -> None:
        """Put a value at a path, and in all of RecBole's modules that have imported what was there."""
        if path not in self.replaces and path not in self.adds:
            raise LookupError(f"{self.name} does not declare that it changes {path}")
        owner, name = self._find(path)
        former = vars(owner).get(name, ABSENT)
        setattr(owner, name, value)
        # from a module whose import has not ended nobody has imported anything yet
        if (
            isinstance(owner, ModuleType)
            and getattr(former, "__module__", None) == owner.__name__
            and not is_loading(owner.__name__)
        ):
            _replace_imported(former, value)
        self._changes.append(lambda: self._put_back(path, value, former))

    def wrap(self, path: str) -> Callable[[Callable], Callable]:
        """Decorate a function to be called in place of the one at a path, with that one as first argument."""

        def decorate(function: Callable) -> Callable:
            former = self.former(path)

            @functools.wraps(former)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(former, *args, **kwargs)

            self.replace(path, wrapper)
            return wrapper

        return decorate

    def put(self, path: str, key: Any, value: Any) -> None:
        """Put an entry into the dict at a path."""
        entries: MutableMapping = self._container(path)
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
        """Put an entry before all others into the list at a path."""
        entries: list = self._container(path)
        entries.insert(0, entry)
        self._changes.append(lambda: _remove(entries, entry))

    def ignore_warnings(self, **which: Any) -> None:
        """As ``warnings.filterwarnings("ignore", ...)``."""
        filters: list[Any] = self._container("warnings:filters")
        before = filters[:]
        warnings.filterwarnings("ignore", **which)
        added = filters[0]
        if added not in before:
            self._changes.append(lambda: _remove(filters, added))

    def on_undo(self, function: Callable[[], None]) -> None:
        """Have a function called when the patch is undone."""
        self._changes.append(function)

    def _container(self, path: str) -> Any:
        if path not in self.extends:
            raise LookupError(f"{self.name} does not declare that it extends {path}")
        return self.former(path)

    def _find(self, path: str) -> tuple[Any, str]:
        module, _, attributes = path.rpartition(":")
        owner = import_module(module) if module else self._module
        *outer, name = attributes.split(".")
        return functools.reduce(getattr, outer, owner), name

    def _put_back(self, path: str, value: Any, former: Any) -> None:
        owner, name = self._find(path)
        if vars(owner).get(name, ABSENT) is not value:
            # what others have put on top may call ours, which they hold
            warnings.warn(f"{path} of {self.target} was changed by others and stays as it is", stacklevel=2)
        elif former is ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, former)
            if isinstance(owner, ModuleType):
                _replace_imported(value, former)


def is_loading(module_name: str) -> bool:
    """Whether the module's import has begun and not ended."""
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _remove(entries: list, entry: Any) -> None:
    if entry in entries:
        entries.remove(entry)


def _replace_imported(former: Any, value: Any) -> None:
    """Put a value where RecBole's modules, and ours, have imported another one by name."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("recbole") and isinstance(module, ModuleType):
            # not vars(module): to read from a half-made module is to have it patched
            for name, imported in list(ModuleType.__getattribute__(module, "__dict__").items()):
                if imported is former:
                    setattr(module, name, value)


def module_with(module: ModuleType, **names: Any) -> ModuleType:
    """A copy of the module in which some names mean something else, for one importer to see."""
    copy = ModuleType(module.__name__, module.__doc__)
    copy.__dict__.update(module.__dict__, **names)
    return copy
