"""A run can only be resumed from a checkpoint of the same model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES
from recbole_vae_plugin.nn.priors import PRIORS
from recbole_vae_plugin.nn.settings import KLSettings
from recbole_vae_plugin.settings.declaration import keys_of
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Refused

LAYERS = (
    "encoder",
    "mlp_hidden_size",
    "latent_dimension",
    "decoder_hidden_size",
    "decoder",
    "linear_branch",
)


def fixed_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the model that a resumed run cannot change, as far as they apply, and their values."""
    settings = MODELS[config["model"]].settings_of(config)
    fixed = {key: getattr(settings, key) for key in LAYERS}
    fixed |= component_values(LINEAR_BRANCHES, settings.linear_branch, config)
    # it can be changed at any time
    fixed.pop("linear_weight", None)
    if settings.decoder == "closed_form":
        # they decide whether the first layer has the state of RowAdam or of another optimizer
        fixed |= {key: config[key] for key in ("learner", "weight_decay")}
    if "prior" in config:
        prior = KLSettings.from_config(config).prior
        fixed |= {"prior": prior} | component_values(PRIORS, prior, config)
    return fixed


def component_values(registry: Registry[Any], name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> checked value, for the settings of the component with that name, if it has any."""
    settings = registry.read(name, config)
    return {key.name: getattr(settings, key.field) for key in keys_of(type(settings))} if settings else {}


def check_compatible(file: str | Path, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another model or data set, or one whose fixed keys differ from the run's.

    Args:
        file: the checkpoint, for the message.
        saved: its RecBole ``Config``.
        current: the run's ``Config``.

    Raises:
        ValueError: names what differs.
    """
    old, new = ({key: config[key] for key in ("model", "dataset")} for config in (saved, current))
    if old["model"] == new["model"]:
        old |= fixed_keys(saved)
        new |= fixed_keys(current)
    differing = [
        f"{key}: {value} in the checkpoint, {new[key]} in this run"
        for key, value in old.items()
        if key in new and value != new[key]
    ]
    if differing:
        raise Refused(f"cannot resume {file}: {'; '.join(differing)}")
