"""Ranks of a data-parallel run: this process's rank, communication, and how batches are sharded.

RecBole's ``Config`` says whether a run has several processes (``single_spec`` is then False); their ranks are
torch's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.model.abstract_recommender import AbstractRecommender

#: Keys that RecBole's launcher adds to a config; they have no meaning in a single process.
LAUNCH_SETTINGS = ("world_size", "ip", "port", "nproc", "offset")


def rank_and_world_size(config: Config) -> tuple[int, int]:
    """The rank of this process and the number of ranks; (0, 1) in a run of one process."""
    return (0, 1) if config["single_spec"] else (dist.get_rank(), dist.get_world_size())


def is_first_rank(config: Config) -> bool:
    """Whether this process has rank 0, or is the only one."""
    return rank_and_world_size(config)[0] == 0


def single_process_config(config: Config) -> Config:
    """A copy of RecBole's ``Config`` as it would be in a run of one process."""
    result = copy.copy(config)
    settings = {k: v for k, v in config.final_config_dict.items() if k not in LAUNCH_SETTINGS}
    settings |= {"single_spec": True, "local_rank": 0, "device": torch.device(config["device"].type)}
    result.final_config_dict = settings
    return result


def gather_from_ranks(value: Any) -> list[Any]:
    """The values of all ranks, in the order of ranks. All ranks must call it."""
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_from_first_rank(value: Any) -> Any:
    """The value of rank 0. All ranks must call it."""
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def broadcast_weights(model: AbstractRecommender) -> None:
    """Copy the model's weights from rank 0 to all ranks. All ranks must call it."""
    for name, tensor in model.state_dict().items():
        # the data's identity is the same on all ranks, and is never on a GPU
        if not name.endswith("_extra_state"):
            dist.broadcast(tensor, 0)
    model.load_other_parameter(broadcast_from_first_rank(model.other_parameter()))


def indices_of_rank(length: int) -> range:
    """The indices of a sequence that this rank processes: contiguous, disjoint, in the order of ranks."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    return range(length * rank // world_size, length * (rank + 1) // world_size)


class ShardedBatches:
    """Shards the batches of an epoch: all ranks draw the same batches, and rank r takes every n-th user of
    each, starting with the r-th.

    A rank with an empty shard takes the first user with weight 0, so that all ranks take the same number
    of steps.

    Args:
        rank: of this process.
        world_size: the number of ranks.
        sample_size: users per epoch.
        batch_size: users per batch, over all ranks.
    """

    def __init__(self, rank: int, world_size: int, sample_size: int, batch_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self.sample_size, self.batch_size = sample_size, batch_size

    def shard(self, batch: list[int]) -> list[int]:
        """This rank's users of a batch."""
        return batch[self.rank :: self.world_size] or batch[:1]

    def weights(self) -> Iterator[tuple[int, float]]:
        """For each step of an epoch: the users in the whole batch, and the factor for this rank's mean over
        users with which the mean over ranks equals the mean over the whole batch."""
        for start in range(0, self.sample_size, self.batch_size):
            users = min(self.batch_size, self.sample_size - start)
            own = len(range(self.rank, users, self.world_size))
            yield users, self.world_size * own / users
