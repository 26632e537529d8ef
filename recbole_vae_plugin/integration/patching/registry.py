"""The patches that there are, and the order in which they are applied.

The order follows from what each says that it comes ``after``, and not from the order of imports.
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


#: ``@repair("recbole.trainer.trainer", replaces={...}, ...)`` decorates a function that mends a module; the
#: arguments are the attributes of :class:`Patch`.
repair = partial(_collect, "repair")
#: The same for a function that adds to a module.
extension = partial(_collect, "extension")


def in_order(patches: Iterable[Patch] | None = None) -> list[Patch]:
    """Patches, all or those given, each behind those that it comes after; otherwise by name.

    Raises:
        ValueError: a patch comes after one that there is not, after one of another target, whose import
            decides when it is applied, or after itself.
    """
    named = PATCHES if patches is None else {patch.name: patch for patch in patches}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in sorted(named):
        patch = named[name]
        for before in patch.after:
            if before not in named or named[before].target != patch.target:
                raise ValueError(f"{name} comes after {before}, which is no patch of {patch.target}")
        sorter.add(name, *patch.after)
    return [named[name] for name in sorter.static_order()]
