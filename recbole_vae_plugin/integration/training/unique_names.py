"""Names of files that no other run has, whatever starts at the same second and wherever."""

from __future__ import annotations

import functools
import secrets

from recbole_vae_plugin.integration.patching import patch_of


def made_unique(module) -> None:
    """Add random digits to the time by which a module of RecBole names files."""
    get_local_time = module.get_local_time

    @functools.wraps(get_local_time)
    def unique_local_time() -> str:
        # not from the generators that a seed sets
        return f"{get_local_time()}-{secrets.token_hex(4)}"

    module.get_local_time = unique_local_time


@patch_of("recbole.trainer.trainer")
def names_of_checkpoints(trainer) -> None:
    """RecBole names a checkpoint by the second: runs of one model that start together write to one
    file, and test each other's weights."""
    made_unique(trainer)


@patch_of("recbole.utils.logger")
def names_of_logs(logger) -> None:
    """RecBole names a log, and the folder of TensorBoard, in the same way."""
    made_unique(logger)
