"""Saved data sets and loaders are used only where all that shaped them is the same.

RecBole takes what an earlier run saved in the folder of checkpoints, whatever split or file this run asks
for. Here each saved file has a note of what it was made from, beside it, and is made anew where that differs.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.system.atomic import replacing, write_text

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader

#: Keys that RecBole's data sets read besides those in its list of them.
MORE_ARGUMENTS = (
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
#: What a loader holds besides the split.
OF_LOADERS = ("model", "train_neg_sample_args", "valid_neg_sample_args", "test_neg_sample_args", "shuffle")
NO_FILE = os.path.join(os.sep, "nowhere", "no saved file")


def shaped_by(config: Config, more: tuple[str, ...] = ()) -> str:
    """A fingerprint of the keys and of the content of the files that a data set is made from."""
    from recbole.utils.argument_list import dataset_arguments

    keys = [*MORE_ARGUMENTS, *dataset_arguments, "seed", "MODEL_TYPE", *more]
    settings = {key: config[key] for key in keys if key != "data_path"}
    found = hashlib.sha256(repr(sorted(settings.items(), key=str)).encode())
    folder = Path(config["data_path"])
    for file in sorted(folder.glob(f"{config['dataset']}.*")) if folder.is_dir() else ():
        found.update(file.name.encode())
        with file.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def note_of(file: str | Path) -> Path:
    """Where it is noted what a saved file was made from."""
    return Path(f"{file}.made-from")


def is_current(file: str | Path, fingerprint: str) -> bool:
    """Whether a saved file was made from what the fingerprint stands for; else the log says so."""
    note = note_of(file)
    if note.is_file() and note.read_text(encoding="utf-8").strip() == fingerprint:
        return True
    why = "made from other settings or files" if note.is_file() else "without a note of what it was made from"
    logging.getLogger().warning(f"{file} is {why}; it is not used, and the data is prepared anew")
    return False


def default_file(config: Config, of: str) -> str:
    return os.path.join(config["checkpoint_dir"], f"{config['dataset']}-{of}.pth")


def class_of_data_set(config: Config) -> str:
    """The name of the class of data sets that RecBole takes for a model."""
    from recbole.data import dataset
    from recbole.utils import ModelType

    of_types = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE: "KnowledgeBasedDataset"}
    own = f"{config['model']}Dataset"
    return own if hasattr(dataset, own) else of_types.get(config["MODEL_TYPE"], "Dataset")


@repair("recbole.data.dataset.dataset", replaces={"Dataset.save": "7e82a8f2"})
def save_data_sets_whole_and_once(patch: Patch, dataset: ModuleType) -> None:
    """RecBole's ranks write one file at the same time, and a run that is killed leaves half of it."""

    def save(self: Any) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import place

        if place(self.config)[0] != 0:
            return
        file = Path(default_file(self.config, type(self).__name__))
        self.logger.info(dataset.set_color("Saving filtered dataset into ", "pink") + f"[{file}]")
        note_of(file).unlink(missing_ok=True)
        with replacing(file) as partial, partial.open("wb") as stream:
            pickle.dump(self, stream)
        write_text(note_of(file), shaped_by(self.config))

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
def use_saved_data_only_where_it_fits(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole compares some of the settings and none of the files."""

    @patch.wrap("create_dataset")
    def create_current_dataset(create: Callable[..., Any], config: Config) -> Any:
        file = config["dataset_save_path"] or default_file(config, class_of_data_set(config))
        if not os.path.exists(file) or is_current(file, shaped_by(config)):
            return create(config)
        return with_key(config, "dataset_save_path", NO_FILE, create)

    @patch.wrap("load_split_dataloaders")
    def load_current_loaders(load: Callable[..., Any], config: Config) -> Any:
        file = config["dataloaders_save_path"] or default_file(config, f"for-{config['model']}-dataloader")
        if not os.path.exists(file) or not is_current(file, shaped_by(config, OF_LOADERS)):
            return None
        return load(config)

    @patch.wrap("save_split_dataloaders")
    def save_with_note(
        save: Callable[..., Any], config: Config, dataloaders: tuple[AbstractDataLoader, ...]
    ) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import place

        if place(config)[0] != 0:
            return
        note = note_of(default_file(config, f"for-{config['model']}-dataloader"))
        note.unlink(missing_ok=True)
        save(config, dataloaders)
        write_text(note, shaped_by(config, OF_LOADERS))


def with_key(config: Config, key: str, value: Any, function: Any) -> Any:
    """``function(config)`` with another value of a key while it runs."""
    former = config[key]
    config[key] = value
    try:
        return function(config)
    finally:
        config[key] = former
