"""Batches of users, for training and for evaluation, built from sparse histories.

RecBole's loaders and samplers keep a Python set an user and walk over all interactions;
these keep sorted pairs and hand out the same batches.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

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

from recbole_vae_plugin.integration.distributed.ranks import SharedBatches, as_single_process, place
from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.settings.validation import Refused

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.sampler import AbstractSampler

#: Full ranking holds at most this many scores at once (float32: 128 MiB), and the
#: evaluator arrays of the same shape.
MAX_SCORES = 2**25


def interactions_of(*datasets: Any) -> Interactions:
    """The histories in one or several parts of a data set, together."""
    first = datasets[0]
    users, items = (
        torch.cat([dataset.inter_feat[field] for dataset in datasets])
        for field in (first.uid_field, first.iid_field)
    )
    return Interactions(users, items, first.user_num, first.item_num)


class UsedItems:
    """What RecBole's samplers keep as an array of sets: ``used[user]`` is a set of item ids."""

    def __init__(self, interactions: Interactions) -> None:
        self.interactions = interactions

    def __getitem__(self, user: int) -> set[int]:
        return set(self.interactions.rows(torch.tensor([int(user)])).items.tolist())


class UserSampler(Sampler):
    """RecBole's sampler of negative items, which here draws for all users of a batch at once."""

    def get_used_ids(self) -> Any:
        used = {}
        for last, phase in enumerate(self.phases, start=1):
            used[phase] = UsedItems(interactions_of(*self.datasets[:last]))
        most = int(used[self.phases[-1]].interactions.offsets.diff().max())
        if most + 1 == self.item_num:
            raise Refused(
                "Some users have interacted with all items: there are no negative items to sample for "
                "them. Set user_inter_num_interval to leave them out."
            )
        return used

    @cached_property
    def popularity(self) -> np.ndarray:
        """Cumulative probabilities of the items: float64 ``[item_num]``."""
        items = torch.cat([dataset.inter_feat[self.iid_field] for dataset in self.datasets])
        weights = np.bincount(items.numpy(), minlength=self.item_num).astype(float) ** self.alpha
        cumulative = np.cumsum(weights)
        # ends in 1 exactly, so that a number below 1 always falls on an item
        return cumulative / cumulative[-1]

    def _build_alias_table(self) -> None:
        """Drawing from cumulative probabilities needs no table."""

    def sampling(self, sample_num: int) -> np.ndarray:
        """``sample_num`` item ids, int64, from numpy's global generator as RecBole does."""
        if self.distribution == "uniform":
            return np.random.randint(1, self.item_num, sample_num)
        return np.searchsorted(self.popularity, np.random.random(sample_num), side="right")

    def sample_unused(self, users: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Items that ``users[b]`` has not used, ``counts[b]`` of them, as places in a table of
        users and items (``b * item_num + item``): int64 ``[counts.sum()]``."""
        used = torch.zeros(len(users), self.item_num, dtype=torch.bool)
        rows = self.used_ids.interactions.rows(users)
        used[rows.row_index, rows.items] = True
        used = used.numpy().ravel()
        row = np.repeat(np.arange(len(users)) * self.item_num, counts.numpy())
        places = row + self.sampling(len(row))
        wrong = np.flatnonzero(used[places])
        while len(wrong):
            places[wrong] = row[wrong] + self.sampling(len(wrong))
            wrong = wrong[used[places[wrong]]]
        return torch.from_numpy(places)


def samplers_of_users(config: Config, built_datasets: list[Dataset]) -> tuple:
    """(train, valid, test) samplers: none for training, where no negatives are drawn."""
    every_phase = UserSampler(["train", "valid", "test"], built_datasets)
    samplers = []
    for phase in ("valid", "test"):
        sampler = every_phase.set_phase(phase)
        sampler.set_distribution(config[f"{phase}_neg_sample_args"]["distribution"])
        samplers.append(sampler)
    return None, *samplers


class UserTrainDataLoader(AbstractDataLoader):
    """Each user with training items once an epoch, `train_batch_size` users a batch.

    A batch is an ``Interaction`` with one field, the user id: int64 ``[B]``. The ranks of a
    data-parallel run draw the batches of a run in one process, and share out each of them.
    """

    def __init__(
        self, config: Config, dataset: Dataset, sampler: AbstractSampler, shuffle: bool = False
    ) -> None:
        self.logger = logging.getLogger()
        users = dataset.inter_feat[dataset.uid_field].unique()
        self.users = Interaction({dataset.uid_field: users})
        self.sample_size = len(users)
        self.shares = SharedBatches(*place(config), self.sample_size, config["train_batch_size"])
        super().__init__(as_single_process(config), dataset, sampler, shuffle=shuffle)
        self.config = config
        if self.shares.ranks > 1:
            # RecBole's trainer would seed a sampler of its own for each epoch
            self.shuffle = False

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)

    def collate_fn(self, index: list[int]) -> Any:
        return self.users[self.shares.own(index)]

    def get_model(self, model: AbstractRecommender) -> None:
        """RecBole's trainer calls this for dynamic negative sampling; here nothing is sampled."""


class TrainingUserDataLoader(UserDataLoader):
    """RecBole's batches of user ids, of users with training items alone."""

    def __init__(
        self, config: Config, dataset: Dataset, sampler: AbstractSampler, shuffle: bool = False
    ) -> None:
        self.logger = logging.getLogger()
        self.uid_field = dataset.uid_field
        self.user_list = Interaction({self.uid_field: dataset.inter_feat[self.uid_field].unique()})
        self.sample_size = len(self.user_list)
        AbstractDataLoader.__init__(self, config, dataset, sampler, shuffle=True)


class _UserEvalDataLoader(AbstractDataLoader):
    """Users with held-out items, at most `eval_batch_size` of them a batch.

    RecBole counts scores there: its default of 4,096 means one or two users a batch.
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
        """The users at these places of the list, and their held-out items."""
        index = torch.as_tensor(index)
        return self.user_df[index], self.held_out.rows(self.uid_list[index])


class UserFullSortEvalDataLoader(_UserEvalDataLoader, FullSortEvalDataLoader):
    """Full ranking: (users, (row, item) of what to leave out, row and item of what is wanted)."""

    @cached_property
    def left_out(self) -> Interactions:
        """What users had in this phase and before, less what is wanted of them now."""
        used = self._sampler.used_ids.interactions
        old = ~torch.isin(used.pairs(), self.held_out.pairs())
        users = used.users()[old]
        return Interactions(users, used.items[old], len(used.offsets) - 1, used.n_items)

    def collate_fn(self, index: list[int]) -> Any:
        users, positives = self.users_and_positives(index)
        history = self.left_out.rows(users[self.uid_field])
        return users, (history.row_index, history.items), positives.row_index, positives.items

    @cached_property
    def uid2history_item(self) -> np.ndarray:
        """For RecBole's case studies: user id -> the items to leave out, as tensors."""
        result = np.empty(self._dataset.user_num, dtype=object)
        result[:] = self.left_out.items.long().tensor_split(self.left_out.offsets[1:-1])
        return result


class UserNegSampleEvalDataLoader(_UserEvalDataLoader, NegSampleEvalDataLoader):
    """Ranking among sampled negatives: (users, places of the candidates, row and item of what is
    wanted). Each wanted item comes with `sample_num` items that the user has not used; the place
    of an item in a batch is ``row * item_num + item``."""

    def collate_fn(self, index: list[int]) -> Any:
        users, positives = self.users_and_positives(index)
        each = self.config[f"{self._sampler.phase}_neg_sample_args"]["sample_num"]
        negatives = self._sampler.sample_unused(users[self.uid_field], positives.counts * each)
        wanted = positives.row_index * self._dataset.item_num + positives.items
        return users, torch.cat([wanted, negatives]), positives.row_index, positives.items


def evaluates_by_users(config: Config) -> bool:
    """Whether our samplers and loaders evaluate; RecBole's do whatever ranks no users."""
    ranking = config["eval_type"] == EvaluatorType.RANKING
    return ranking and not config["repeatable"] and "labeled" not in config["eval_args"]["mode"].values()


def loader_of_users(config: Config, phase: str) -> Any:
    """Our loader class for a phase, or ``None`` where RecBole's own serves."""
    if phase == "train":
        return UserTrainDataLoader
    if not evaluates_by_users(config):
        return None
    full = config["eval_args"]["mode"][phase] == "full"
    return UserFullSortEvalDataLoader if full else UserNegSampleEvalDataLoader
