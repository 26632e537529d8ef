"""Checkpoints of RecBole's own models are written whole or not at all, as ours are."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch, module_with
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.system.atomic import replacing


@repair(
    "recbole.trainer.trainer",
    replaces={"torch": None},
    reads={
        "Trainer._save_checkpoint": "6ec15e30",
        "PretrainTrainer.save_pretrained_model": "7f0829b1",
        "DecisionTreeTrainer._save_checkpoint": "8cf3d90c",
    },
)
def save_checkpoints_whole(patch: Patch, trainer: ModuleType) -> None:
    """RecBole overwrites the last checkpoint in place: a run that is killed meanwhile leaves half a file."""
    torch = trainer.torch

    def save_whole(state: dict[str, Any], file: str, **options: Any) -> None:
        with replacing(Path(file)) as partial:
            torch.save(state, partial, **options)

    patch.replace("torch", module_with(torch, save=save_whole))
