"""Names of files that no other run has, whatever starts at the same second and wherever."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair


def make_unique(patch: Patch) -> None:
    """Add random digits to the time by which a module of RecBole names files."""

    @patch.wrap("get_local_time")
    def unique_local_time(get_local_time: Callable[..., Any]) -> str:
        # not from the generators that a seed sets
        return f"{get_local_time()}-{secrets.token_hex(4)}"


@repair(
    "recbole.trainer.trainer",
    replaces={"get_local_time": None},
    reads={"recbole.utils.utils:get_local_time": "0297d0f5", "Trainer.__init__": "e15a8755"},
)
def name_checkpoints_uniquely(patch: Patch, trainer: ModuleType) -> None:
    """RecBole names a checkpoint by the second: runs of one model that start together write to one
    file, and test each other's weights."""
    make_unique(patch)


@repair(
    "recbole.utils.logger",
    replaces={"get_local_time": None},
    reads={"recbole.utils.utils:get_local_time": "0297d0f5"},
)
def name_logs_uniquely(patch: Patch, logger: ModuleType) -> None:
    """RecBole names a log, and the folder of TensorBoard, by the second, as it names checkpoints."""
    make_unique(patch)
