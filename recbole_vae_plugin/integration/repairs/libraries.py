"""Compatibility of RecBole with current versions of numpy, scipy, torch, hyperopt and Python."""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.applying import apply_postponed
from recbole_vae_plugin.integration.patching.patch import Patch, module_with
from recbole_vae_plugin.integration.patching.registry import repair

if TYPE_CHECKING:
    from recbole.data.dataloader import AbstractDataLoader

#: Names that numpy removed -> their equivalents.
REMOVED_FROM_NUMPY = {
    "int": "int_",
    "float": "float64",
    "complex": "complex128",
    "object": "object_",
    "str": "str_",
    "unicode": "str_",
    "float_": "float64",
    "complex_": "complex128",
    "unicode_": "str_",
    "bool8": "bool_",
}


@repair(
    "recbole",
    adds=tuple(f"numpy:{name}" for name in REMOVED_FROM_NUMPY),
    reads={"recbole.config.configurator:Config.compatibility_settings": "b2055f38"},
    read_against="RecBole 1.2.1, numpy 1.26 to 2.5",
)
def restore_names_that_numpy_removed(patch: Patch, recbole: ModuleType) -> None:
    """RecBole's ``Config`` sets the first six from names that numpy 2 removed, but not in a process that
    unpickles a ``Config``; Ray Tune reads np.bool8."""
    import numpy as np

    for name, equivalent in REMOVED_FROM_NUMPY.items():
        if name not in np.__dict__:
            patch.replace(f"numpy:{name}", getattr(np, equivalent))


@repair("recbole", extends=("warnings:filters",))
def silence_deprecation_warnings_of_recbole(patch: Patch, recbole: ModuleType) -> None:
    """Each run would print pages of deprecation warnings caused by RecBole's own code."""
    patch.ignore_warnings(category=FutureWarning, module=r"recbole\.")


@repair("recbole", replaces={"torch:load": None}, read_against="RecBole 1.2.1, torch 2.6 to 2.13")
def let_recbole_unpickle_its_checkpoints(patch: Patch, recbole: ModuleType) -> None:
    """torch >= 2.6 refuses pickled objects by default, and RecBole's checkpoints contain its ``Config``.

    Only calls from RecBole's own code are affected: all other code in the process keeps the safe default.
    """
    safe_load = patch.current("torch:load")

    @functools.wraps(safe_load)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("recbole."):
            from recbole_vae_plugin.system.archives import load_whole

            kwargs.setdefault("weights_only", False)
            checkpoint = load_whole(f, lambda: safe_load(f, *args, **kwargs))
            apply_postponed()
            return checkpoint
        return safe_load(f, *args, **kwargs)

    patch.replace("torch:load", load)


@repair(
    "recbole.model",
    adds=("scipy.sparse:dok_matrix._update",),
    read_against="RecBole 1.2.1, scipy 1.12 to 1.18",
)
def restore_update_of_dok_matrix(patch: Patch, model: ModuleType) -> bool:
    """scipy >= 1.13 removed dok_matrix._update, which the graph models (LightGCN, ...) call."""
    from scipy.sparse import dok_matrix

    if hasattr(dok_matrix, "_update"):
        return False
    patch.replace("scipy.sparse:dok_matrix._update", lambda self, entries: self._dict.update(entries))
    return True


@repair(
    "recbole.trainer.hyper_tuning",
    replaces={"np": None},
    reads={"exhaustive_search": "c8ca8ccf"},
    read_against="RecBole 1.2.1, hyperopt 0.2.5 to 0.3.0",
)
def support_any_hyperopt_in_exhaustive_search(patch: Patch, hyper_tuning: ModuleType) -> None:
    """hyperopt >= 0.2.6 calls methods of numpy's Generator; RecBole passes it a RandomState."""
    import numpy as np

    class RandomState(np.random.RandomState):
        def integers(self, low: int, high: int | None = None, size: Any = None, **kwargs: Any) -> Any:
            return self.randint(low, high, size)

    patch.replace("np", module_with(np, random=module_with(np.random, RandomState=RandomState)))


@repair(
    "recbole.data.dataloader.abstract_dataloader",
    replaces={"AbstractDataLoader.__init__": "e6769813"},
    read_against="RecBole 1.2.1, Python 3.11 to 3.14",
)
def fork_loader_workers(patch: Patch, loaders: ModuleType) -> bool:
    """Python 3.14 starts processes on Linux with a fork server instead of forking; the loaders' workers (the
    key `worker`) then fail, since torch cannot send them an empty tensor."""
    method = multiprocessing.get_start_method(allow_none=True)  # without allow_none this would set it
    if (method or multiprocessing.get_all_start_methods()[0]) != "forkserver":
        return False

    @patch.wrap("AbstractDataLoader.__init__")
    def init_with_fork(
        init: Callable[..., None], self: AbstractDataLoader, *args: Any, **kwargs: Any
    ) -> None:
        init(self, *args, **kwargs)
        if self.num_workers:
            self.multiprocessing_context = "fork"

    return True
