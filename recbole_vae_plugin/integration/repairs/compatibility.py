"""Repairs for what breaks RecBole 1.2.1 on current libraries, each named after what it mends.

Nothing here is about our models: a built-in model profits the same way.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
import warnings
from zipfile import BadZipFile

from recbole_vae_plugin.integration.patching import apply_postponed, module_with, patch_of
from recbole_vae_plugin.settings.validation import refuse

#: What RecBole's collector adds to with every batch of an evaluation, and drops after it.
COLLECTED_IN_BATCHES = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


@patch_of("recbole")
def names_that_numpy_removed(recbole) -> None:
    """RecBole's ``Config`` sets the first six from names that numpy 2 dropped, and not at all in
    a process that loads a pickled one; Ray Tune reads np.bool8."""
    import numpy as np

    removed = {
        "int": np.int_,
        "float": np.float64,
        "complex": np.complex128,
        "object": np.object_,
        "str": np.str_,
        "unicode": np.str_,
        "float_": np.float64,
        "complex_": np.complex128,
        "unicode_": np.str_,
        "bool8": np.bool_,
    }
    for name, value in removed.items():
        if name not in np.__dict__:
            setattr(np, name, value)


@patch_of("recbole")
def warnings_that_only_recbole_can_heed(recbole) -> None:
    """Each run would print pages of deprecations of RecBole's own lines."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")


@patch_of("recbole")
def unpickling_of_recbole_checkpoints(recbole) -> None:
    """torch >= 2.6 refuses pickled objects, and RecBole's checkpoints hold its ``Config``.

    Only calls that RecBole's own code makes are relaxed: everyone else in the process keeps
    the safe default.
    """
    import torch

    safe_load = torch.load

    @functools.wraps(safe_load)
    def load(f, *args, **kwargs):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("recbole."):
            from recbole_vae_plugin.integration.training.archives import load_whole

            kwargs.setdefault("weights_only", False)
            checkpoint = load_whole(f, lambda: safe_load(f, *args, **kwargs))
            apply_postponed()
            return checkpoint
        return safe_load(f, *args, **kwargs)

    torch.load = load


@patch_of("recbole.model")
def update_of_scipy_dok_matrix(model) -> bool:
    """scipy >= 1.13 dropped dok_matrix._update, which the graph models (LightGCN, ...) call."""
    from scipy.sparse import dok_matrix

    if hasattr(dok_matrix, "_update"):
        return False
    dok_matrix._update = lambda self, entries: self._dict.update(entries)
    return True


@patch_of("recbole.evaluator.collector")
def collection_of_popularity(collector) -> None:
    """RecBole calls .cpu() on counters (issue 2191): ItemCoverage, GiniIndex, AveragePopularity
    and TailPercentage crash everywhere."""

    def get_data_struct(self):
        collected = collector.DataStruct()
        for key, value in self.data_struct._data_dict.items():
            collected.set(key, value.cpu() if isinstance(value, collector.torch.Tensor) else value)
        for key in COLLECTED_IN_BATCHES:
            if key in self.data_struct:
                del self.data_struct[key]
        return collected

    collector.Collector.get_data_struct = get_data_struct


@patch_of("recbole.evaluator.collector")
def scores_are_numbers(collector) -> None:
    """RecBole ranks NaN above all numbers, and calls such a model the best."""
    collect = collector.Collector.eval_batch_collect

    @functools.wraps(collect)
    def collect_numbers(self, scores_tensor, *args, **kwargs):
        from recbole_vae_plugin.nn.finite import check_highest

        check_highest(scores_tensor)
        return collect(self, scores_tensor, *args, **kwargs)

    collector.Collector.eval_batch_collect = collect_numbers


@patch_of("recbole.evaluator.evaluator")
def plain_numbers_in_results(evaluator) -> None:
    """Under numpy >= 2 a result would print as np.float64(0.1687)."""
    evaluate = evaluator.Evaluator.evaluate

    @functools.wraps(evaluate)
    def evaluate_to_floats(self, dataobject):
        result = evaluate(self, dataobject)
        return type(result)((metric, float(value)) for metric, value in result.items())

    evaluator.Evaluator.evaluate = evaluate_to_floats


@patch_of("recbole.trainer.hyper_tuning")
def random_numbers_of_exhaustive_search(hyper_tuning) -> None:
    """hyperopt >= 0.2.6 draws with numpy's Generator methods; RecBole hands it a RandomState."""
    import numpy as np

    class RandomState(np.random.RandomState):
        def integers(self, low, high=None, size=None, **kwargs):
            return self.randint(low, high, size)

    random = module_with(np.random, RandomState=RandomState)
    hyper_tuning.np = module_with(np, random=random)


@patch_of("recbole.data.dataset.dataset")
def download_by_a_single_process(dataset) -> None:
    """RecBole waits for other ranks after a download even where there are none; a download
    that fails leaves an empty folder, which the next run takes for the data set."""
    download = dataset.Dataset._download

    @functools.wraps(download)
    def download_or_explain(self):
        distributed = dataset.torch.distributed
        barrier = distributed.barrier
        if self.config["single_spec"]:
            distributed.barrier = lambda: None
        try:
            return download(self)
        except (OSError, RuntimeError, EOFError, BadZipFile) as problem:
            if os.path.isdir(self.dataset_path) and not os.listdir(self.dataset_path):
                os.rmdir(self.dataset_path)
            raise ConnectionError(
                f"data set {self.dataset_name} is not on this machine and could not be "
                f"downloaded ({problem}). Put its file at "
                f"{os.path.join(self.dataset_path, self.dataset_name)}.inter, "
                "or set data_path to the folder that holds "
                f"{self.dataset_name}/{self.dataset_name}.inter"
            ) from problem
        finally:
            distributed.barrier = barrier

    dataset.Dataset._download = download_or_explain


@patch_of("recbole.data.dataloader.abstract_dataloader")
def workers_that_are_forked(loaders) -> bool:
    """Python 3.14 starts processes on Linux by a server instead of by forking; the loaders' workers (the key
    `worker`) then fail, since torch cannot hand them an empty tensor."""
    chosen = multiprocessing.get_start_method(allow_none=True)  # asking otherwise would choose
    if (chosen or multiprocessing.get_all_start_methods()[0]) != "forkserver":
        return False
    loader_class = loaders.AbstractDataLoader
    init = loader_class.__init__

    @functools.wraps(init)
    def init_with_fork(self, *args, **kwargs):
        init(self, *args, **kwargs)
        if self.num_workers:
            self.multiprocessing_context = "fork"

    loader_class.__init__ = init_with_fork
    return True


@patch_of("recbole.data.dataset.dataset")
def rows_without_ids(dataset) -> None:
    """RecBole drops rows without a user, and then rows without an item by their former places: others,
    where a row has gone before them."""

    def filter_nan_user_or_item(self):
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

    dataset.Dataset._filter_nan_user_or_item = filter_nan_user_or_item


def check_lists(config, dataset) -> None:
    """Refuse lists of recommendations that are longer than the catalogue."""
    items = dataset.item_num - 1  # without the padding
    if max(config["topk"] or [1]) > items:
        refuse("topk", config["topk"], f"up to {items}, the number of items of {config['dataset']}")


@patch_of("recbole.data.utils")
def lists_within_the_catalogue(data_utils) -> None:
    """RecBole fails after training where a list is to be longer than there are items."""
    data_preparation = data_utils.data_preparation

    @functools.wraps(data_preparation)
    def prepare_if_long_enough(config, dataset):
        check_lists(config, dataset)
        return data_preparation(config, dataset)

    data_utils.data_preparation = prepare_if_long_enough


@patch_of("recbole.data.utils")
def saving_dataloaders_spoils_them(data_utils) -> None:
    """RecBole takes the random generators off the loaders that it goes on to train with."""
    save_split_dataloaders = data_utils.save_split_dataloaders

    @functools.wraps(save_split_dataloaders)
    def save_and_restore(config, dataloaders):
        generators = [loader.generator for loader in dataloaders]
        save_split_dataloaders(config, dataloaders)
        for loader, generator in zip(dataloaders, generators):
            loader.generator = loader.sampler.generator = generator

    data_utils.save_split_dataloaders = save_and_restore
