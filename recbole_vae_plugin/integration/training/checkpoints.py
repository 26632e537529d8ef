"""The contents of checkpoints, and reading and writing them."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import torch
from torch import Tensor
from torch.optim import Optimizer

from recbole_vae_plugin.integration.distributed.ranks import single_process_config
from recbole_vae_plugin.integration.training.patience import Patience
from recbole_vae_plugin.integration.training.random_state import RandomState
from recbole_vae_plugin.nn.averaging import AverageState, WeightAverage
from recbole_vae_plugin.system.archives import load_whole
from recbole_vae_plugin.system.atomic import replacing

if TYPE_CHECKING:
    from recbole.config import Config

    from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender


class Resumable(Protocol):
    """What a checkpoint is taken from, and restored to: the trainer."""

    config: Config
    model: AutoEncoderRecommender
    optimizer: Optimizer
    average: WeightAverage
    patience: Patience
    start_epoch: int
    cur_step: int
    best_valid_score: float
    best_valid_result: dict[str, float] | None
    valid_result: dict[str, float] | None
    resumed_random_states: list[RandomState] | None


class RecBoleCheckpoint(TypedDict):
    """The entries of RecBole's checkpoints."""

    config: Config
    epoch: int
    cur_step: int
    best_valid_score: float
    state_dict: dict[str, Tensor]
    other_parameter: Any
    optimizer: dict[str, Any]


class Checkpoint(RecBoleCheckpoint, total=False):
    """The additional entries of ours; checkpoints of older versions lack some of them.

    Attributes:
        best_valid_result: the metrics of the best validation.
        deep_alone: the fields of :class:`Patience`.
        random_states: the random state of each rank.
        average: the state of the weight averages; ``None`` without `ema_decay`.
        items: original item ids, in the order of the weights.
        popularity: the number of users of each item.
    """

    best_valid_result: dict[str, float] | None
    deep_alone: tuple[float, int]
    random_states: list[RandomState]
    average: AverageState | None
    items: list[str]
    popularity: list[int]


def checkpoint_of(trainer: Resumable, epoch: int, random_states: list[RandomState]) -> Checkpoint:
    """The checkpoint of an epoch: all that is needed to resume, and to serve the model without the data set.

    If weights are averaged, the averages must be in the model.
    """
    model = trainer.model
    return {
        "config": single_process_config(trainer.config),
        # RecBole passes -1 if a resumed run was already finished
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


def restore(trainer: Resumable, checkpoint: Checkpoint) -> None:
    """Restore what RecBole's trainer does not; random states are restored once there is a training loader."""
    trainer.best_valid_result = trainer.valid_result = checkpoint.get("best_valid_result")
    if "deep_alone" in checkpoint:
        trainer.patience = Patience(*checkpoint["deep_alone"])
    trainer.resumed_random_states = checkpoint.get("random_states")
    trainer.average.resume(checkpoint.get("average"))


def save_checkpoint(checkpoint: Checkpoint, file: Path) -> None:
    """Write a checkpoint to a temporary file and rename it: a killed run leaves the previous one."""
    with replacing(file, tensor_bytes(checkpoint)) as partial:
        torch.save(checkpoint, partial, pickle_protocol=4)


def tensor_bytes(checkpoint: Checkpoint) -> int:
    """The size of the weights and of the optimizer's state: nearly the size of the file."""
    optimizer = (
        value
        for state in checkpoint["optimizer"]["state"].values()
        for value in state.values()
        if torch.is_tensor(value)
    )
    return sum(tensor.nbytes for tensor in (*checkpoint["state_dict"].values(), *optimizer))


def load_checkpoint(file: str | Path) -> Checkpoint:
    """Load a checkpoint of any model to the CPU. This unpickles it, which can run arbitrary code.

    Raises:
        ValueError: the file is damaged, or is not a checkpoint.
    """
    return load_whole(file, lambda: torch.load(file, map_location="cpu", weights_only=False))
