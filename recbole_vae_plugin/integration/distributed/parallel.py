"""Repairs of RecBole's data-parallel runs: on processors as on GPUs, every user evaluated once,
one log, one checkpoint that loads like any other.

RecBole knows NCCL alone, pads the users of an evaluation to equal numbers and averages metrics
that are no averages, names checkpoints by each process's own clock and reads the best one before
it is sure to be written. Built-in models profit the same way.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import one_of, refuse
from recbole_vae_plugin.system.processors import limit_threads, threads_for

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset
    from recbole.evaluator import Collector
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.sampler import AbstractSampler
    from recbole.trainer import Trainer

#: Held until the interpreter ends. DistributedDataParallel, which RecBole frees last, would free the
#: group with the interpreter's lock in hand, and wait for a thread that may be waiting for the lock.
_groups: list = []
atexit.register(_groups.clear)


class SilentTensorBoard:
    """Takes any call and does nothing, for the ranks that write none."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def check_gpus(config: Config, processes: int) -> None:
    """Refuse more processes than GPUs of this machine, where GPUs train.

    Args:
        config: RecBole's ``Config``, or its settings.
        processes: on this machine.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    from torch import cuda

    if config["device"].type == "cuda" and cuda.device_count() < processes:
        allowed = f"{processes} GPUs of this machine, one a process, as in --gpu_id=0,1, or none: --gpu_id="
        refuse("gpu_id", config["gpu_id"], allowed)


def check_gpu_ids(settings: dict) -> None:
    """Refuse numbers of GPUs that this machine does not have: RecBole takes fewer, or the processor.
    Its default, 0, stands for the processor where there is no GPU.

    Args:
        settings: a config's, after RecBole has heeded `gpu_id`.

    Raises:
        Refused: names the key, the value and what is allowed.
    """
    from torch import cuda

    gpu_id = settings["gpu_id"].strip()
    if gpu_id not in ("", "0", "-1") and cuda.device_count() < len(gpu_id.split(",")):
        refuse("gpu_id", settings["gpu_id"], "numbers of GPUs of this machine, as in 0,1, or none: --gpu_id=")


def join_ranks(settings: dict, gpus: bool) -> None:
    """Join the other ranks, and note in the config's settings what this one is."""
    import torch
    import torch.distributed as dist

    local_rank, processes = settings["local_rank"], settings["nproc"]
    if gpus:
        settings["device"] = torch.device("cuda", local_rank)
        torch.cuda.set_device(local_rank)
    else:
        settings["device"] = torch.device("cpu")
        limit_threads(threads_for(processes))
    # torchrun's own process listens at the address already
    address = "env://" if dist.is_torchelastic_launched() else f"tcp://{settings['ip']}:{settings['port']}"
    dist.init_process_group(
        "nccl" if gpus else "gloo",
        init_method=address,
        rank=local_rank + settings["offset"],
        world_size=settings["world_size"],
    )
    _groups.append(dist.group.WORLD)
    settings["single_spec"] = False
    if dist.get_rank() != 0:
        settings |= {"state": "error", "show_progress": False, "verbose": False, "log_wandb": False}


@repair("recbole.config.configurator", replaces={"Config._init_device": "5151e977"})
def join_ranks_on_any_device(patch: Patch, configurator: ModuleType) -> None:
    """RecBole knows NCCL alone, its rank 0 of each machine speaks for that machine, and it takes a GPU
    where there is one, whatever `use_gpu` or `device` say."""

    @patch.wrap("Config._init_device")
    def init_device_of_rank(init_device: Callable[..., Any], self: Config) -> Any:
        settings, device = self.final_config_dict, self.final_config_dict.get("device")
        if device is not None:
            device = one_of("device", getattr(device, "type", device), ("cpu", "cuda"))
        if settings.get("use_gpu") is False or device == "cpu":
            settings["gpu_id"] = ""
        local_rank = settings.pop("local_rank", None)
        init_device(self)  # reads gpu_id, as for a run in one process
        check_gpu_ids(settings)
        if local_rank is None:
            return
        settings["local_rank"] = local_rank
        gpus = settings["device"].type == "cuda"
        check_gpus(settings, settings["nproc"])
        join_ranks(settings, gpus)


@repair("recbole.utils.utils", replaces={"ensure_dir": "38485f03"})
def make_folders_that_other_ranks_make(patch: Patch, utils: ModuleType) -> None:
    """RecBole fails where another rank makes a folder after this one has looked for it."""
    patch.replace("ensure_dir", functools.partial(os.makedirs, exist_ok=True))


@repair("recbole.utils.logger", replaces={"init_logger": "f46a8717"})
def log_on_first_rank_only(patch: Patch, logger: ModuleType) -> None:
    """RecBole's other ranks leave a log file each, which stays empty."""

    @patch.wrap("init_logger")
    def init_logger_of_rank(init_logger: Callable[..., Any], config: Config) -> Any:
        from recbole_vae_plugin.integration.distributed.ranks import place

        if place(config)[0] == 0:
            return init_logger(config)
        logging.basicConfig(level=logging.ERROR)


@repair(
    "recbole.data.dataloader.abstract_dataloader",
    replaces={"AbstractDataLoader.__init__": "e6769813"},
    adds=("AbstractDataLoader.__bool__",),
    after=("fork_workers_of_loaders",),
)
def evaluate_each_user_once(patch: Patch, loaders: ModuleType) -> None:
    """RecBole's ranks evaluate padding: users twice where their number does not divide."""

    @patch.wrap("AbstractDataLoader.__init__")
    def init_of_rank(
        init: Callable[..., Any],
        self: AbstractDataLoader,
        config: Config,
        dataset: Dataset,
        sampler: AbstractSampler,
        shuffle: bool = False,
    ) -> Any:
        if config["single_spec"]:
            return init(self, config, dataset, sampler, shuffle=shuffle)
        from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader

        from recbole_vae_plugin.integration.distributed.ranks import as_single_process, own_part

        if not isinstance(self, (FullSortEvalDataLoader, NegSampleEvalDataLoader)):
            return init(self, config, dataset, sampler, shuffle=shuffle)
        init(self, as_single_process(config), dataset, sampler, shuffle=shuffle)
        self.config = config
        self.has_users = self.sample_size > 0
        self.batch_sampler.sampler = own_part(self.sample_size)

    def is_not_empty(self: Any) -> Any:
        """RecBole's trainer evaluates no loader that is false; a rank for which no user is left must take
        part all the same, or the others wait for it."""
        return getattr(self, "has_users", len(self) > 0)

    patch.replace("AbstractDataLoader.__bool__", is_not_empty)


@repair(
    "recbole.evaluator.collector",
    replaces={"Collector.get_data_struct": "d7de65fe"},
    after=("collect_counters_of_popularity",),
)
def collect_from_all_ranks(patch: Patch, collector: ModuleType) -> None:
    """RecBole's ranks average their metrics, also those that are no averages over users. Here each
    rank computes the metrics of all users, from what all ranks have collected."""

    @patch.wrap("Collector.get_data_struct")
    def get_data_struct_of_all(get_data_struct: Callable[..., Any], self: Collector) -> Any:
        struct = get_data_struct(self)
        if self.config["single_spec"]:
            return struct
        from recbole_vae_plugin.integration.distributed.ranks import from_every_rank
        from recbole_vae_plugin.integration.repairs.evaluation import COLLECTED_IN_BATCHES

        own = {key: struct[key] for key in COLLECTED_IN_BATCHES if key in struct}
        parts = from_every_rank(own)
        for key in {key for part in parts for key in part}:
            struct.set(key, collector.torch.cat([part[key] for part in parts if key in part]))
        return struct


@repair(
    "recbole.trainer.trainer",
    replaces={
        "AbstractTrainer.__init__": "05c24687",
        "Trainer.__init__": "e15a8755",
        "Trainer._save_checkpoint": "6ec15e30",
        "Trainer.evaluate": "7c2f6904",
        "Trainer._map_reduce": "68c355be",
        "get_tensorboard": None,
    },
    reads={"recbole.utils.utils:get_tensorboard": "3d5dcb3d"},
)
def train_on_ranks(patch: Patch, trainer: ModuleType) -> None:
    """RecBole gives every model to a GPU, names a checkpoint for each rank, and reads the best one
    without waiting for it."""

    def init_abstract(self: Any, config: Config, model: AbstractRecommender) -> None:
        self.config, self.model = config, model
        if config["single_spec"]:
            return
        on_gpu = config["device"].type == "cuda"
        if on_gpu:
            self.model = trainer.torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):  # torch 2.13 renames it
            self.distributed_model = trainer.DistributedDataParallel(
                self.model,
                device_ids=[config["local_rank"]] if on_gpu else None,
                # ours are the histories, which never change
                broadcast_buffers=config["model"] not in MODELS,
            )

    @patch.wrap("Trainer.__init__")
    def init_on_rank(
        init: Callable[..., Any], self: Trainer, config: Config, model: AbstractRecommender
    ) -> None:
        init(self, config, model)
        if not config["single_spec"]:
            from recbole.utils import init_seed

            from recbole_vae_plugin.integration.distributed.ranks import from_first_rank, place

            self.saved_model_file = from_first_rank(self.saved_model_file)
            # RecBole's seed is that of the rank on its machine
            init_seed(config["seed"] + place(config)[0], config["reproducibility"])

    @patch.wrap("Trainer._save_checkpoint")
    def save_on_first_rank(save: Callable[..., Any], self: Trainer, *args: Any, **kwargs: Any) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import as_single_process, place

        if place(self.config)[0] != 0:
            return
        config, self.config = self.config, as_single_process(self.config)
        try:
            save(self, *args, **kwargs)
        finally:
            self.config = config

    @patch.wrap("Trainer.evaluate")
    def evaluate_on_ranks(
        evaluate: Callable[..., Any],
        self: Trainer,
        eval_data: AbstractDataLoader,
        load_best_model: bool = True,
        model_file: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if not self.config["single_spec"] and load_best_model:
            load_on_first_rank(self, model_file or self.saved_model_file)
            load_best_model = False
        return evaluate(self, eval_data, load_best_model, model_file, **kwargs)

    def load_on_first_rank(self: Any, file: str | Path) -> None:
        """Only rank 0 is sure to see the file: it wrote it, perhaps on another machine."""
        from recbole_vae_plugin.integration.distributed.ranks import place, take_weights_of_first_rank

        if place(self.config)[0] == 0:
            checkpoint = trainer.torch.load(file, map_location=self.device, weights_only=False)
            self.model.load_state_dict(checkpoint["state_dict"])
            self.model.load_other_parameter(checkpoint.get("other_parameter"))
            self.logger.info(f"Loading model structure and parameters from {file}")
        take_weights_of_first_rank(self.model)

    @patch.wrap("get_tensorboard")
    def tensorboard_of_first_rank(get_tensorboard: Callable[..., Any], logger: Any) -> Any:
        wanted = not trainer.torch.distributed.is_initialized() or trainer.torch.distributed.get_rank() == 0
        return get_tensorboard(logger) if wanted else SilentTensorBoard()

    patch.replace("AbstractTrainer.__init__", init_abstract)
    # the metrics are those of all users already
    patch.replace("Trainer._map_reduce", lambda self, result, num_sample: result)
