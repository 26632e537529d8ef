"""Data sets that are loaded and split once for all runs that share them."""

from __future__ import annotations

import copy
import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, init_seed
from recbole.utils.argument_list import dataset_arguments

from recbole_vae_plugin.integration.data.parts import refuse_empty_parts
from recbole_vae_plugin.integration.data.saved import DATASET_KEYS
from recbole_vae_plugin.integration.repairs.evaluation import check_lists
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import replacing

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset

    #: A data set, and its parts for training, validation and test.
    Split = tuple[Dataset, list[Dataset]]
    Loaders = tuple[AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]

#: Keys that filter interactions, for error messages.
FILTERS = ("val_interval", "user_inter_num_interval", "item_inter_num_interval", "threshold")


class PreparedData:
    """Keeps the last split that was used, and shares all splits with the other processes of a run.

    A split equals the one that RecBole makes if ``seed`` is the split's seed, whatever the model's seed.

    Args:
        cache: a folder that only this run can write to, since its files are unpickled; ``None`` if there
            are no other processes.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._key: str | None = None
        self._split: Split | None = None

    def loaders(self, config: Config, split_seed: int) -> tuple[Dataset, Loaders]:
        """RecBole's data set and its loaders for training, validation and test, for a run's ``Config``."""
        key = split_key(config, split_seed)
        if self._split is None or key != self._key:
            self._split = None  # free the old one first
            self._split = self._load_cached(key, config, split_seed)
            self._key = key
        whole, parts = self._split
        dataset = copy.copy(whole)
        dataset.config = config
        copies = [independent_copy(part, config) for part in parts]
        dataset.build = lambda: copies
        return dataset, data_preparation(config, dataset)

    def _load_cached(self, key: str, config: Config, split_seed: int) -> Split:
        if self._cache is None:
            return load_and_split(config, split_seed)
        file = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pickle"
        with FileLock(f"{file}.lock"):
            if file.exists():
                with file.open("rb") as stream:
                    return pickle.load(stream)
            split = load_and_split(config, split_seed)
            with replacing(file) as partial, partial.open("wb") as stream:
                pickle.dump(split, stream, protocol=pickle.HIGHEST_PROTOCOL)
        return split


def check_data(config: Config, split_seed: int, checked: set[str]) -> None:
    """Refuse settings that do not match the data, by loading and splitting it as the runs will.

    Data sets that RecBole has not downloaded yet are not checked.

    Args:
        config: RecBole's ``Config``.
        split_seed: the seed of the split.
        checked: keys of the splits already checked, which are skipped; the key of this one is added.

    Raises:
        Refused: names the key, the value and what is allowed, or gives RecBole's message.
    """
    key = split_key(config, split_seed)
    if key in checked or not Path(config["data_path"]).exists():
        return
    config["save_dataset"] = False
    try:
        dataset, parts = load_and_split(config, split_seed)
    except Refused:
        raise
    except ValueError as problem:
        filters = "".join(f"; {key}: {config[key]}" for key in FILTERS if config[key])
        raise Refused(f"dataset: {config['dataset']}: {problem}{filters}") from problem
    check_lists(config, dataset)
    refuse_empty_parts(config, *parts[1:])
    checked.add(key)


def load_and_split(config: Config, split_seed: int) -> Split:
    """Load and split a data set as RecBole's quick start does."""
    init_seed(split_seed, config["reproducibility"])
    dataset = create_dataset(config)
    return dataset, dataset.build()


def independent_copy(part: Dataset, config: Config) -> Dataset:
    """A copy of a part of a split that one run may sort and extend without affecting the next."""
    result = part.copy(Interaction(dict(part.inter_feat.interaction)))
    result.config = config
    return result


def split_key(config: Config, split_seed: int) -> str:
    """A key that is equal for runs that load and split the same data in the same way."""
    general = config["MODEL_TYPE"] in (ModelType.GENERAL, ModelType.TRADITIONAL)
    model_type = "general" if general else config["model"]
    values = [config[key] for key in (*DATASET_KEYS, *dataset_arguments)]
    return repr((model_type, split_seed, values))
