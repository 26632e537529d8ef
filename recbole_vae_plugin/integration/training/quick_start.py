"""The steps of RecBole's quick start, one by one, with the seeds of the split and of the model apart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from recbole.config import Config
from recbole.data.transform import construct_transform
from recbole.utils import get_flops, get_model, get_trainer, init_seed

from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.integration.config.data_files import hash_of_data
from recbole_vae_plugin.integration.data.prepared import PreparedData
from recbole_vae_plugin.integration.training.groups import (
    history_lengths,
    popularity_quartiles,
    recall_by_popularity,
)
from recbole_vae_plugin.integration.training.recording import EpochRecorder, evaluated_users, values_of_users
from recbole_vae_plugin.integration.training.tracking import plain_keys


def config_of(settings: dict) -> Config:
    """RecBole's config for settings that name a model and a data set."""
    return checks.config_of(settings["model"], settings["dataset"], config_dict=settings)


class QuickStart:
    """A model on its way from a config to its metrics. Call :meth:`load`, :meth:`build`, :meth:`fit`, and
    :meth:`test` in this order.

    Args:
        settings: keys of RecBole's config, ``model`` and ``dataset`` among them.
        split_seed: of the data split.
        model_seed: of weights and batches.
    """

    def __init__(self, settings: dict, split_seed: int, model_seed: int) -> None:
        self._config = config_of({**settings, "seed": model_seed, "show_progress": False})
        self._split_seed = split_seed

    def resolved(self) -> dict:
        """Every key as it was resolved; what JSON and YAML have no notation for as text."""
        return plain_keys(self._config)

    def load(self, data: PreparedData) -> None:
        self._dataset, (self._train, self._valid, self._test) = data.loaders(self._config, self._split_seed)

    def data_hash(self) -> str | None:
        """The hash of the content of the data set's files."""
        return hash_of_data(self._config)

    def build(self) -> None:
        init_seed(self._config["seed"], self._config["reproducibility"])
        model = get_model(self._config["model"])
        self.network = model(self._config, self._train.dataset).to(self._config["device"])

    def flops(self) -> float:
        """What RecBole counts for a forward pass."""
        config, logger = self._config, logging.getLogger()
        counted = get_flops(
            self.network, self._dataset, config["device"], logger, construct_transform(config)
        )
        return float(counted)

    def fit(self, tell: Callable[[dict], None]) -> tuple[float, dict[str, float], list[dict]]:
        """Train until early stopping.

        Args:
            tell: see :class:`EpochRecorder`.

        Returns:
            The best validation score, all validation metrics of that epoch, and a row an epoch.
        """
        config = self._config
        self._trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, self.network)
        recorder = EpochRecorder(self._trainer, tell)
        # a checkpoint's seed is the one by which whoever opens it splits the data again
        config["seed"] = self._split_seed
        try:
            score, metrics = self._trainer.fit(self._train, self._valid, show_progress=False)
        finally:
            # written to the end before the folder of the run is renamed
            self._trainer.tensorboard.close()
        valid = {metric: float(value) for metric, value in (metrics or {}).items()}
        return float(score), valid, recorder.epochs

    def best_epoch(self, epochs: list[dict]) -> int | None:
        """The epoch whose weights are tested: the last of the best validated ones, as in RecBole."""
        metric = f"valid_{self._config['valid_metric'].lower()}"
        validated = [row for row in epochs if metric in row]
        if not validated:
            return None
        best = max if self._config["valid_metric_bigger"] else min
        return best(reversed(validated), key=lambda row: row[metric])["epoch"]

    def test(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Test metrics of the best weights, and a table with those of each user, the length of the user's
        history, and recall by the items' popularity."""
        quartiles = popularity_quartiles(self._train.dataset)
        recall = recall_by_popularity(self._trainer.eval_collector, quartiles, self._list_length())
        with values_of_users() as values, recall as by_popularity:
            result = self._trainer.evaluate(self._test, show_progress=False)
        users = self._users_table(values, by_popularity)
        # RecBole rounds what it reports; what averages over users is known exactly
        exact = {metric: float(np.mean(column)) for metric, column in values.items()}
        return {metric: exact.get(metric, float(value)) for metric, value in result.items()}, users

    def _list_length(self) -> int:
        """The number of recommendations in the main metric, or else the largest."""
        _, _, k = self._config["valid_metric"].partition("@")
        return int(k or max(self._config["topk"] or [1]))

    def _users_table(
        self, values: dict[str, np.ndarray], by_popularity: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        if not values:
            return {"user": np.array([])}
        dataset, users = self._test.dataset, evaluated_users(self._test)
        return {
            "user": dataset.id2token(dataset.uid_field, users),
            "history": history_lengths(self._train.dataset)[users],
            **values,
            **by_popularity,
        }

    @property
    def checkpoint(self) -> Path:
        """The file of the best weights."""
        return Path(self._trainer.saved_model_file)
