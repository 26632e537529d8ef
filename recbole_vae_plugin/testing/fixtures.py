"""A pytest plugin: RecBole runs in temporary folders, on a small synthetic data set."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import recbole_vae_plugin

# where torch's import loaded the package, it waits for RecBole's
recbole_vae_plugin.register()
pytest.register_assert_rewrite("recbole_vae_plugin.testing.contract")

#: In the synthetic data user u has 7 of the 10 items of block u % 4.
BLOCKS, BLOCK_USERS, BLOCK_ITEMS = 4, 15, 10

#: One hidden layer on either side and nothing else, as in the first papers, unless a test asks for more.
TEXTBOOK: dict[str, Any] = {
    "encoder": "mlp",
    "activation": "tanh",
    "decoder_hidden_size": None,
    "anneal_cap": 0.2,
    "kl_weighting": "none",
    "ema_decay": 0.0,
    "linear_branch": "none",
}


def pytest_generate_tests(metafunc):
    """Run each contract test on every variant of its class."""
    if hasattr(metafunc.cls, "variants") and "variant" in metafunc.fixturenames:
        variants = metafunc.cls.variants
        metafunc.parametrize("variant", variants.values(), ids=variants.keys())


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run in a temporary folder with an empty command line: RecBole writes to the one and reads the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers


@pytest.fixture(scope="session")
def blocks_path(tmp_path_factory) -> Path:
    """A RecBole data set, ``blocks``: user u has 7 of the 10 items of block u % 4, and no others."""
    folder = tmp_path_factory.mktemp("data") / "blocks"
    folder.mkdir()
    random = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token"]
    for user in range(BLOCKS * BLOCK_USERS):
        for item in random.choice(BLOCK_ITEMS, size=7, replace=False):
            lines.append(f"u{user}\ti{(user % BLOCKS) * BLOCK_ITEMS + item}")
    (folder / "blocks.inter").write_text("\n".join(lines) + "\n")
    return folder.parent


@pytest.fixture
def settings(blocks_path, tmp_path) -> dict:
    """Config for a small run on ``blocks``."""
    return {
        **TEXTBOOK,
        "data_path": str(blocks_path),
        "checkpoint_dir": str(tmp_path / "saved"),
        "mlp_hidden_size": [32],
        "latent_dimension": 8,
        "train_batch_size": 16,
        "epochs": 3,
        "eval_step": 1,
        "stopping_step": 10,
        "topk": [3],
        "valid_metric": "NDCG@3",
        "show_progress": False,
        "state": "ERROR",
        # for the same numbers on processors with and without bfloat16
        "enable_amp": False,
    }


def prepared(model: str, dataset: str, settings: dict) -> SimpleNamespace:
    """Everything up to training, as in RecBole's quick start."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = Config(model=model, dataset=dataset, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    # RecBole annotates loaders that have no data set
    loaders: tuple[Any, Any, Any] = data_preparation(config, data)
    train, valid, test = loaders
    init_seed(config["seed"], config["reproducibility"])
    network = get_model(config["model"])(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    return SimpleNamespace(
        config=config, dataset=data, train=train, valid=valid, test=test, model=network, trainer=trainer
    )


@pytest.fixture
def prepare(settings):
    """:func:`prepared` on the synthetic data, with settings for a small run."""

    def prepare(model: str, dataset: str = "blocks", **overrides) -> SimpleNamespace:
        return prepared(model, dataset, {**settings, **overrides})

    return prepare


def users_of(run) -> torch.Tensor:
    """All internal user ids of a prepared run, without the padding user."""
    return torch.arange(1, run.dataset.user_num)


def interaction_of(run, users, items=None):
    """A batch as RecBole passes it to a model."""
    from recbole.data.interaction import Interaction

    fields = {run.dataset.uid_field: users}
    if items is not None:
        fields[run.dataset.iid_field] = items
    return Interaction(fields)
