"""The items of a training set and their popularity, for checkpoints that do not contain them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from recbole.data import create_dataset
from recbole.utils import init_seed

if TYPE_CHECKING:
    from recbole.config import Config


def items_of_data_set(config: Config) -> tuple[list[str], list[int]]:
    """The items' original ids and their numbers of users, from the data set, split again as in training."""
    print(
        "warning: a checkpoint from before version 0.2 does not contain the items' ids; the recommendations "
        "are correct only if the files of the data set have not changed since the model was trained",
        file=sys.stderr,
    )
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train = dataset.build()[0]
    popularity = np.bincount(train.inter_feat[dataset.iid_field].numpy(), minlength=dataset.item_num)
    return dataset.field2id_token[dataset.iid_field].tolist(), popularity.tolist()
