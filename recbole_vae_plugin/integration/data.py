"""Batches of users instead of interactions, for training and for full ranking."""

from __future__ import annotations

import logging

from recbole.data.dataloader import (
    AbstractDataLoader,
    FullSortEvalDataLoader,
    TrainDataLoader,
)
from recbole.data.interaction import Interaction

#: Full ranking holds at most this many scores at once (float32: 256 MiB), and the
#: evaluator a few arrays of the same shape.
MOST_SCORES = 2**26


class UserTrainDataLoader(AbstractDataLoader):
    """Each user with training items once an epoch, `train_batch_size` users a batch.

    A batch is an ``Interaction`` with one field, the user id: int64 ``[B]``.
    """

    def __init__(self, config, dataset, sampler, shuffle=False):
        self.logger = logging.getLogger()
        users = dataset.inter_feat[dataset.uid_field].unique()
        self.users = Interaction({dataset.uid_field: users})
        self.sample_size = len(users)
        super().__init__(config, dataset, sampler, shuffle=shuffle)

    def _init_batch_size_and_step(self):
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)

    def collate_fn(self, index):
        return self.users[index]


class UserFullSortEvalDataLoader(FullSortEvalDataLoader):
    """RecBole's full-ranking loader with `eval_batch_size` users a batch.

    RecBole counts scores there: its default of 4,096 means one or two users a batch.
    """

    def _init_batch_size_and_step(self):
        users = min(self.config["eval_batch_size"], MOST_SCORES // self._dataset.item_num)
        self.step = max(users, 1)
        self.set_batch_size(self.step)


#: RecBole's loader for a general model -> ours.
OURS = {
    TrainDataLoader: UserTrainDataLoader,
    FullSortEvalDataLoader: UserFullSortEvalDataLoader,
}
