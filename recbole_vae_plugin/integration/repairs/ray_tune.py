"""RecBole without ray, and with any version of it.

RecBole's quick start imports ``ray.tune`` and uses a single function of it, ``tune.report``, at the end of a
trial. It gets a stand-in that imports nothing, and calls the real ray in processes that use it: version 2.6,
for which RecBole was written, or a current one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch, is_loading
from recbole_vae_plugin.integration.patching.registry import repair

QUICK_START = "recbole.quick_start.quick_start"


class RayTune:
    """Stands in for ``ray.tune``, and imports it when an attribute is accessed."""

    def report(self, **metrics: Any) -> None:
        """Report the metrics of a trial to Ray, if this process uses it."""
        if not ray_is_imported():
            return
        from ray import tune

        parameters = inspect.signature(tune.report).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            tune.report(**metrics)
        else:  # a dict, since ray 2.7
            tune.report(metrics)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("ray.tune"), name)


class RayStandIn(ModuleType):
    """Stands in for ``ray`` while RecBole's quick start imports ``tune`` from it."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.is_new = "ray" not in sys.modules
        self.former: Any = sys.modules.get("ray")

    def __getattr__(self, name: str) -> Any:
        if name != "tune":  # such as __file__, which debuggers ask of every module
            raise AttributeError(f"module 'ray' has no attribute {name!r}")
        self.leave()
        return RayTune()

    def leave(self) -> None:
        """Restore the former entry of ``sys.modules``."""
        if sys.modules.get("ray") is self:
            if self.is_new:
                del sys.modules["ray"]
            else:
                sys.modules["ray"] = self.former


class StandInFinder:
    """An import hook that finds no modules, but inserts the stand-in before quick start is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name == QUICK_START:
            insert_stand_in()


def ray_is_imported() -> bool:
    """Whether ray has been imported in this process, as in all of Ray's worker processes."""
    return sys.modules.get("ray") is not None


def insert_stand_in() -> None:
    if not ray_is_imported():
        sys.modules["ray"] = RayStandIn()


def remove_stand_in() -> None:
    """Remove the stand-in if the import of RecBole's quick start did not finish."""
    ray = sys.modules.get("ray")
    if isinstance(ray, RayStandIn):
        ray.leave()


@repair("sys", extends=("modules", "meta_path"))
def provide_ray_to_quick_start(patch: Patch, system: ModuleType) -> None:
    """RecBole's quick start imports ray, which need not be installed: it gets a stand-in, even if its import
    has already begun."""
    patch.on_undo(remove_stand_in)
    if is_loading(QUICK_START):
        insert_stand_in()
    else:
        patch.insert("meta_path", StandInFinder())


@repair(
    QUICK_START,
    replaces={"tune": None, "objective_function": "309a2522"},
    read_against="RecBole 1.2.1, ray 2.6.3 to 2.60",
)
def support_any_ray(patch: Patch, quick_start: ModuleType) -> None:
    """RecBole reports metrics as keyword arguments, which ray >= 2.7 refuses, and returns a dict in which Ray
    does not find the metric to be optimised."""
    patch.replace("tune", RayTune())

    @patch.wrap("objective_function")
    def objective_with_metrics(
        objective_function: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        result = objective_function(*args, **kwargs)
        return {**result["test_result"], **result} if ray_is_imported() else result
