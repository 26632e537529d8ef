"""A run goes on from a checkpoint of the same model only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES
from recbole_vae_plugin.nn.priors import PRIORS
from recbole_vae_plugin.settings.keys import keys_of
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Refused

LAYERS = ("encoder", "mlp_hidden_size", "latent_dimension", "decoder_hidden_size", "linear_branch")


def keys_fixed_by_a_checkpoint(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the model that a run cannot change when it goes on, each where it has a meaning."""
    settings = MODELS[config["model"]].settings_of(config)
    fixed = {key: getattr(settings, key) for key in LAYERS}
    # a weight can be changed at any time
    of_parts = keys_of_chosen(LINEAR_BRANCHES, settings.linear_branch) - {"linear_weight"}
    if "prior" in config:
        of_parts |= {"prior"} | keys_of_chosen(PRIORS, config["prior"])
    return fixed | {key: config[key] for key in sorted(of_parts)}


def keys_of_chosen(registry: Registry, name: str) -> set[str]:
    """The keys of the component of that name; none where there is no such component."""
    settings = registry.settings_of(name)
    return set() if settings is None else {key.name for key in keys_of(settings)}


def check_same_model(file: str | Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another model or data set, or one with other keys that it fixes.

    Args:
        file: the checkpoint, for the message.
        there, here: its RecBole ``Config``, and the run's.

    Raises:
        ValueError: names what differs.
    """
    saved, wanted = ({key: config[key] for key in ("model", "dataset")} for config in (there, here))
    if saved["model"] == wanted["model"]:
        saved |= keys_fixed_by_a_checkpoint(there)
        wanted |= keys_fixed_by_a_checkpoint(here)
    differing = [
        f"{key}: {value} there, {wanted[key]} here"
        for key, value in saved.items()
        if key in wanted and value != wanted[key]
    ]
    if differing:
        raise Refused(f"cannot resume {file}: {'; '.join(differing)}")
