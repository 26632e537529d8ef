"""The registry of patches, and the order in which they are applied.

The order is determined by what each patch declares to come ``after``, not by the order of imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch

#: By name.
PATCHES: dict[str, Patch] = {}


def _collect(kind: str, target: str, **declared: Any) -> Callable[[Callable], Callable]:
    def collect(function: Callable) -> Callable:
        patch = Patch(kind, target, function, **declared)
        if patch.name in PATCHES:
            raise ValueError(f"two patches are called {patch.name}")
        PATCHES[patch.name] = patch
        return function

    return collect


#: ``@repair("recbole.trainer.trainer", replaces={...}, ...)`` decorates a function that fixes a module; the
#: arguments are the attributes of :class:`Patch`.
repair = partial(_collect, "repair")
#: The same for a function that extends a module.
extension = partial(_collect, "extension")


def in_order(patches: Iterable[Patch] | None = None) -> list[Patch]:
    """The given patches, or all of them, sorted so that each comes after those it declares, then by name.

    Raises:
        ValueError: a patch declares to come after itself, after an unknown patch, or after one of another
            target, which is applied whenever that target is imported.
    """
    named = PATCHES if patches is None else {patch.name: patch for patch in patches}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(named):
        patch = named[name]
        for before in patch.after:
            if before not in named or named[before].target != patch.target:
                raise ValueError(f"{name} comes after {before}, which is not a patch of {patch.target}")
        sorter.add(name, *patch.after)
    return [named[name] for name in sorter.static_order()]
