"""Data sets loaded and split once, for all runs that share them."""

from __future__ import annotations

import copy
import hashlib
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, init_seed
from recbole.utils.argument_list import dataset_arguments

from recbole_vae_plugin.integration.data.parts import refuse_empty_parts
from recbole_vae_plugin.integration.data.saved import MORE_ARGUMENTS
from recbole_vae_plugin.integration.repairs.evaluation import check_lists
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import replacing

if TYPE_CHECKING:
    from recbole.config import Config

#: Keys that leave out interactions, for messages about what is left.
FILTERS = ("val_interval", "user_inter_num_interval", "item_inter_num_interval", "threshold")


class PreparedData:
    """Keeps the split that was used last, and shares all with the other processes of a run.

    A split equals the one RecBole makes with ``seed`` set to the split's seed, whatever the
    seed of the model.

    Args:
        cache: a folder of this run alone, since what lies there is unpickled; ``None`` where there
            are no other processes.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._key = None
        self._dataset, self._parts = None, ()

    def loaders(self, config: Config, split_seed: int) -> tuple:
        """RecBole's data set and its three loaders for a run's ``Config``."""
        key = split_key(config, split_seed)
        if key != self._key:
            self._key = None
            self._dataset, self._parts = self._load_or_make(key, config, split_seed)
            self._key = key
        dataset = copy.copy(self._dataset)
        dataset.config = config
        parts = [fresh(part, config) for part in self._parts]
        dataset.build = lambda: parts
        return dataset, data_preparation(config, dataset)

    def _load_or_make(self, key: str, config: Config, split_seed: int) -> tuple:
        if self._cache is None:
            return make(config, split_seed)
        file = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pickle"
        with FileLock(f"{file}.lock"):
            if file.exists():
                with file.open("rb") as stream:
                    return pickle.load(stream)
            prepared = make(config, split_seed)
            with replacing(file) as partial, partial.open("wb") as stream:
                pickle.dump(prepared, stream, protocol=pickle.HIGHEST_PROTOCOL)
        return prepared


def check_data(config: Config, split_seed: int, prepared: set[str]) -> None:
    """Refuse settings that do not fit the data, by loading and splitting it as the runs will. A data set
    that RecBole is yet to download is left to them.

    Args:
        prepared: keys of what has been found to be in order, which is passed over and added to.

    Raises:
        Refused: names the key, the value and what is allowed, or says in RecBole's words what is wrong.
    """
    key = split_key(config, split_seed)
    if key in prepared or not Path(config["data_path"]).exists():
        return
    config["save_dataset"] = False
    try:
        dataset, parts = make(config, split_seed)
    except Refused:
        raise
    except ValueError as problem:
        filters = "".join(f"; {key}: {config[key]}" for key in FILTERS if config[key])
        raise Refused(f"dataset: {config['dataset']}: {problem}{filters}") from problem
    check_lists(config, dataset)
    refuse_empty_parts(config, *parts[1:])
    prepared.add(key)


def make(config: Config, split_seed: int) -> tuple:
    """Load and split, as RecBole's quick start does."""
    init_seed(split_seed, config["reproducibility"])
    dataset = create_dataset(config)
    return dataset, dataset.build()


def fresh(part: Any, config: Config) -> Any:
    """A part of the split that may be sorted and extended without the next run's noticing."""
    result = part.copy(Interaction(dict(part.inter_feat.interaction)))
    result.config = config
    return result


def split_key(config: Config, split_seed: int) -> str:
    """Equal for runs that load and split the same data in the same way."""
    plain = config["MODEL_TYPE"] in (ModelType.GENERAL, ModelType.TRADITIONAL)
    kind = "general" if plain else config["model"]
    values = [config[key] for key in (*MORE_ARGUMENTS, *dataset_arguments)]
    return repr((kind, split_seed, values))
