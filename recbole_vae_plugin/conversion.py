"""Conversion of a checkpoint, as saved by RecBole's trainer, to a bundle for serving."""

from __future__ import annotations

from pathlib import Path

import torch

from recbole_vae_plugin.integration.data.titles import titles_of
from recbole_vae_plugin.integration.data.training_items import items_of_data_set
from recbole_vae_plugin.integration.training.checkpoints import Checkpoint, load_checkpoint
from recbole_vae_plugin.nn.finite import check_weights
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.nn.settings import Settings
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import FIRST_COLUMN, Vocabulary
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused

#: The prefix of the network's weights in a model's state dict.
PREFIX = "network."


def bundle_of(
    file: str | Path, title_field: str | None = None, data_path: str | Path | None = None
) -> Bundle:
    """Convert a checkpoint of one of this package's models.

    A checkpoint contains the original ids of its items, in the order of its weights, and their numbers of
    users, so that the data set is only read for titles. Checkpoints from before version 0.2 do not: for them
    RecBole loads, filters and splits the data set again, which must be unchanged. **A checkpoint is a
    pickle, and unpickling can run arbitrary code**: only open your own.

    Args:
        file: the checkpoint.
        title_field: the field of the data set's item file with the titles; ``None`` looks for one.
        data_path: the folder that contains the data set's folder, if it has been moved.

    Raises:
        ValueError: the file is not a checkpoint, or is one of another model; the data set has changed;
            there is no such field.
    """
    checkpoint = read_checkpoint(Path(file))
    config = checkpoint["config"]
    model, dataset = str(config["model"]), str(config["dataset"])
    config["device"] = torch.device("cpu")
    if data_path is not None:
        config["data_path"] = str(Path(data_path, dataset))
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
    width = len(weights["output.bias"])
    if "items" in checkpoint and "popularity" in checkpoint:
        names, popularity = checkpoint["items"], checkpoint["popularity"]
    else:
        names, popularity = items_of_data_set(config)
    if len(names) != width:
        raise Refused(
            f"{file}: the data set {dataset} has changed: {len(names) - FIRST_COLUMN} items "
            f"now, {width - FIRST_COLUMN} when the model was trained"
        )
    settings: Settings = MODELS[model].settings_of(config, width)
    network = build_network(settings, width)
    network.load_state_dict(weights)
    check_weights(network)
    return Bundle(
        model=model,
        dataset=dataset,
        settings=settings,
        network=network.eval(),
        vocabulary=Vocabulary(
            ids=list(names[FIRST_COLUMN:]),
            popularity=list(popularity[FIRST_COLUMN:]),
            titles=titles_of(config, names[FIRST_COLUMN:], title_field),
        ),
    )


def read_checkpoint(file: Path) -> Checkpoint:
    """Unpickle a checkpoint of one of this package's models.

    Raises:
        ValueError: it is not one.
    """
    if not file.is_file():
        raise Refused(f"{file}: the file does not exist; allowed: a checkpoint (.pth) saved by RecBole")
    checkpoint = load_checkpoint(file)
    try:
        model = checkpoint["config"]["model"]
    except (KeyError, TypeError) as problem:
        raise Refused(f"{file}: is not a checkpoint of RecBole: {problem}") from problem
    if model not in MODELS:
        raise Refused(f"{file}: is a checkpoint of {model}; allowed: one of {', '.join(MODELS)}")
    return checkpoint
