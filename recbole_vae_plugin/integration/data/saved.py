"""Saved data sets and loaders are reused only if they were made from the same settings and files.

RecBole uses whatever an earlier run saved in the folder of checkpoints, even if this run has another split
or other files. Here, a fingerprint of settings and data files is saved next to each file, and the data is
prepared again if it differs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.system.atomic import replacing, write_text

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset

#: Keys that RecBole's data sets read, in addition to those in its ``dataset_arguments``.
DATASET_KEYS = (
    "dataset",
    "data_path",
    "eval_args",
    "repeatable",
    "encoding",
    "numerical_features",
    "discretization",
    "token_num_threshold",
    "convert_token_to_onehot",
    "kg_reverse_r",
    "entity_kg_num_interval",
    "relation_kg_num_interval",
)
#: Further keys on which the loaders depend.
LOADER_KEYS = ("model", "train_neg_sample_args", "valid_neg_sample_args", "test_neg_sample_args", "shuffle")
#: Raised whenever the classes whose objects are saved move or change: pickles name them.
FORMAT = 2
NO_FILE = os.path.join(os.sep, "nowhere", "no saved file")


def fingerprint_of(config: Config, additional: tuple[str, ...] = ()) -> str:
    """A hash of the settings and files from which a data set is made, and of how it is saved.

    Args:
        config: RecBole's ``Config``.
        additional: keys besides those of data sets.
    """
    from recbole.utils.argument_list import dataset_arguments

    keys = [*DATASET_KEYS, *dataset_arguments, "seed", "MODEL_TYPE", *additional]
    settings = {key: config[key] for key in keys if key != "data_path"}
    digest = hashlib.sha256(f"{FORMAT} {sorted(settings.items(), key=str)!r}".encode())
    folder = Path(config["data_path"])
    for file in sorted(folder.glob(f"{config['dataset']}.*")) if folder.is_dir() else ():
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def fingerprint_file(file: str | Path) -> Path:
    """The path of the fingerprint of a saved file."""
    return Path(f"{file}.made-from")


def is_current(file: str | Path, fingerprint: str) -> bool:
    """Whether a saved file has this fingerprint; if not, log a warning."""
    saved = fingerprint_file(file)
    if saved.is_file() and saved.read_text(encoding="utf-8").strip() == fingerprint:
        return True
    other = "was made from other settings or files, or by another version"
    reason = other if saved.is_file() else "has no fingerprint"
    logging.getLogger().warning(f"{file} {reason}; it is ignored, and the data is prepared again")
    return False


def default_path(config: Config, name: str) -> str:
    """The path that RecBole uses for a saved data set or loader if the config names none."""
    return os.path.join(config["checkpoint_dir"], f"{config['dataset']}-{name}.pth")


def dataset_class_name(config: Config) -> str:
    """The name of the data set class that RecBole uses for a model."""
    from recbole.data import dataset
    from recbole.utils import ModelType

    of_types = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE: "KnowledgeBasedDataset"}
    own = f"{config['model']}Dataset"
    return own if hasattr(dataset, own) else of_types.get(config["MODEL_TYPE"], "Dataset")


@repair("recbole.data.dataset.dataset", replaces={"Dataset.save": "7e82a8f2"})
def save_datasets_atomically_on_first_rank(patch: Patch, dataset: ModuleType) -> None:
    """RecBole's ranks write the same file at the same time, and a killed run leaves a partial file."""

    def save(self: Dataset) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import is_first_rank

        if not is_first_rank(self.config):
            return
        file = Path(default_path(self.config, type(self).__name__))
        self.logger.info(dataset.set_color("Saving filtered dataset into ", "pink") + f"[{file}]")
        fingerprint_file(file).unlink(missing_ok=True)
        with replacing(file) as partial, partial.open("wb") as stream:
            pickle.dump(self, stream)
        write_text(fingerprint_file(file), fingerprint_of(self.config))

    patch.replace("Dataset.save", save)


@repair(
    "recbole.data.utils",
    replaces={
        "create_dataset": "7669c55b",
        "load_split_dataloaders": "c6ffd99c",
        "save_split_dataloaders": "9b0ec285",
    },
    after=("keep_generators_when_saving_dataloaders",),
)
def use_saved_data_only_if_current(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole reuses saved data after comparing only some of the settings, and no files."""

    @patch.wrap("create_dataset")
    def create_current_dataset(create: Callable[..., Dataset], config: Config) -> Dataset:
        file = config["dataset_save_path"] or default_path(config, dataset_class_name(config))
        if not os.path.exists(file) or is_current(file, fingerprint_of(config)):
            return create(config)
        with overriding(config, "dataset_save_path", NO_FILE):
            return create(config)

    @patch.wrap("load_split_dataloaders")
    def load_current_loaders(load: Callable[..., Any], config: Config) -> Any:
        file = config["dataloaders_save_path"] or default_path(config, f"for-{config['model']}-dataloader")
        if not os.path.exists(file) or not is_current(file, fingerprint_of(config, LOADER_KEYS)):
            return None
        return load(config)

    @patch.wrap("save_split_dataloaders")
    def save_with_fingerprint(
        save: Callable[..., None], config: Config, dataloaders: tuple[AbstractDataLoader, ...]
    ) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import is_first_rank

        if not is_first_rank(config):
            return
        fingerprint = fingerprint_file(default_path(config, f"for-{config['model']}-dataloader"))
        fingerprint.unlink(missing_ok=True)
        save(config, dataloaders)
        write_text(fingerprint, fingerprint_of(config, LOADER_KEYS))


@contextmanager
def overriding(config: Config, key: str, value: Any) -> Iterator[None]:
    """Give a key another value while this is open."""
    former = config[key]
    config[key] = value
    try:
        yield
    finally:
        config[key] = former
