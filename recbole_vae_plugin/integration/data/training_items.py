"""The items of a training part and how many users had each, for checkpoints that do not hold them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from recbole.data import create_dataset
from recbole.utils import init_seed

if TYPE_CHECKING:
    from recbole.config import Config


def items_of_data_set(config: Config) -> tuple[list[str], list[int]]:
    """Original ids and numbers of users of the items of a training part, made anew."""
    print(
        "warning: a checkpoint of before version 0.2 does not know its items; the recommendations are right "
        "only if the data set's files are as they were when the model was trained",
        file=sys.stderr,
    )
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train = dataset.build()[0]
    popularity = np.bincount(train.inter_feat[dataset.iid_field].numpy(), minlength=dataset.item_num)
    return dataset.field2id_token[dataset.iid_field].tolist(), popularity.tolist()
