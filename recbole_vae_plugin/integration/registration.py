"""Register the models with RecBole: lookup by name, defaults, data loaders, trainer."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Container
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

# importing these collects the patches
from recbole_vae_plugin.integration.config import literals, types  # noqa: F401
from recbole_vae_plugin.integration.data import (  # noqa: F401
    global_time,
    held_out,
    leaks,
    parts,
    reading,
    saved,
    split_checks,
)
from recbole_vae_plugin.integration.distributed import parallel  # noqa: F401
from recbole_vae_plugin.integration.evaluation import metrics  # noqa: F401
from recbole_vae_plugin.integration.patching.applying import apply_patches, apply_postponed, undo_patches
from recbole_vae_plugin.integration.patching.patch import APPLIED, Patch
from recbole_vae_plugin.integration.patching.registry import PATCHES, extension
from recbole_vae_plugin.integration.patching.sources import package_folder
from recbole_vae_plugin.integration.repairs import (  # noqa: F401
    checkpoints,
    datasets,
    evaluation,
    file_names,
    libraries,
    pandas_3,
    ray_tune,
    startup,
)
from recbole_vae_plugin.integration.training import (  # noqa: F401
    checkpoint_identity,
    recording,
    resuming,
    tracking,
)
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import CheckedByRecBole
from recbole_vae_plugin.system.installation import INSTALL_RECBOLE, RegistrationError, has_recbole

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset
    from recbole.model.abstract_recommender import AbstractRecommender
    from torch import Tensor

    from recbole_vae_plugin.nn.interactions import Rows
    from recbole_vae_plugin.settings.declaration import Key

SUPPORTED, TESTED = SpecifierSet(">=1.2.1,<1.3", prereleases=True), SpecifierSet("==1.2.1")


class ModelModule(ModuleType):
    """A module under the name where RecBole looks up a model; imports the class when it is accessed."""

    def __init__(self, name: str, model: str) -> None:
        super().__init__(name, f"{model} of recbole_vae_plugin.")
        self.__spec__ = ModuleSpec(name, loader=None)
        self.model = model

    def __getattr__(self, name: str) -> Any:
        if name != self.__dict__.get("model"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        apply_postponed()
        return MODELS[name]


def register() -> None:
    """Register all models and apply the patches; calling it again has no effect.

    It does nothing if RecBole is not installed: bundles can be served without it.

    Raises:
        RegistrationError: the installed RecBole is not supported, or already has a model with one of our
            names.
    """
    if not has_recbole():
        return
    try:
        tested = check_version(version("recbole"))
    except PackageNotFoundError as problem:
        raise RegistrationError(
            f"recbole can be imported but is not an installed package; run: {INSTALL_RECBOLE}"
        ) from problem
    for name in MODELS:
        check_name_is_free(name)
    apply_patches(compare_sources=not tested)


def unregister() -> None:
    """Undo :func:`register`: restore RecBole, and the libraries that it uses."""
    undo_patches()


def check_version(found: str) -> bool:
    """Whether this version of RecBole was tested; if not, warn.

    Raises:
        RegistrationError: the version is not supported.
    """
    try:
        supported = Version(found) in SUPPORTED
    except InvalidVersion:
        supported = False
    if not supported:
        raise RegistrationError(
            "recbole-vae-plugin supports RecBole 1.2.1 up to, not including, 1.3; "
            f"found {found}. Install a supported one: {INSTALL_RECBOLE}"
        )
    if Version(found) in TESTED:
        return True
    warnings.warn(
        f"recbole-vae-plugin was tested with RecBole 1.2.1, not with {found}; the functions that it patches "
        "are now compared with those of 1.2.1, as `recbole-vae doctor` does",
        stacklevel=3,
    )
    return False


def model_found_by_recbole(name: str) -> type:
    """The class that RecBole finds for the name of a model."""
    from recbole.utils import get_model

    return get_model(name)


def check_name_is_free(name: str) -> None:
    """Raise :class:`RegistrationError` if RecBole or another package already has a model with that name."""
    own = next((package_folder("recbole") / "model").glob(f"*/{name.lower()}.py"), None)
    present = sys.modules.get(lookup_module(name))
    taken_by = None
    if own:
        taken_by = f"RecBole itself ({own})"
    elif present is not None and not isinstance(present, ModelModule):
        taken_by = f"another package ({present!r})"
    if taken_by:
        raise RegistrationError(
            f"recbole-vae-plugin cannot register its model {name}: the name is already taken by {taken_by}."
        )


def lookup_module(name: str) -> str:
    """The module in which ``recbole.utils.get_model`` looks for a model first."""
    return f"recbole.model.general_recommender.{name.lower()}"


@extension("sys", extends=("modules",), reads={"recbole.utils.utils:get_model": "c9bf7a94"})
def let_recbole_find_our_models(patch: Patch, system: ModuleType) -> None:
    """RecBole looks for a model in a module with the model's name."""
    for name in MODELS:
        module = lookup_module(name)
        patch.put("modules", module, ModelModule(module, name))


def provide_model(name: str) -> None:
    """Let RecBole find a model that was added to :data:`MODELS` after :func:`register`."""
    patch = PATCHES["let_recbole_find_our_models"]
    if patch.state == APPLIED:
        patch.put("modules", lookup_module(name), ModelModule(lookup_module(name), name))


def check_keys_are_free(keys: list[Key], of_recbole: Container[str]) -> None:
    """Raise ``ValueError`` if a component's key is one of RecBole's, or one that the model has already."""
    seen: set[str] = set()
    for key in keys:
        taken = key.name in of_recbole and not isinstance(key.check, CheckedByRecBole)
        if taken or key.name in seen:
            owner = "RecBole" if taken else "the model"
            raise ValueError(
                f"{key.name}: a component declares this key, which {owner} has already; rename it"
            )
        seen.add(key.name)


@extension("recbole.config.configurator", replaces={"Config._update_internal_config_dict": "937409f9"})
def read_defaults_of_our_models(patch: Patch, configurator: ModuleType) -> None:
    """The defaults of our models are read right after RecBole's overall ones, so that the data set's
    defaults, config files, dicts and the command line override them as they do for RecBole's models."""

    @patch.wrap("Config._update_internal_config_dict")
    def update_with_our_defaults(update: Callable[..., Any], self: Config, file: str) -> Any:
        result = update(self, file)
        if Path(file).name == "overall.yaml" and self.model in MODELS:
            keys = MODELS[self.model].every_key()
            check_keys_are_free(keys, self.internal_config_dict)
            self.internal_config_dict.update({key.name: key.plain_default for key in keys})
        return result


@extension(
    "recbole.data.utils",
    replaces={"get_dataloader": "54563021", "create_samplers": "e8682bce"},
    after=("train_on_training_users_only",),
)
def load_users_for_our_models(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole has a fixed list of the models that train on users instead of interactions."""

    @patch.wrap("get_dataloader")
    def get_dataloader_of_users(
        get_dataloader: Callable[..., type[AbstractDataLoader]], config: Config, phase: str
    ) -> type[AbstractDataLoader]:
        from recbole_vae_plugin.integration.data.loaders import loader_of_users

        ours = loader_of_users(config, phase) if config["model"] in MODELS else None
        return ours or get_dataloader(config, phase)

    @patch.wrap("create_samplers")
    def create_samplers_of_users(
        create_samplers: Callable[..., Any], config: Config, dataset: Dataset, built_datasets: list[Dataset]
    ) -> Any:
        from recbole_vae_plugin.integration.data.loaders import evaluates_by_users, samplers_of_users

        if config["model"] in MODELS and evaluates_by_users(config):
            return samplers_of_users(config, built_datasets)
        return create_samplers(config, dataset, built_datasets)


@extension("recbole.trainer", adds=("__getattr__",), reads={"recbole.utils.utils:get_trainer": "aeced266"})
def let_recbole_find_our_trainer(patch: Patch, trainer: ModuleType) -> None:
    """RecBole uses ``recbole.trainer.<Model>Trainer`` if it exists."""

    def find(name: str) -> type:
        if name.removesuffix("Trainer") not in MODELS or not name.endswith("Trainer"):
            raise AttributeError(f"module {trainer.__name__!r} has no attribute {name!r}")
        from recbole_vae_plugin.integration.training.trainer import AutoEncoderTrainer

        return AutoEncoderTrainer

    patch.replace("__getattr__", find)


@extension("thop.profile", extends=("register_hooks",), read_against="thop 0.1.1")
def count_operations_of_our_layers(patch: Patch, profile: ModuleType) -> None:
    """RecBole counts FLOPs by layer type, and does not know our sparse layers."""
    from recbole_vae_plugin.nn.layers import InputLayer, OutputLayer
    from recbole_vae_plugin.nn.linear import SharedBranch

    def count_input(layer: Any, inputs: tuple[Rows, ...], output: Tensor) -> None:
        layer.total_ops += len(inputs[0].items) * layer.weight.shape[1]

    def count_output(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layer.total_ops += output.numel() * layer.in_features

    def count_linear(branch: Any, inputs: tuple[Rows, ...], output: Tensor) -> None:
        branch.total_ops += branch.operations(inputs[0])

    patch.put("register_hooks", InputLayer, count_input)
    patch.put("register_hooks", OutputLayer, count_output)
    patch.put("register_hooks", SharedBranch, count_linear)


@extension("recbole.utils.utils", replaces={"get_flops": "e02477e4"})
def count_operations_without_copying_the_linear_branch(patch: Patch, utils: ModuleType) -> None:
    """RecBole counts FLOPs on a copy of the model. The linear branch is not copied: its matrix may take up
    most of the memory."""
    from recbole_vae_plugin.nn.linear import SharedBranch

    @patch.wrap("get_flops")
    def get_flops_with_shared_branch(
        get_flops: Callable[..., float], model: AbstractRecommender, *args: Any, **kwargs: Any
    ) -> float:
        network: Any = getattr(model, "network", None) if type(model).__name__ in MODELS else None
        linear = getattr(network, "linear", None)
        if linear is None:
            return get_flops(model, *args, **kwargs)
        network.linear = SharedBranch(linear)
        try:
            return get_flops(model, *args, **kwargs)
        finally:
            network.linear = linear
