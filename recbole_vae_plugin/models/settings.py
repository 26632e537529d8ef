"""The keys of the models: read from RecBole's config, checked, with errors that name the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from typing import Any

from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.nn.likelihoods import LOG_PARTITIONS

KL_REDUCTIONS = ("mean", "sum")


def refuse(key: str, value: Any, allowed: str) -> None:
    """Raise the one kind of error that a bad value gets.

    Raises:
        ValueError: always; it names the key, the value it got and what is allowed.
    """
    raise ValueError(f"{key}: got {value!r}; allowed: {allowed}")


def one_of(key: str, value: Any, names: Iterable[str]) -> str:
    """``value`` as it is spelt in ``names``, whatever its case; ``None`` means ``none``."""
    names = list(names)
    spelling = {name.lower(): name for name in names}
    wanted = "none" if value is None else str(value).lower()
    if wanted not in spelling:
        near = get_close_matches(wanted, spelling, n=1)
        hint = f" (did you mean {spelling[near[0]]}?)" if near else ""
        refuse(key, value, ", ".join(names) + hint)
    return spelling[wanted]


def integer(key: str, value: Any, least: int) -> int:
    """``value`` if it is an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        refuse(key, value, f"a whole number of at least {least}")
    return value


def number(key: str, value: Any, least: float, below: float = float("inf")) -> float:
    """``value`` if it is a number in [least, below)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < below:
        upper = f" and below {below:g}" if below != float("inf") else ""
        refuse(key, value, f"a number of at least {least:g}{upper}")
    return float(value)


def sizes(key: str, value: Any, n_items: int) -> tuple[int, ...]:
    """``value`` if it is a list of layer widths that does not repeat the catalogue's size."""
    allowed = "a list of layer widths of at least 1, such as [600] or [600, 300]"
    if isinstance(value, str) or not isinstance(value, Sequence):
        refuse(key, value, allowed)
    if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in value):
        refuse(key, value, allowed)
    if n_items in value:
        refuse(
            key,
            value,
            f"hidden layers only; the layers over the {n_items} items are added by the model",
        )
    return tuple(value)


@dataclass(frozen=True)
class Settings:
    """Checked values of the keys that the files in ``properties/`` describe."""

    mlp_hidden_size: tuple[int, ...]
    latent_dimension: int
    decoder_hidden_size: tuple[int, ...]
    activation: str
    denoising: str
    dropout_prob: float
    noise_std: float
    loss_type: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any], n_items: int) -> Settings:
        """Read and check.

        Args:
            config: RecBole's ``Config``, or a dict.
            n_items: size of the catalogue.

        Raises:
            ValueError: a value is not allowed.
        """
        hidden = sizes("mlp_hidden_size", config["mlp_hidden_size"], n_items)
        decoder = config["decoder_hidden_size"]
        return cls(
            mlp_hidden_size=hidden,
            latent_dimension=integer("latent_dimension", config["latent_dimension"], 1),
            decoder_hidden_size=hidden[::-1]
            if decoder is None
            else sizes("decoder_hidden_size", decoder, n_items),
            activation=one_of("activation", config["activation"], ACTIVATIONS),
            denoising=one_of("denoising", config["denoising"], DENOISING),
            dropout_prob=number("dropout_prob", config["dropout_prob"], 0, below=1),
            noise_std=number("noise_std", config["noise_std"], 0),
            loss_type=one_of("loss_type", config["loss_type"], LOG_PARTITIONS),
        )


@dataclass(frozen=True)
class KLSettings:
    """Checked values of the keys that only the variational heads have."""

    anneal_cap: float
    total_anneal_steps: int
    kl_reduction: str

    #: With `total_anneal_steps: ~`, beta reaches its cap after this many epochs: early
    #: enough that RecBole's early stopping (ten evaluations) cannot end a run before.
    ANNEAL_EPOCHS = 10

    @classmethod
    def from_config(cls, config: Mapping[str, Any], steps_per_epoch: int) -> KLSettings:
        """Read and check; see :meth:`Settings.from_config`.

        Args:
            config: RecBole's ``Config``, or a dict.
            steps_per_epoch: optimiser steps in an epoch, at least 1.

        Raises:
            ValueError: a value is not allowed.
        """
        cap = number("anneal_cap", config["anneal_cap"], 0)
        total = config["total_anneal_steps"]
        if total is None:
            total = round(cls.ANNEAL_EPOCHS * steps_per_epoch / cap) if cap else 0
        return cls(
            anneal_cap=cap,
            total_anneal_steps=integer("total_anneal_steps", total, 0),
            kl_reduction=one_of("kl_reduction", config["kl_reduction"], KL_REDUCTIONS),
        )
