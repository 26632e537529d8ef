"""Components that are chosen by name in a config: those that are shipped and those of other packages."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from recbole_vae_plugin.settings.keys import Key, checked, keys_of, read
from recbole_vae_plugin.settings.validation import refuse

T = TypeVar("T")

#: Entry points of this group name modules that register components when they are imported.
COMPONENTS_GROUP = "recbole_vae_plugin.components"


class Registry(Mapping[str, T], Generic[T]):
    """Name -> component, of one kind.

    A component may have settings of its own: a dataclass ``Settings`` in the class, or the argument
    ``settings`` of :meth:`register`. They are then keys of every model.

    Args:
        kind: what the components are, such as ``noise``, for messages.
        key: the config key that chooses one.
    """

    def __init__(self, kind: str, key: str):
        self.kind, self.key = kind, key
        self._components: dict[str, T] = {}
        self._settings: dict[str, type] = {}

    def register(self, name: str | None = None, settings: type | None = None) -> Callable[[T], T]:
        """Decorate a component.

        Args:
            name: by which a config chooses it; by default the component's ``__name__``.
            settings: the dataclass of its settings; by default its attribute ``Settings``, if any.

        Raises:
            ValueError: the name, or the key of a setting, is taken by another component.
        """

        def add(component: T) -> T:
            own = name or component.__name__
            known = self._components.get(own)
            if known is not None and _origin(known) != _origin(component):
                raise ValueError(f"the {self.kind} {own} is registered already, by {_origin(known)}")
            described = settings or getattr(component, "Settings", None)
            if described is not None:
                self._check_keys(own, described)
                self._settings[own] = described
            self._components[own] = component
            return component

        return add

    def _check_keys(self, name: str, settings: type) -> None:
        known = {key.name: key for key in self._keys() if name not in self._settings}
        for key in keys_of(settings):
            other = known.get(key.name)
            if other is not None and (other.default, other.help) != (key.default, key.help):
                raise ValueError(
                    f"the {self.kind} {name} has a key {key.name}, which another {self.kind} has "
                    "with another default or help"
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
            ValueError: it is not.
        """
        for name, known in self.items():
            if known is component:
                return name
        raise ValueError(f"{component!r} is not a registered {self.kind}; allowed: {', '.join(self)}")

    def settings_of(self, name: str) -> type | None:
        """The class of a component's settings, if it has any."""
        return self._settings.get(name)

    def all_keys(self) -> list[Key]:
        """The keys of all components, each once."""
        load_plugins()
        return self._keys()

    def _keys(self) -> list[Key]:
        return list({key.name: key for one in self._settings.values() for key in keys_of(one)}.values())

    def check(self, config: Mapping[str, Any], chosen: str) -> dict[str, Any]:
        """The checked values of the keys of all components.

        Args:
            config: RecBole's ``Config``, or a dict.
            chosen: the name of the component that is used.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        values = {key.name: checked(key, config) for key in self.all_keys()}
        own = {key.name for key in keys_of(self._settings[chosen])} if chosen in self._settings else set()
        for name, settings in self._settings.items():
            for key in keys_of(settings):
                if key.exclusive and key.name not in own and values[key.name] != key.default:
                    allowed = f"{key.default} with {self.key} {chosen}; others need {self.key} {name}"
                    refuse(key.name, values[key.name], allowed)
        return values

    def read(self, name: str, config: Mapping[str, Any]) -> Any:
        """The settings of one component, an instance of its class of settings; ``None`` if it has none."""
        settings = self._settings.get(name)
        return None if settings is None else read(settings, config)

    def build(self, name: str, values: Mapping[str, Any], *args: Any) -> Any:
        """An instance of a component: called with ``args`` and, by their fields' names, its own settings. A
        function is called where there are ``args``; without, it is the component itself."""
        component, settings = self[name], self._settings.get(name)
        if not args and not isinstance(component, type):
            return component
        own = {} if settings is None else {key.field: checked(key, values) for key in keys_of(settings)}
        return component(*args, **own)


def _origin(component: Any) -> str:
    return f"{getattr(component, '__module__', '?')}.{getattr(component, '__qualname__', component)}"


_loaded = False


def load_plugins() -> None:
    """Import the modules that other packages have named as entry points, once. One that cannot be imported
    is warned of and left out: it must not break the models that do not use it."""
    global _loaded
    if _loaded:
        return
    _loaded = True
    for point in entry_points(group=COMPONENTS_GROUP):
        try:
            point.load()
        except Exception as problem:
            warnings.warn(
                f"the components of {point.value} cannot be used: {type(problem).__name__}: {problem}",
                stacklevel=2,
            )
