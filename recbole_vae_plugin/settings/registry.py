"""Components that a config selects by name: the shipped ones and those of other packages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from recbole_vae_plugin.settings.declaration import Config, Key, checked, keys_of, read
from recbole_vae_plugin.settings.validation import refuse

#: The type of a registry's components.
T = TypeVar("T", bound=Callable[..., Any])
#: The type of one component, which its decorator preserves.
C = TypeVar("C", bound=Callable[..., Any])

#: The entry point group whose modules register components when they are imported.
COMPONENTS_GROUP = "recbole_vae_plugin.components"


#: All registries: the keys of components of all kinds share one namespace.
_registries: list[Registry[Any]] = []


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to components of one kind.

    A component may have settings of its own: a dataclass ``Settings`` in the class, or the argument
    ``settings`` of :meth:`register`. They become config keys of every model.

    Args:
        kind: what the components are, such as ``noise``, for messages.
        key: the config key that selects a component.
    """

    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key
        # all of type T; the type system has no way to say that C is a subtype of T
        self._components: dict[str, Any] = {}
        self._settings: dict[str, type] = {}
        _registries.append(self)

    def register(self, name: str | None = None, settings: type | None = None) -> Callable[[C], C]:
        """Return a decorator that registers a component.

        Args:
            name: the component's name in a config; by default its ``__name__``.
            settings: the dataclass of its settings; by default its attribute ``Settings``, if any.

        Raises:
            ValueError: the name, or the key of a setting, is taken by another component.
        """

        def add(component: C) -> C:
            own_name = name or component.__name__
            existing = self._components.get(own_name)
            if existing is not None and _origin(existing) != _origin(component):
                raise ValueError(f"the {self.kind} {own_name} is already registered, by {_origin(existing)}")
            own_settings = settings or getattr(component, "Settings", None)
            if own_settings is not None:
                self._check_keys(own_name, own_settings)
                self._settings[own_name] = own_settings
            self._components[own_name] = component
            return component

        return add

    def _check_keys(self, name: str, settings: type) -> None:
        own_keys = {key.name: key for key in keys_of(settings)}
        for registry in _registries:
            for other_name, other_settings in registry._settings.items():
                if registry is self and other_name == name:
                    continue
                for other in keys_of(other_settings):
                    own = own_keys.get(other.name)
                    if own is not None and (own.default, own.help) != (other.default, other.help):
                        raise ValueError(
                            f"the {self.kind} {name} has a key {own.name}, which the {registry.kind} "
                            f"{other_name} declares with a different default or help"
                        )

    def __getitem__(self, name: str) -> T:
        if name not in self._components:
            load_plugins()
        return self._components[name]

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(self._components)

    def __len__(self) -> int:
        load_plugins()
        return len(self._components)

    def name_of(self, component: T) -> str:
        """The name under which a component is registered.

        Raises:
            ValueError: it is not registered.
        """
        for name, registered in self.items():
            if registered is component:
                return name
        raise ValueError(f"{component!r} is not a registered {self.kind}; allowed: {', '.join(self)}")

    def settings_of(self, name: str) -> type | None:
        """The class of a component's settings, if it has any."""
        return self._settings.get(name)

    def all_keys(self) -> list[Key]:
        """The keys of all components, without duplicates."""
        load_plugins()
        return self._keys()

    def _keys(self) -> list[Key]:
        every_key = (key for settings in self._settings.values() for key in keys_of(settings))
        return list({key.name: key for key in every_key}.values())

    def check(self, config: Config, selected: str) -> dict[str, Any]:
        """The checked values of the keys of all components.

        Args:
            config: RecBole's ``Config``, or a dict.
            selected: the name of the component in use.

        Raises:
            ValueError: a value is invalid; the message names the key, the value and what is allowed.
        """
        values = {key.name: checked(key, config) for key in self.all_keys()}
        own = {key.name for key in keys_of(self._settings[selected])} if selected in self._settings else set()
        for name, settings in self._settings.items():
            for key in keys_of(settings):
                if key.exclusive and key.name not in own and values[key.name] != key.default:
                    allowed = f"{key.default} with {self.key} {selected}; others need {self.key} {name}"
                    refuse(key.name, values[key.name], allowed)
        return values

    def read(self, name: str, config: Config) -> Any:
        """The settings of one component, an instance of its settings dataclass; ``None`` if it has none."""
        settings = self._settings.get(name)
        return None if settings is None else read(settings, config)

    def build(self, name: str, values: Config, *args: Any) -> Any:
        """Build a component from ``args`` and, as keyword arguments, its own settings.

        A class is always called; a function is called if there are ``args``, and otherwise returned as it is.
        """
        component, settings = self[name], self._settings.get(name)
        if not args and not isinstance(component, type):
            return component
        own = {} if settings is None else {key.field: checked(key, values) for key in keys_of(settings)}
        return component(*args, **own)


def _origin(component: Any) -> str:
    return f"{getattr(component, '__module__', '?')}.{getattr(component, '__qualname__', component)}"


_loaded = False


def load_plugins() -> None:
    """Import, once, the modules that other packages name as entry points.

    A module that fails to import is skipped with a warning: it must not break models that do not use it.
    """
    global _loaded
    if _loaded:
        return
    _loaded = True
    for point in entry_points(group=COMPONENTS_GROUP):
        try:
            point.load()
        except Exception as problem:
            warnings.warn(
                f"skipping the components of {point.value}: {type(problem).__name__}: {problem}",
                stacklevel=2,
            )
