"""Resuming a run from a checkpoint: the key ``resume``, for all models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension
from recbole_vae_plugin.settings.validation import did_you_mean, refuse

if TYPE_CHECKING:
    from recbole.trainer import Trainer

LATEST = "latest"


def checkpoint_to_resume(resume: str, model: str, folder: str) -> Path:
    """The checkpoint that ``resume`` names: a file, or ``latest`` for the model's newest one in a folder.

    Raises:
        ValueError: it does not exist.
    """
    if resume == LATEST:
        checkpoints = sorted(Path(folder).glob(f"{model}-*.pth"), key=os.path.getmtime)
        if not checkpoints:
            refuse("resume", resume, f"a file; {folder} has no checkpoint of {model}")
        return checkpoints[-1]
    file = Path(resume).expanduser()
    if not file.is_file():
        others = [str(other) for other in file.parent.glob("*.pth")] if file.parent.is_dir() else []
        refuse("resume", resume, f"{LATEST}, or the path of a checkpoint{did_you_mean(resume, others)}")
    return file


def resume_if_configured(trainer: Any) -> None:
    """Resume from the checkpoint that the trainer's config names, if any; later calls have no effect."""
    resume = trainer.config["resume"]
    if resume and not getattr(trainer, "has_resumed", False):
        trainer.has_resumed = True
        file = checkpoint_to_resume(resume, trainer.config["model"], trainer.config["checkpoint_dir"])
        trainer.resume_checkpoint(str(file))


@extension("recbole.trainer.trainer", replaces={"Trainer.fit": "4a3cbb46"})
def resume_from_the_config(patch: Patch, trainer: ModuleType) -> None:
    """RecBole's trainers can resume from a checkpoint, but none of its commands has an option for it."""

    @patch.wrap("Trainer.fit")
    def fit_from_checkpoint(fit: Callable[..., Any], self: Trainer, *args: Any, **kwargs: Any) -> Any:
        resume_if_configured(self)
        return fit(self, *args, **kwargs)
