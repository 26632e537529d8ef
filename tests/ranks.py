"""What the tests of data parallelism run in each of their processes, and in one to compare with."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import torch

import recbole_vae_plugin  # noqa: F401  spawned processes import this module only
from recbole_vae_plugin.nn.heads import Posterior


def train(settings: dict, model: str, folder: Path, name: str) -> None:
    """Train as RecBole's quick start does, without sampling noise, and save what came of it."""
    sys.argv = ["pytest"]
    os.chdir(folder)
    Posterior.sample = lambda self: self.mu
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_logger, init_seed

    config = Config(model=model, dataset="blocks", config_dict=settings)
    init_seed(config["seed"], True)
    init_logger(config)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    init_seed(config["seed"] + config["local_rank"], True)
    network = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    gradients = []
    trainer.optimizer.register_step_pre_hook(
        lambda *_: gradients.append(
            [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]
        )
    )
    trainer.fit(train_data, valid_data, saved=True)
    result = trainer.evaluate(test_data, load_best_model=True)
    loaded = trainer.evaluate(valid_data, load_best_model=False)
    torch.save(
        {
            "first_gradients": gradients[0],
            "steps": len(gradients),
            "losses": trainer.train_loss_dict,
            "weights": [weight.detach() for weight in network.parameters()],
            "test": dict(result),
            "valid": dict(loaded),
            "checkpoint": trainer.saved_model_file,
        },
        f"{name}.pt",
    )
    logging.getLogger().handlers.clear()
    if not config["single_spec"]:
        torch.distributed.destroy_process_group()


def train_rank(local_rank: int, runs: list[tuple[dict, str, Path]]) -> None:
    """:func:`train` as one rank of several, one run after the other."""
    for settings, model, folder in runs:
        train({**settings, "local_rank": local_rank}, model, folder, f"rank{local_rank}")


def train_alone(process: int, runs: list[tuple[dict, str, Path]]) -> None:
    """The same in one process."""
    for settings, model, folder in runs:
        train(settings, model, folder, "alone")
