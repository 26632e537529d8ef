"""RecBole without ray, and with any ray.

RecBole's quick start imports ``ray.tune`` at its top and uses one function of it, ``tune.report``,
at the end of a trial. What it gets here imports nothing, and hands over to the real ray where a
process uses it: ray 2.6, which RecBole was written for, or a current one.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import ABSENT, Patch, is_loading
from recbole_vae_plugin.integration.patching.registry import repair

QUICK_START = "recbole.quick_start.quick_start"


class RayTune:
    """``ray.tune``, imported when something of it is used."""

    def report(self, **metrics: Any) -> None:
        """Report the metrics of a trial to Ray, if this process has to do with Ray."""
        if not uses_ray():
            return
        from ray import tune

        parameters = inspect.signature(tune.report).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            tune.report(**metrics)
        else:  # a dict, since ray 2.7
            tune.report(metrics)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("ray.tune"), name)


class RayForQuickStart(ModuleType):
    """Stands where RecBole's quick start looks for ``ray``, until it has read ``tune`` from there."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.former = sys.modules.get("ray", ABSENT)

    def __getattr__(self, name: str) -> Any:
        if name != "tune":  # such as __file__, which debuggers ask of every module
            raise AttributeError(f"module 'ray' has no attribute {name!r}")
        self.leave()
        return RayTune()

    def leave(self) -> None:
        """Leave the place to what was there before."""
        if sys.modules.get("ray") is self:
            if self.former is ABSENT:
                del sys.modules["ray"]
            else:
                sys.modules["ray"] = self.former


class PutRayBeforeQuickStart:
    """Finds no module: it sees the import of RecBole's quick start coming."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == QUICK_START:
            put_ray_in_place()


def uses_ray() -> bool:
    """Whether the real ray has been imported in this process, as in every one of Ray's."""
    return sys.modules.get("ray") is not None


def put_ray_in_place() -> None:
    if not uses_ray():
        sys.modules["ray"] = RayForQuickStart()


def take_ray_away() -> None:
    """Where the import of RecBole's quick start has not come to an end."""
    ray = sys.modules.get("ray")
    if isinstance(ray, RayForQuickStart):
        ray.leave()


@repair("sys", extends=("modules", "meta_path"))
def hand_ray_to_quick_start(patch: Patch, system: ModuleType) -> None:
    """RecBole's quick start imports ray, which need not be installed: it gets a stand-in, whether its import
    is to come or has begun."""
    patch.on_undo(take_ray_away)
    if is_loading(QUICK_START):
        put_ray_in_place()
    else:
        patch.insert("meta_path", PutRayBeforeQuickStart())


@repair(
    QUICK_START,
    replaces={"tune": None, "objective_function": "309a2522"},
    read_against="RecBole 1.2.1, ray 2.6.3 to 2.60",
)
def report_to_any_ray(patch: Patch, quick_start: ModuleType) -> None:
    """RecBole reports by keywords, which ray >= 2.7 refuses, and returns another dict, in which Ray
    does not find the metric that it is to optimise."""
    patch.replace("tune", RayTune())

    @patch.wrap("objective_function")
    def objective_with_metrics(objective_function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = objective_function(*args, **kwargs)
        return {**result["test_result"], **result} if uses_ray() else result
