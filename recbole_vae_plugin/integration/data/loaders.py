"""Data loaders with batches of users, for training and evaluation, on sparse histories.

RecBole's loaders and samplers keep a Python set per user and loop over all interactions; these keep sorted
pairs and produce the same batches.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from recbole.data.dataloader import (
    AbstractDataLoader,
    FullSortEvalDataLoader,
    NegSampleEvalDataLoader,
    UserDataLoader,
)
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_vae_plugin.integration.config.from_data import set_from_data
from recbole_vae_plugin.integration.distributed.ranks import (
    ShardedBatches,
    rank_and_world_size,
    single_process_config,
)
from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.settings.validation import Refused

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.sampler import AbstractSampler

#: The most scores in a batch of full ranking (float32: 128 MiB); the evaluator makes arrays of that shape.
MAX_SCORES = 2**25


def interactions_of(*datasets: Dataset) -> Interactions:
    """The interactions in one or several parts of a split, merged."""
    first = datasets[0]
    users, items = (
        torch.cat([dataset.inter_feat[field] for dataset in datasets])
        for field in (first.uid_field, first.iid_field)
    )
    return Interactions(users, items, first.user_num, first.item_num)


class UsedItems:
    """Stands in for the array of sets of RecBole's samplers: ``used[user]`` is a set of item ids."""

    def __init__(self, interactions: Interactions) -> None:
        self.interactions = interactions

    def __getitem__(self, user: int) -> set[int]:
        return set(self.interactions.rows(torch.tensor([int(user)])).items.tolist())


class UserSampler(Sampler):
    """RecBole's sampler of negative items, vectorised over the users of a batch."""

    def get_used_ids(self) -> dict[str, UsedItems]:
        used = {}
        for last, phase in enumerate(self.phases, start=1):
            used[phase] = UsedItems(interactions_of(*self.datasets[:last]))
        longest = int(used[self.phases[-1]].interactions.offsets.diff().max())
        if longest + 1 == self.item_num:
            raise Refused(
                "Some users have interacted with all items: there are no negative items to sample for "
                "them. Set user_inter_num_interval to filter them out."
            )
        return used

    @cached_property
    def popularity(self) -> np.ndarray:
        """Cumulative probabilities of the items: float64 ``[item_num]``."""
        items = torch.cat([dataset.inter_feat[self.iid_field] for dataset in self.datasets])
        weights = np.bincount(items.numpy(), minlength=self.item_num).astype(float) ** self.alpha
        cumulative = np.cumsum(weights)
        # the last is exactly 1, so that any number below 1 selects an item
        return cumulative / cumulative[-1]

    def _build_alias_table(self) -> None:
        """Not needed to sample from cumulative probabilities."""

    def sampling(self, sample_num: int) -> np.ndarray:
        """Draw ``sample_num`` item ids, int64, with numpy's global generator as RecBole does."""
        if self.distribution == "uniform":
            return np.random.randint(1, self.item_num, sample_num)
        return np.searchsorted(self.popularity, np.random.random(sample_num), side="right")

    def sample_unused(self, users: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Draw ``counts[b]`` items that ``users[b]`` has not used.

        Returns:
            Flat indices into a matrix of users and items, ``b * item_num + item``: int64 ``[counts.sum()]``.
        """
        mask = torch.zeros(len(users), self.item_num, dtype=torch.bool)
        rows = self.used_ids.interactions.rows(users)
        mask[rows.row_index, rows.items] = True
        used = mask.numpy().ravel()
        row_start = np.repeat(np.arange(len(users)) * self.item_num, counts.numpy())
        drawn = row_start + self.sampling(len(row_start))
        rejected = np.flatnonzero(used[drawn])
        while len(rejected):
            drawn[rejected] = row_start[rejected] + self.sampling(len(rejected))
            rejected = rejected[used[drawn[rejected]]]
        return torch.from_numpy(drawn)


def samplers_of_users(
    config: Config, built_datasets: list[Dataset]
) -> tuple[None, AbstractSampler, AbstractSampler]:
    """Samplers for training, validation and test; none for training, which uses no negatives."""
    all_phases = UserSampler(["train", "valid", "test"], built_datasets)

    def sampler_of(phase: str) -> AbstractSampler:
        sampler = all_phases.set_phase(phase)
        sampler.set_distribution(config[f"{phase}_neg_sample_args"]["distribution"])
        return sampler

    return None, sampler_of("valid"), sampler_of("test")


class UserTrainDataLoader(AbstractDataLoader):
    """Each user with training items once per epoch, `train_batch_size` users per batch.

    A batch is an ``Interaction`` with one field, the user id: int64 ``[B]``. The ranks of a data-parallel
    run draw the same batches as a single process, and each takes its shard.
    """

    def __init__(
        self, config: Config, dataset: Dataset, sampler: AbstractSampler, shuffle: bool = False
    ) -> None:
        self.logger = logging.getLogger()
        set_from_data(config, dataset)
        users = dataset.inter_feat[dataset.uid_field].unique()
        self.users = Interaction({dataset.uid_field: users})
        self.sample_size = len(users)
        rank, world_size = rank_and_world_size(config)
        self.shards = ShardedBatches(rank, world_size, self.sample_size, config["train_batch_size"])
        super().__init__(single_process_config(config), dataset, sampler, shuffle=shuffle)
        self.config = config
        if world_size > 1:
            # otherwise RecBole's trainer would expect a DistributedSampler to seed in each epoch
            self.shuffle = False

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)

    def collate_fn(self, index: list[int]) -> Interaction:
        return self.users[self.shards.shard(index)]

    def get_model(self, model: AbstractRecommender) -> None:
        """RecBole's trainer calls this for dynamic negative sampling; nothing is sampled here."""


class TrainingUserDataLoader(UserDataLoader):
    """RecBole's loader of user ids, restricted to users with training items."""

    def __init__(
        self, config: Config, dataset: Dataset, sampler: AbstractSampler, shuffle: bool = False
    ) -> None:
        self.logger = logging.getLogger()
        self.uid_field = dataset.uid_field
        self.user_list = Interaction({self.uid_field: dataset.inter_feat[self.uid_field].unique()})
        self.sample_size = len(self.user_list)
        AbstractDataLoader.__init__(self, config, dataset, sampler, shuffle=True)


class _UserEvalDataLoader(AbstractDataLoader):
    """Users with held-out items, at most `eval_batch_size` per batch.

    In RecBole `eval_batch_size` is a number of scores: its default of 4,096 means one or two users per batch.
    """

    def __init__(
        self, config: Config, dataset: Dataset, sampler: AbstractSampler, shuffle: bool = False
    ) -> None:
        self.logger = logging.getLogger()
        if shuffle:
            self.logger.warning(f"{type(self).__name__} can't shuffle")
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        self.held_out = interactions_of(dataset)
        self.uid_list = dataset.inter_feat[self.uid_field].unique()
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        AbstractDataLoader.__init__(self, config, dataset, sampler, shuffle=False)

    def _init_batch_size_and_step(self) -> None:
        users = min(self.config["eval_batch_size"], MAX_SCORES // self._dataset.item_num)
        self.step = max(users, 1)
        self.set_batch_size(self.step)

    def update_config(self, config: Config) -> None:
        AbstractDataLoader.update_config(self, config)

    def users_and_positives(self, index: list[int]) -> tuple[Interaction, Rows]:
        """The users at these indices, and their held-out items."""
        positions = torch.as_tensor(index)
        return self.user_df[positions], self.held_out.rows(self.uid_list[positions])


class UserFullSortEvalDataLoader(_UserEvalDataLoader, FullSortEvalDataLoader):
    """Full ranking. A batch is (users, (rows, items) to exclude, rows of relevant items, relevant items)."""

    @cached_property
    def excluded(self) -> Interactions:
        """The histories up to and including this phase, without the items that are relevant in it."""
        used = self._sampler.used_ids.interactions
        old = ~torch.isin(used.pairs(), self.held_out.pairs())
        users = used.users()[old]
        return Interactions(users, used.items[old], len(used.offsets) - 1, used.n_items)

    def collate_fn(self, index: list[int]) -> tuple[Interaction, tuple[Tensor, Tensor], Tensor, Tensor]:
        users, positives = self.users_and_positives(index)
        history = self.excluded.rows(self.uid_list[torch.as_tensor(index)])
        return users, (history.row_index, history.items), positives.row_index, positives.items

    @cached_property
    def uid2history_item(self) -> np.ndarray:
        """For RecBole's case studies: user id -> the items to exclude, as tensors."""
        result = np.empty(self._dataset.user_num, dtype=object)
        result[:] = self.excluded.items.long().tensor_split(self.excluded.offsets[1:-1])
        return result


class UserNegSampleEvalDataLoader(_UserEvalDataLoader, NegSampleEvalDataLoader):
    """Ranking among sampled negatives: for each relevant item, `sample_num` items that the user has not used.

    A batch is (users, candidates, rows of the relevant items, relevant items), with the candidates as flat
    indices, ``row * item_num + item``.
    """

    def collate_fn(self, index: list[int]) -> tuple[Interaction, Tensor, Tensor, Tensor]:
        users, positives = self.users_and_positives(index)
        per_item = self.config[f"{self._sampler.phase}_neg_sample_args"]["sample_num"]
        user_ids = self.uid_list[torch.as_tensor(index)]
        negatives = self._sampler.sample_unused(user_ids, positives.counts * per_item)
        relevant = positives.row_index * self._dataset.item_num + positives.items
        return users, torch.cat([relevant, negatives]), positives.row_index, positives.items


def evaluates_by_users(config: Config) -> bool:
    """Whether our samplers and loaders are used in evaluation; RecBole's are for all but plain rankings."""
    ranking = config["eval_type"] == EvaluatorType.RANKING
    return ranking and not config["repeatable"] and "labeled" not in config["eval_args"]["mode"].values()


def loader_of_users(config: Config, phase: str) -> type[AbstractDataLoader] | None:
    """Our loader class for a phase; ``None`` if RecBole's own is used."""
    if phase == "train":
        return UserTrainDataLoader
    if not evaluates_by_users(config):
        return None
    full = config["eval_args"]["mode"][phase] == "full"
    return UserFullSortEvalDataLoader if full else UserNegSampleEvalDataLoader
