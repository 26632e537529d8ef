"""The splits of this package are checked with the config, before any data is read."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from recbole_vae_plugin.integration.data.global_time import GlobalTime
from recbole_vae_plugin.integration.data.held_out import HoldOut
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension

if TYPE_CHECKING:
    from recbole.config import Config


@extension("recbole.config.configurator", replaces={"Config._set_default_parameters": "c1c6da80"})
def check_splits_in_configs(patch: Patch, configurator: ModuleType) -> None:
    """RecBole checks the split only after it has read the data."""

    @patch.wrap("Config._set_default_parameters")
    def set_and_check(set_default_parameters: Callable[..., None], self: Config) -> None:
        set_default_parameters(self)
        HoldOut.from_config(self)
        GlobalTime.from_config(self)
