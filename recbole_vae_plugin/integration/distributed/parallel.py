"""Repairs of RecBole's data-parallel runs: they work on CPUs and GPUs, evaluate every user once, and write
one log and one checkpoint that loads like any other.

RecBole supports NCCL only, pads the evaluated users so that all ranks have equally many, averages metrics
that are not means over users, names checkpoints by each process's own clock, and reads the best checkpoint
possibly before it has been written. Built-in models benefit in the same way.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import warnings
from collections.abc import Callable
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
    from recbole.evaluator.collector import DataStruct
    from recbole.model.abstract_recommender import AbstractRecommender
    from recbole.sampler import AbstractSampler
    from recbole.trainer import Trainer

#: Kept alive until the interpreter exits. DistributedDataParallel, which RecBole frees last, would free the
#: group while holding the GIL, and wait for a thread that may itself be waiting for the GIL.
_groups: list[Any] = []
atexit.register(_groups.clear)


class SilentTensorBoard:
    """A TensorBoard writer that writes nothing, for all ranks but the first."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def check_gpus(config: Config | dict[str, Any], processes: int) -> None:
    """Refuse more processes than this machine has GPUs, if they train on GPUs.

    Args:
        config: RecBole's ``Config``, or its settings.
        processes: the number of processes on this machine.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    from torch import cuda

    if config["device"].type == "cuda" and cuda.device_count() < processes:
        allowed = f"{processes} GPUs of this machine, one per process, as in --gpu_id=0,1, or none: --gpu_id="
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


def join_ranks(settings: dict[str, Any], gpus: bool) -> None:
    """Join the process group of the run, and adapt the config's settings to this rank."""
    import torch
    import torch.distributed as dist

    local_rank, processes = settings["local_rank"], settings["nproc"]
    if gpus:
        settings["device"] = torch.device("cuda", local_rank)
        torch.cuda.set_device(local_rank)
    else:
        settings["device"] = torch.device("cpu")
        limit_threads(threads_for(processes))
    # torchrun's own process is already listening at the address
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
        settings |= {"state": "error", "show_progress": False, "verbose": False}
        settings |= {"log_wandb": False, "log_mlflow": False}


@repair("recbole.config.configurator", replaces={"Config._init_device": "5151e977"})
def join_ranks_on_any_device(patch: Patch, configurator: ModuleType) -> None:
    """RecBole supports NCCL only, logs on one rank of every machine, and takes a GPU if there is one,
    whatever `use_gpu` or `device` say."""

    @patch.wrap("Config._init_device")
    def init_device_of_rank(init_device: Callable[..., None], self: Config) -> None:
        settings, device = self.final_config_dict, self.final_config_dict.get("device")
        if device is not None:
            device = one_of("device", getattr(device, "type", device), ("cpu", "cuda"))
        if settings.get("use_gpu") is False or device == "cpu":
            settings["gpu_id"] = ""
        local_rank = settings.pop("local_rank", None)
        init_device(self)  # reads gpu_id, as in a run of one process
        check_gpu_ids(settings)
        if local_rank is None:
            return
        settings["local_rank"] = local_rank
        gpus = settings["device"].type == "cuda"
        check_gpus(settings, settings["nproc"])
        join_ranks(settings, gpus)


@repair("recbole.utils.utils", replaces={"ensure_dir": "38485f03"})
def create_folders_without_races(patch: Patch, utils: ModuleType) -> None:
    """RecBole fails if another rank creates a folder after this one has checked for it."""
    patch.replace("ensure_dir", functools.partial(os.makedirs, exist_ok=True))


@repair("recbole.utils.logger", replaces={"init_logger": "f46a8717"})
def log_on_first_rank_only(patch: Patch, logger: ModuleType) -> None:
    """On every rank but the first, RecBole leaves an empty log file."""

    @patch.wrap("init_logger")
    def init_logger_of_rank(init_logger: Callable[..., None], config: Config) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import is_first_rank

        if is_first_rank(config):
            init_logger(config)
        else:
            logging.basicConfig(level=logging.ERROR)


@repair(
    "recbole.data.dataloader.abstract_dataloader",
    replaces={"AbstractDataLoader.__init__": "e6769813"},
    adds=("AbstractDataLoader.__bool__",),
    after=("fork_loader_workers",),
)
def evaluate_each_user_once(patch: Patch, loaders: ModuleType) -> None:
    """RecBole's ranks evaluate padding: some users count twice if the users do not divide evenly."""

    @patch.wrap("AbstractDataLoader.__init__")
    def init_of_rank(
        init: Callable[..., None],
        self: Any,
        config: Config,
        dataset: Dataset,
        sampler: AbstractSampler,
        shuffle: bool = False,
    ) -> None:
        if config["single_spec"]:
            init(self, config, dataset, sampler, shuffle=shuffle)
            return
        from recbole.data.dataloader import FullSortEvalDataLoader, NegSampleEvalDataLoader

        from recbole_vae_plugin.integration.distributed.ranks import indices_of_rank, single_process_config

        if not isinstance(self, (FullSortEvalDataLoader, NegSampleEvalDataLoader)):
            init(self, config, dataset, sampler, shuffle=shuffle)
            return
        init(self, single_process_config(config), dataset, sampler, shuffle=shuffle)
        self.config = config
        self.has_users = self.sample_size > 0
        self.batch_sampler.sampler = indices_of_rank(self.sample_size)

    def has_users(self: Any) -> bool:
        """RecBole's trainer skips empty loaders; a rank without users must take part all the same, or the
        other ranks wait for it forever."""
        return getattr(self, "has_users", len(self) > 0)

    patch.replace("AbstractDataLoader.__bool__", has_users)


@repair(
    "recbole.evaluator.collector",
    replaces={"Collector.get_data_struct": "d7de65fe"},
    after=("collect_popularity_counters",),
)
def collect_from_all_ranks(patch: Patch, collector: ModuleType) -> None:
    """RecBole averages metrics over ranks, even those that are not means over users. Instead, each rank
    computes the metrics of all users, from what all ranks have collected."""

    @patch.wrap("Collector.get_data_struct")
    def get_data_struct_of_all(get_data_struct: Callable[..., DataStruct], self: Collector) -> DataStruct:
        struct = get_data_struct(self)
        if self.config["single_spec"]:
            return struct
        from recbole_vae_plugin.integration.distributed.ranks import gather_from_ranks
        from recbole_vae_plugin.integration.repairs.evaluation import COLLECTED_IN_BATCHES

        own = {key: struct[key] for key in COLLECTED_IN_BATCHES if key in struct}
        parts = gather_from_ranks(own)
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
    """RecBole moves every model to a GPU, names a checkpoint on each rank, and reads the best one without
    waiting for it to be written."""

    def init_abstract(self: Any, config: Config, model: AbstractRecommender) -> None:
        self.config, self.model = config, model
        if config["single_spec"]:
            return
        on_gpu = config["device"].type == "cuda"
        if on_gpu:
            self.model = trainer.torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        # torch 2.13 deprecates broadcast_buffers
        with warnings.catch_warnings(category=FutureWarning, action="ignore"):
            self.distributed_model = trainer.DistributedDataParallel(
                self.model,
                device_ids=[config["local_rank"]] if on_gpu else None,
                # the buffers of our models are the histories, which never change
                broadcast_buffers=config["model"] not in MODELS,
            )

    @patch.wrap("Trainer.__init__")
    def init_on_rank(
        init: Callable[..., Any], self: Trainer, config: Config, model: AbstractRecommender
    ) -> None:
        init(self, config, model)
        if not config["single_spec"]:
            from recbole.utils import init_seed

            from recbole_vae_plugin.integration.distributed.ranks import (
                broadcast_from_first_rank,
                rank_and_world_size,
            )

            self.saved_model_file = broadcast_from_first_rank(self.saved_model_file)
            # RecBole's seed depends on the local rank instead
            init_seed(config["seed"] + rank_and_world_size(config)[0], config["reproducibility"])

    @patch.wrap("Trainer._save_checkpoint")
    def save_on_first_rank(save: Callable[..., Any], self: Trainer, *args: Any, **kwargs: Any) -> None:
        from recbole_vae_plugin.integration.distributed.ranks import is_first_rank, single_process_config

        if not is_first_rank(self.config):
            return
        config, self.config = self.config, single_process_config(self.config)
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

    def load_on_first_rank(self: Any, file: str) -> None:
        """Only rank 0, which wrote the file, is sure to see it: other ranks may be on another machine."""
        from recbole_vae_plugin.integration.distributed.ranks import broadcast_weights, is_first_rank

        if is_first_rank(self.config):
            checkpoint = trainer.torch.load(file, map_location=self.device, weights_only=False)
            self.model.load_state_dict(checkpoint["state_dict"])
            self.model.load_other_parameter(checkpoint.get("other_parameter"))
            self.logger.info(f"Loading model structure and parameters from {file}")
        broadcast_weights(self.model)

    @patch.wrap("get_tensorboard")
    def tensorboard_of_first_rank(get_tensorboard: Callable[..., Any], logger: Any) -> Any:
        distributed = trainer.torch.distributed
        writes = not distributed.is_initialized() or distributed.get_rank() == 0
        return get_tensorboard(logger) if writes else SilentTensorBoard()

    patch.replace("AbstractTrainer.__init__", init_abstract)
    # the metrics are already those of all users
    patch.replace("Trainer._map_reduce", lambda self, result, num_sample: result)
