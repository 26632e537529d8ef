"""The keys that a config leaves open are set from the training data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.rules import RULES, TrainingData, is_open
from recbole_vae_plugin.settings.declaration import checked
from recbole_vae_plugin.settings.model_registry import MODELS

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset


def set_from_data(config: Config, dataset: Dataset) -> None:
    """Set the open keys of a model of this package in its config, and log their values.

    Whoever needs such a key calls this first, with the same result: the loader of training batches, and the
    model. Afterwards no key is open, so that checkpoints contain what was used.

    Args:
        config: the config of the run, which is changed.
        dataset: the training part.

    Raises:
        ValueError: a key has a value that is not allowed.
    """
    # Any: the registry's classes are subclasses of AutoEncoderRecommender, of a higher layer
    model_class: Any = MODELS[config["model"]]
    model_class.check(config)
    # names may be given in another case, which the rules need not know
    values = {key.name: checked(key, config) for key in model_class.every_key()}
    open_keys = [key for key in RULES if key in values and is_open(values[key])]
    if not open_keys:
        return
    data = training_data(dataset)
    chosen = {}
    for key in open_keys:
        value = RULES[key](data, values)
        if value is not None:
            config[key] = values[key] = chosen[key] = value
    if chosen:
        text = ", ".join(f"{key} {shown(value)}" for key, value in chosen.items())
        logging.getLogger().info(f"set from the data: {text}")


def training_data(dataset: Dataset) -> TrainingData:
    """What the rules need to know of the training part; repeated interactions count once, as in the model."""
    users, items = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
    interactions = Interactions(users, items, dataset.user_num, dataset.item_num)
    n_users = int((interactions.offsets.diff() > 0).sum())
    return TrainingData(n_users, interactions.popularity().double())


def shown(value: object) -> str:
    """A value in a line of the log."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
