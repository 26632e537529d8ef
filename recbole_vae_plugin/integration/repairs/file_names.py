"""File names that are unique even if several runs start within the same second."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from types import ModuleType

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair


def make_unique(patch: Patch) -> None:
    """Append random digits to the time that a module of RecBole puts in file names."""

    @patch.wrap("get_local_time")
    def unique_local_time(get_local_time: Callable[[], str]) -> str:
        # independent of the seeded generators
        return f"{get_local_time()}-{secrets.token_hex(4)}"


@repair(
    "recbole.trainer.trainer",
    replaces={"get_local_time": None},
    reads={"recbole.utils.utils:get_local_time": "0297d0f5", "Trainer.__init__": "e15a8755"},
)
def name_checkpoints_uniquely(patch: Patch, trainer: ModuleType) -> None:
    """RecBole names checkpoints by the second: runs of one model that start together write to the same file,
    and test each other's weights."""
    make_unique(patch)


@repair(
    "recbole.utils.logger",
    replaces={"get_local_time": None},
    reads={"recbole.utils.utils:get_local_time": "0297d0f5"},
)
def name_logs_uniquely(patch: Patch, logger: ModuleType) -> None:
    """RecBole names logs and TensorBoard folders by the second, as it does checkpoints."""
    make_unique(patch)
