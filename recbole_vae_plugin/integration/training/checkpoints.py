"""What a checkpoint holds, and the file that holds it."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor

from recbole_vae_plugin.integration.distributed.ranks import as_single_process
from recbole_vae_plugin.integration.training.patience import Patience
from recbole_vae_plugin.integration.training.random_state import RandomState
from recbole_vae_plugin.nn.averaging import AverageState
from recbole_vae_plugin.system.archives import load_whole
from recbole_vae_plugin.system.atomic import replacing

if TYPE_CHECKING:
    from recbole.config import Config

    from recbole_vae_plugin.integration.training.trainer import AutoEncoderTrainer


class RecBoleCheckpoint(TypedDict):
    """What RecBole's trainer saves, and resumes from."""

    config: Config
    epoch: int
    cur_step: int
    best_valid_score: float
    state_dict: dict[str, Tensor]
    other_parameter: Any
    optimizer: dict[str, Any]


class Checkpoint(RecBoleCheckpoint, total=False):
    """What ours saves beside that; older versions lack some of it.

    Attributes:
        best_valid_result: the metrics of the best validation.
        deep_alone: the fields of :class:`Patience`.
        random_states: of each rank.
        average: what averages of weights need; ``None`` without them.
        items: original ids, in the order of the weights.
        popularity: how many users had each item.
    """

    best_valid_result: dict[str, float] | None
    deep_alone: tuple[float, int]
    random_states: list[RandomState]
    average: AverageState | None
    items: list[str]
    popularity: list[int]


def checkpoint_of(trainer: AutoEncoderTrainer, epoch: int, random_states: list[RandomState]) -> Checkpoint:
    """What a run needs to go on after an epoch, and serving to do without the data set.

    The averages of weights, if any, must be in the model.
    """
    model = trainer.model
    return {
        "config": as_single_process(trainer.config),
        # RecBole gives -1 where a resumed run has nothing left to do
        "epoch": max(epoch, trainer.start_epoch - 1),
        "cur_step": trainer.cur_step,
        "best_valid_score": trainer.best_valid_score,
        "best_valid_result": trainer.valid_result,
        "deep_alone": astuple(trainer.patience),
        "state_dict": model.state_dict(),
        "other_parameter": model.other_parameter(),
        "optimizer": trainer.optimizer.state_dict(),
        "random_states": random_states,
        "average": trainer.average.state(),
        "items": model.items,
        "popularity": model.interactions.popularity().tolist(),
    }


def restore(trainer: AutoEncoderTrainer, checkpoint: Checkpoint) -> None:
    """Put back what RecBole's trainer does not; the random states wait for the training data."""
    trainer.best_valid_result = trainer.valid_result = checkpoint.get("best_valid_result")
    if "deep_alone" in checkpoint:
        trainer.patience = Patience(*checkpoint["deep_alone"])
    trainer.resumed_random_states = checkpoint.get("random_states")
    trainer.average.resume(checkpoint.get("average"))


def save_checkpoint(checkpoint: Checkpoint, file: Path) -> None:
    """Write it to a second file first: a run that is killed leaves the last good one."""
    with replacing(file, tensor_bytes(checkpoint)) as partial:
        torch.save(checkpoint, partial, pickle_protocol=4)


def tensor_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of the weights, and of what the optimizer keeps of them: nearly those of the file."""
    optimizer = (
        value
        for state in checkpoint["optimizer"]["state"].values()
        for value in state.values()
        if torch.is_tensor(value)
    )
    return sum(tensor.nbytes for tensor in (*checkpoint["state_dict"].values(), *optimizer))


def load_checkpoint(file: str | Path) -> Checkpoint:
    """A checkpoint of any model, to the CPU. It is a pickle, and a pickle can run code.

    Raises:
        ValueError: it is damaged, or no checkpoint.
    """
    return load_whole(file, lambda: torch.load(file, map_location="cpu", weights_only=False))
