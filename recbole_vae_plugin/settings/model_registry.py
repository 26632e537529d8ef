"""The models by name: those that are shipped and those of other packages."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points


class ModelRegistry(Mapping[str, type]):
    """Model name -> class, imported when it is asked for: listing the names imports nothing.

    Args:
        shipped: name -> ``module:class``.
        group: entry points of this group name further ones.
    """

    def __init__(self, shipped: Mapping[str, str], group: str):
        self._places: dict[str, str] = dict(shipped)
        self._classes: dict[str, type] = {}
        self._group: str | None = group

    def _find(self) -> dict[str, str]:
        if self._group is not None:
            group, self._group = self._group, None
            for point in entry_points(group=group):
                if self._places.setdefault(point.name, point.value) != point.value:
                    warnings.warn(
                        f"the model {point.name} of {point.value} is left out: the name is taken by "
                        f"{self._places[point.name]}",
                        stacklevel=3,
                    )
        return self._places

    def add(self, model: type) -> None:
        """Add a class under its own name.

        Raises:
            ValueError: another model has the name.
        """
        name, place = model.__name__, f"{model.__module__}:{model.__qualname__}"
        if self._find().get(name, place) != place:
            raise ValueError(f"the model {name} is registered already, by {self._places[name]}")
        self._places[name] = place
        self._classes[name] = model

    def __getitem__(self, name: str) -> type:
        if name not in self._classes:
            place = self._find()[name]
            self._classes[name] = EntryPoint(name, place, "").load()
        return self._classes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._find()

    def __iter__(self) -> Iterator[str]:
        return iter(self._find())

    def __len__(self) -> int:
        return len(self._find())


SHIPPED = {
    "VAESplit": "recbole_vae_plugin.models.vae_split:VAESplit",
    "VAETwin": "recbole_vae_plugin.models.vae_twin:VAETwin",
    "DAE": "recbole_vae_plugin.models.dae:DAE",
}

#: The models that this package and other installed ones bring; see ``docs/extending.md``.
MODELS = ModelRegistry(SHIPPED, group="recbole_vae_plugin.models")
