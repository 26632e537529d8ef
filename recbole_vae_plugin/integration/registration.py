"""Make RecBole know the models by name: lookup, defaults, data loaders, trainer."""

from __future__ import annotations

import functools
import sys
from importlib import util
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

# isort: off
# parallel wraps what compatibility replaces
from recbole_vae_plugin.integration.repairs import compatibility, pandas_3, ray_tune, startup  # noqa: F401
from recbole_vae_plugin.integration.config import literals, types  # noqa: F401
from recbole_vae_plugin.integration.data import held_out, reading, saved  # noqa: F401
from recbole_vae_plugin.integration.evaluation import metrics  # noqa: F401
from recbole_vae_plugin.integration.distributed import parallel  # noqa: F401
from recbole_vae_plugin.integration.training import known_data, resuming, unique_names  # noqa: F401

# isort: on
from recbole_vae_plugin.integration.patching import (
    apply_patches,
    apply_postponed,
    patch_of,
)
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.system.installation import INSTALL_RECBOLE, RegistrationError, has_recbole

SUPPORTED = ((1, 2, 1), (1, 3))


class ModelModule(ModuleType):
    """Stands where RecBole looks a model up and hands out the class when it is asked for."""

    def __init__(self, name: str, model: str):
        super().__init__(name, f"{model} of recbole_vae_plugin.")
        self.__spec__ = ModuleSpec(name, loader=None)
        self.model = model

    def __getattr__(self, name: str):
        if name != self.__dict__.get("model"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        apply_postponed()
        return MODELS[name]


def register() -> None:
    """Register every model and arrange the repairs; harmless when done before.

    Where there is no RecBole there is nothing to register with: what serves bundles works without.

    Raises:
        RegistrationError: the RecBole that is installed is not supported, or has a model of
            one of our names.
    """
    if not has_recbole():
        return
    try:
        check_version(version("recbole"))
    except PackageNotFoundError as problem:
        raise RegistrationError(
            f"recbole can be imported, but is not installed as a package; run: {INSTALL_RECBOLE}"
        ) from problem
    for name in MODELS:
        check_name_is_free(name)
        provide_model(name)
    ray_tune.provide_ray()
    apply_patches()


def provide_model(name: str) -> None:
    """Have RecBole find a model of :data:`MODELS`."""
    sys.modules.setdefault(lookup_module(name), ModelModule(lookup_module(name), name))


def check_version(found: str) -> None:
    """Raise :class:`RegistrationError` unless RecBole's version is a supported one."""
    least, below = SUPPORTED
    if not least <= tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < below:
        raise RegistrationError(
            f"recbole-vae-plugin supports RecBole {'.'.join(map(str, least))} up to, not "
            f"including, {'.'.join(map(str, below))}; found {found}. "
            f"Install a supported one: {INSTALL_RECBOLE}"
        )


def check_name_is_free(name: str) -> None:
    """Raise :class:`RegistrationError` where somebody else already provides that model."""
    (package,) = util.find_spec("recbole").submodule_search_locations
    own = next(Path(package, "model").glob(f"*/{name.lower()}.py"), None)
    present = sys.modules.get(lookup_module(name))
    taken_by = None
    if own:
        taken_by = f"RecBole itself ({own})"
    elif present is not None and not isinstance(present, ModelModule):
        taken_by = f"another package ({present!r})"
    if taken_by:
        raise RegistrationError(
            f"recbole-vae-plugin cannot register its model {name}: "
            f"that name is already provided by {taken_by}."
        )


def lookup_module(name: str) -> str:
    """Where ``recbole.utils.get_model`` looks for a model first."""
    return f"recbole.model.general_recommender.{name.lower()}"


@patch_of("recbole.config.configurator")
def defaults_from_our_properties(configurator) -> None:
    """A model's defaults are taken right after RecBole's overall ones, so that the data set's
    defaults, config files, dicts and the command line override it as they do for RecBole's."""
    read = configurator.Config._update_internal_config_dict

    @functools.wraps(read)
    def read_ours_too(self, file):
        result = read(self, file)
        if Path(file).name == "overall.yaml" and self.model in MODELS:
            defaults = {key.name: key.plain_default for key in MODELS[self.model].every_key()}
            self.internal_config_dict.update(defaults)
        return result

    configurator.Config._update_internal_config_dict = read_ours_too


@patch_of("recbole.data.utils")
def loaders_of_users(data_utils) -> None:
    """RecBole has a fixed list of the models that train on users instead of interactions."""
    get_dataloader, create_samplers = data_utils.get_dataloader, data_utils.create_samplers

    @functools.wraps(get_dataloader)
    def get_dataloader_of_users(config, phase):
        from recbole_vae_plugin.integration.data.loaders import loader_of_users

        ours = loader_of_users(config, phase) if config["model"] in MODELS else None
        return ours or get_dataloader(config, phase)

    @functools.wraps(create_samplers)
    def create_samplers_of_users(config, dataset, built_datasets):
        from recbole_vae_plugin.integration.data.loaders import evaluates_by_users, samplers_of_users

        if config["model"] in MODELS and evaluates_by_users(config):
            return samplers_of_users(config, built_datasets)
        return create_samplers(config, dataset, built_datasets)

    data_utils.get_dataloader = get_dataloader_of_users
    data_utils.create_samplers = create_samplers_of_users


@patch_of("recbole.trainer")
def trainer_of_our_models(trainer) -> None:
    """RecBole takes ``recbole.trainer.<Model>Trainer`` where there is one."""

    def find(name: str):
        if name.removesuffix("Trainer") not in MODELS or not name.endswith("Trainer"):
            raise AttributeError(f"module {trainer.__name__!r} has no attribute {name!r}")
        from recbole_vae_plugin.integration.training.trainer import AutoEncoderTrainer

        return AutoEncoderTrainer

    trainer.__getattr__ = find


@patch_of("thop.profile")
def operations_of_our_layers(profile) -> None:
    """RecBole counts FLOPs by layer type; ours do the work of the entries that they read."""
    from recbole_vae_plugin.nn.layers import InputLayer, OutputLayer

    def count_input(layer, inputs, output):
        layer.total_ops += len(inputs[0].items) * layer.weight.shape[1]

    def count_output(layer, inputs, output):
        layer.total_ops += output.numel() * layer.in_features

    profile.register_hooks.update({InputLayer: count_input, OutputLayer: count_output})


@patch_of("recbole.utils.utils")
def operations_without_a_second_matrix(utils) -> None:
    """RecBole counts FLOPs on a copy of the model. A linear branch, whose work it does not count, is left out
    of the copy: its matrix may be most of the memory."""
    get_flops = utils.get_flops

    @functools.wraps(get_flops)
    def get_flops_without_linear_branch(model, *args, **kwargs):
        network = getattr(model, "network", None)
        linear = getattr(network, "linear", None) if type(model).__name__ in MODELS else None
        if linear is None:
            return get_flops(model, *args, **kwargs)
        network.linear = None
        try:
            return get_flops(model, *args, **kwargs)
        finally:
            network.linear = linear

    utils.get_flops = get_flops_without_linear_branch
