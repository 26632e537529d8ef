"""A checkpoint that RecBole's trainer wrote, as what serving needs of it."""

from __future__ import annotations

from pathlib import Path

import torch

from recbole_vae_plugin.integration.data.titles import titles_of
from recbole_vae_plugin.integration.data.training_items import items_of_data_set
from recbole_vae_plugin.integration.training.checkpoints import load_checkpoint
from recbole_vae_plugin.nn.finite import check_weights
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import FIRST, Vocabulary
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused

#: Where RecBole models keep their network, in the names of a state dict.
PREFIX = "network."


def bundle_of(
    file: str | Path, title_field: str | None = None, data_path: str | Path | None = None
) -> Bundle:
    """Read a checkpoint of one of our models.

    It knows its items by their original ids, in the order of its weights, and how many users had each, so
    that the data set is read for titles alone. Before version 0.2 checkpoints did not: for them RecBole
    reads, filters and splits the data set anew, which must be as it was. **A checkpoint is a pickle, and a
    pickle can run code**: open only your own.

    Args:
        file: what RecBole's trainer saved.
        title_field: the field of the data set's item file that says what an item is called; ``None``
            looks for one.
        data_path: the folder that holds the data set's folder now, if it has been moved.

    Raises:
        ValueError: it is not a checkpoint, or one of another model; the data set has changed; there is
            no such field.
    """
    checkpoint = read_checkpoint(Path(file))
    config = checkpoint["config"]
    config["device"] = torch.device("cpu")
    if data_path is not None:
        config["data_path"] = str(Path(data_path, config["dataset"]))
    weights = {
        name.removeprefix(PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
    width = len(weights["output.bias"])
    if "items" in checkpoint:
        names, popularity = checkpoint["items"], checkpoint["popularity"]
    else:
        names, popularity = items_of_data_set(config)
    if len(names) != width:
        raise Refused(
            f"{file}: the data set {config['dataset']} has changed since: {len(names) - FIRST} items "
            f"now, {width - FIRST} when the model was trained"
        )
    settings = MODELS[config["model"]].settings_of(config, width)
    network = build_network(settings, width)
    network.load_state_dict(weights)
    check_weights(network)
    return Bundle(
        model=config["model"],
        dataset=config["dataset"],
        settings=settings,
        network=network.eval(),
        vocabulary=Vocabulary(
            ids=list(names[FIRST:]),
            popularity=list(popularity[FIRST:]),
            titles=titles_of(config, names[FIRST:], title_field),
        ),
    )


def read_checkpoint(file: Path) -> dict:
    """Unpickle a checkpoint, which must be of one of our models."""
    if not file.is_file():
        raise Refused(f"{file}: there is no such file; allowed: a checkpoint (.pth) that RecBole saved")
    checkpoint = load_checkpoint(file)
    try:
        model = checkpoint["config"]["model"]
    except (KeyError, TypeError) as problem:
        raise Refused(f"{file}: is no checkpoint of RecBole's: {problem}") from problem
    if model not in MODELS:
        raise Refused(f"{file}: is a checkpoint of {model}; allowed: one of {', '.join(MODELS)}")
    return checkpoint
