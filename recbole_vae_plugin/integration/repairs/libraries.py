"""RecBole on numpy, scipy, torch, hyperopt and Python as they are now."""

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

#: Names that numpy 2 dropped, and what they stood for.
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
    """RecBole's ``Config`` sets the first six from names that numpy 2 dropped, and not at all in
    a process that loads a pickled one; Ray Tune reads np.bool8."""
    import numpy as np

    for name, present in REMOVED_FROM_NUMPY.items():
        if name not in np.__dict__:
            patch.replace(f"numpy:{name}", getattr(np, present))


@repair("recbole", extends=("warnings:filters",))
def silence_warnings_that_only_recbole_can_heed(patch: Patch, recbole: ModuleType) -> None:
    """Each run would print pages of deprecations of RecBole's own lines."""
    patch.ignore_warnings(category=FutureWarning, module=r"recbole\.")


@repair("recbole", replaces={"torch:load": None}, read_against="RecBole 1.2.1, torch 2.6 to 2.13")
def let_recbole_unpickle_its_checkpoints(patch: Patch, recbole: ModuleType) -> None:
    """torch >= 2.6 refuses pickled objects, and RecBole's checkpoints hold its ``Config``.

    Only calls that RecBole's own code makes are relaxed: everyone else in the process keeps
    the safe default.
    """
    safe_load = patch.former("torch:load")

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
    """scipy >= 1.13 dropped dok_matrix._update, which the graph models (LightGCN, ...) call."""
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
def draw_in_exhaustive_search_by_any_hyperopt(patch: Patch, hyper_tuning: ModuleType) -> None:
    """hyperopt >= 0.2.6 draws with numpy's Generator methods; RecBole hands it a RandomState."""
    import numpy as np

    class RandomState(np.random.RandomState):
        def integers(self, low: Any, high: Any = None, size: Any = None, **kwargs: Any) -> Any:
            return self.randint(low, high, size)

    patch.replace("np", module_with(np, random=module_with(np.random, RandomState=RandomState)))


@repair(
    "recbole.data.dataloader.abstract_dataloader",
    replaces={"AbstractDataLoader.__init__": "e6769813"},
    read_against="RecBole 1.2.1, Python 3.11 to 3.14",
)
def fork_workers_of_loaders(patch: Patch, loaders: ModuleType) -> bool:
    """Python 3.14 starts processes on Linux by a server instead of by forking; the loaders' workers (the key
    `worker`) then fail, since torch cannot hand them an empty tensor."""
    chosen = multiprocessing.get_start_method(allow_none=True)  # asking otherwise would choose
    if (chosen or multiprocessing.get_all_start_methods()[0]) != "forkserver":
        return False

    @patch.wrap("AbstractDataLoader.__init__")
    def init_with_fork(init: Callable[..., Any], self: AbstractDataLoader, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if self.num_workers:
            self.multiprocessing_context = "fork"

    return True
