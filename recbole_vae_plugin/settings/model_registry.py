"""The models by name: the shipped ones and those of other packages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:  # this module is imported whenever torch is
    from recbole_vae_plugin.settings.declaration import Config, Key


class ConfigurableModel(Protocol):
    """What configs, bundles and checkpoints need to know of a model's class."""

    #: The class of the model's head.
    head: ClassVar[type]

    @classmethod
    def settings_of(cls, config: Config, n_items: int | None = None) -> Any:
        """The checked settings of the network, a :class:`~recbole_vae_plugin.nn.settings.Settings`."""
        ...

    @classmethod
    def every_key(cls) -> list[Key]:
        """Every key of the model, with its default, its check and its help."""
        ...

    @classmethod
    def check(cls, config: Config) -> None:
        """Raise a ``ValueError`` if a key of the model has an invalid value."""
        ...


class ModelRegistry(Mapping[str, type[ConfigurableModel]]):
    """A mapping from names to model classes, imported on first access: listing the names imports nothing.

    Args:
        shipped: name -> ``module:class``.
        group: the entry point group that names the models of other packages.
    """

    def __init__(self, shipped: Mapping[str, str], group: str) -> None:
        self._references: dict[str, str] = dict(shipped)
        self._classes: dict[str, type[ConfigurableModel]] = {}
        self._unread_group: str | None = group

    def _all_references(self) -> dict[str, str]:
        if self._unread_group is not None:
            group, self._unread_group = self._unread_group, None
            for point in entry_points(group=group):
                if self._references.setdefault(point.name, point.value) != point.value:
                    warnings.warn(
                        f"skipping the model {point.name} of {point.value}: the name is taken by "
                        f"{self._references[point.name]}",
                        stacklevel=3,
                    )
        return self._references

    def add(self, model: type[ConfigurableModel]) -> None:
        """Register a class under its own name.

        Raises:
            ValueError: another model has the name.
        """
        name, reference = model.__name__, f"{model.__module__}:{model.__qualname__}"
        if self._all_references().get(name, reference) != reference:
            raise ValueError(f"the model {name} is already registered, by {self._references[name]}")
        self._references[name] = reference
        self._classes[name] = model

    def __getitem__(self, name: str) -> type[ConfigurableModel]:
        """The class of a model.

        Raises:
            KeyError: there is no such model.
            ImportError: the module of another package's model cannot be imported.
        """
        if name not in self._classes:
            self._classes[name] = self._load(name, self._all_references()[name])
        return self._classes[name]

    def _load(self, name: str, reference: str) -> type[ConfigurableModel]:
        try:
            return EntryPoint(name, reference, "").load()
        except Exception as problem:
            if name in SHIPPED:
                raise
            what = f"the model {name} ({reference}) cannot be imported"
            raise ImportError(f"{what}: {type(problem).__name__}: {problem}") from problem

    def __contains__(self, name: object) -> bool:
        return name in self._all_references()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all_references())

    def __len__(self) -> int:
        return len(self._all_references())


SHIPPED = {
    "VAESplit": "recbole_vae_plugin.models.vae_split:VAESplit",
    "VAETwin": "recbole_vae_plugin.models.vae_twin:VAETwin",
    "DAE": "recbole_vae_plugin.models.dae:DAE",
}

#: The models of this package and of other installed ones; see ``docs/extending.md``.
MODELS = ModelRegistry(SHIPPED, group="recbole_vae_plugin.models")
