"""Data sets and loaders that would be broken, or not what was asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.validation import Refused

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset


@repair("recbole.data.dataset.dataset", replaces={"Dataset._download": "f481439c"})
def download_by_a_single_process(patch: Patch, dataset: ModuleType) -> None:
    """RecBole waits for other ranks after a download even if there are none; a failed download leaves an
    empty folder, which the next run takes for the data set."""

    @patch.wrap("Dataset._download")
    def download_or_explain(download: Callable[..., None], self: Dataset) -> None:
        distributed = dataset.torch.distributed
        barrier = distributed.barrier
        if self.config["single_spec"]:
            distributed.barrier = lambda: None
        try:
            download(self)
        except (OSError, RuntimeError, EOFError, BadZipFile) as problem:
            if os.path.isdir(self.dataset_path) and not os.listdir(self.dataset_path):
                os.rmdir(self.dataset_path)
            raise ConnectionError(
                f"data set {self.dataset_name} is not on this machine and could not be "
                f"downloaded ({problem}). Put its file at "
                f"{os.path.join(self.dataset_path, self.dataset_name)}.inter, "
                "or set data_path to the folder that contains "
                f"{self.dataset_name}/{self.dataset_name}.inter"
            ) from problem
        finally:
            distributed.barrier = barrier


#: Keys of the filters that RecBole applies to interactions.
FILTERS = (
    "val_interval",
    "user_inter_num_interval",
    "item_inter_num_interval",
)


@repair("recbole.data.dataset.dataset", replaces={"Dataset._reset_index": "b0db92c7"})
def name_filters_that_leave_nothing(patch: Patch, dataset: ModuleType) -> None:
    """RecBole says that some feature is empty, but not which filters left it empty."""

    @patch.wrap("Dataset._reset_index")
    def reset_or_explain(reset_index: Callable[..., None], self: Dataset) -> None:
        if empty := [table for table in self.feat_name_list if getattr(self, table).empty]:
            applied = {key: self.config[key] for key in FILTERS if self.config[key]}
            given = "; ".join(f"{key}: got {value!r}" for key, value in applied.items())
            raise Refused(
                f"{given or 'no filter is set'}; nothing is left of {', '.join(empty)} of the data set "
                f"{self.dataset_name}; allowed: filters that leave some interactions"
            )
        reset_index(self)


@repair("recbole.data.dataset.dataset", replaces={"Dataset._filter_nan_user_or_item": "d74ddc83"})
def drop_only_rows_without_ids(patch: Patch, dataset: ModuleType) -> None:
    """RecBole drops rows without a user, and then rows without an item by their former positions, which are
    the wrong rows if rows before them have been dropped."""

    def filter_nan_user_or_item(self: Dataset) -> None:
        for field, name in zip([self.uid_field, self.iid_field], ["user", "item"]):
            for table in (f"{name}_feat", "inter_feat"):
                rows = getattr(self, table)
                if field is None or rows is None:
                    continue
                missing = rows.index[rows[field].isnull()]
                if len(missing):
                    lines = list(missing + 2)
                    self.logger.warning(f"In {table}, line {lines} without {field} are left out.")
                    rows.drop(missing, inplace=True)

    patch.replace("Dataset._filter_nan_user_or_item", filter_nan_user_or_item)


@repair("recbole.data.utils", replaces={"save_split_dataloaders": "9b0ec285"})
def keep_generators_when_saving_dataloaders(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole removes the random generators from the loaders with which it then trains."""

    @patch.wrap("save_split_dataloaders")
    def save_and_restore(
        save_split_dataloaders: Callable[..., Any],
        config: Config,
        dataloaders: tuple[AbstractDataLoader, ...],
    ) -> None:
        generators = [loader.generator for loader in dataloaders]
        save_split_dataloaders(config, dataloaders)
        for loader, generator in zip(dataloaders, generators):
            loader.generator = loader.sampler.generator = generator
