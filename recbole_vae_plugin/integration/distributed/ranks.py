"""One run in several processes: who this process is among them, and what they tell each other.

A process of a data-parallel run is a rank. RecBole's ``Config`` says whether there are several
(``single_spec`` is then False); who they are is torch's business.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

if TYPE_CHECKING:
    from recbole.config import Config

#: What RecBole's launcher adds to a config, and no other process has a use for.
LAUNCH_SETTINGS = ("world_size", "ip", "port", "nproc", "offset")


def place(config: Config) -> tuple[int, int]:
    """This process's rank and the number of ranks: (0, 1) where a run has one process."""
    return (0, 1) if config["single_spec"] else (dist.get_rank(), dist.get_world_size())


def as_single_process(config: Config) -> Any:
    """A copy of RecBole's ``Config`` as a run in one process would have it."""
    alone = copy.copy(config)
    settings = {k: v for k, v in config.final_config_dict.items() if k not in LAUNCH_SETTINGS}
    settings |= {"single_spec": True, "local_rank": 0, "device": torch.device(config["device"].type)}
    alone.final_config_dict = settings
    return alone


def from_every_rank(value: Any) -> list:
    """The value that each rank passes, in the order of ranks. All ranks must call it."""
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def from_first_rank(value: Any) -> Any:
    """The value that rank 0 passes. All ranks must call it."""
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def take_weights_of_first_rank(model: nn.Module) -> None:
    """Make the model's weights on every rank equal to those on rank 0. All ranks must call it."""
    for name, tensor in model.state_dict().items():
        # what tells the data apart is the same on all ranks, and no GPU has it
        if not name.endswith("_extra_state"):
            dist.broadcast(tensor, 0)
    model.load_other_parameter(from_first_rank(model.other_parameter()))


def own_part(length: int) -> range:
    """The places of a list that this rank works on: parts in the order of ranks, none twice."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    return range(length * rank // ranks, length * (rank + 1) // ranks)


class SharedBatches:
    """How ranks share out batches that all of them draw alike: rank r takes every n-th user,
    beginning with the r-th.

    A rank for which none is left takes the first user and counts it with weight 0, so that every
    rank takes the same number of steps.

    Args:
        rank, ranks: from :func:`place`.
        sample_size: users in an epoch.
        batch_size: users in a joint batch.
    """

    def __init__(self, rank: int, ranks: int, sample_size: int, batch_size: int) -> None:
        self.rank, self.ranks = rank, ranks
        self.sample_size, self.batch_size = sample_size, batch_size

    def own(self, batch: list) -> list:
        """This rank's share of a joint batch."""
        return batch[self.rank :: self.ranks] or batch[:1]

    def weights(self) -> Iterator[tuple[int, float]]:
        """For each step of an epoch: users in the joint batch, and the factor by which this
        rank's mean over users must be multiplied so that the mean of all ranks is the joint mean."""
        for begin in range(0, self.sample_size, self.batch_size):
            joint = min(self.batch_size, self.sample_size - begin)
            own = len(range(self.rank, joint, self.ranks))
            yield joint, self.ranks * own / joint
