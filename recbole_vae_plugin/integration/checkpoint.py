"""A checkpoint that RecBole's trainer wrote, as what serving needs of it."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from recbole.data import create_dataset
from recbole.utils import init_seed

from recbole_vae_plugin.integration.titles import titles_of
from recbole_vae_plugin.models import MODELS
from recbole_vae_plugin.models.network import network_of
from recbole_vae_plugin.models.settings import Settings
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import FIRST, Vocabulary

#: Where RecBole models keep their network, in the names of a state dict.
PREFIX = "network."


def bundle_of(file: str | Path, title_field: str | None = None) -> Bundle:
    """Read a checkpoint of one of our models, and the data set that it was trained on.

    RecBole reads, filters and splits the data set anew, from the config in the checkpoint, so that
    the files must lie where they lay. **A checkpoint is a pickle, and a pickle can run code**: open
    only your own.

    Args:
        file: what RecBole's trainer saved.
        title_field: the field of the data set's item file that says what an item is called; ``None``
            looks for one.

    Raises:
        ValueError: it is no checkpoint, or one of another model; the data set has changed; there is
            no such field.
    """
    checkpoint = read_checkpoint(Path(file))
    config = checkpoint["config"]
    config["device"] = torch.device("cpu")
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train = dataset.build()[0]
    names = dataset.field2id_token[dataset.iid_field][FIRST:]
    popularity = np.bincount(train.inter_feat[dataset.iid_field].numpy(), minlength=dataset.item_num)

    settings = Settings.from_config(config, dataset.item_num)
    head = getattr(import_module(MODELS[config["model"]]), config["model"]).head
    network = network_of(settings, head, dataset.item_num)
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
    trained_on = len(weights["output.bias"])
    if trained_on != dataset.item_num:
        raise ValueError(
            f"{file}: the data set {config['dataset']} has changed since: {dataset.item_num - FIRST} items "
            f"now, {trained_on - FIRST} when the model was trained"
        )
    network.load_state_dict(weights)
    return Bundle(
        model=config["model"],
        dataset=config["dataset"],
        head=head,
        settings=settings,
        network=network.eval(),
        vocabulary=Vocabulary(
            ids=names.tolist(),
            popularity=popularity[FIRST:].tolist(),
            titles=titles_of(config, names, title_field),
        ),
    )


def read_checkpoint(file: Path) -> dict:
    """Unpickle a checkpoint, which must be of one of our models."""
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; allowed: a checkpoint (.pth) that RecBole saved")
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=False)
        model = checkpoint["config"]["model"]
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as problem:
        raise ValueError(f"{file}: is no checkpoint of RecBole's: {problem}") from problem
    if model not in MODELS:
        raise ValueError(f"{file}: is a checkpoint of {model}; allowed: one of {', '.join(MODELS)}")
    return checkpoint
