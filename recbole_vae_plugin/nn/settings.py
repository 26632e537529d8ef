"""The keys of the models: read from RecBole's config and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.ease import MOST_ITEMS
from recbole_vae_plugin.nn.encoders import ENCODERS
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS
from recbole_vae_plugin.nn.priors import PRIORS
from recbole_vae_plugin.settings.validation import integer, number, one_of, refuse, sizes

KL_REDUCTIONS = ("mean", "sum")
KL_WEIGHTINGS = ("none", "profile_length")
LINEAR_BRANCHES = ("none", "ease")


@dataclass(frozen=True)
class Settings:
    """Checked values of the keys that the files in ``properties/`` describe."""

    encoder: str
    mlp_hidden_size: tuple[int, ...]
    latent_dimension: int
    decoder_hidden_size: tuple[int, ...]
    activation: str
    denoising: str
    dropout_prob: float
    noise_std: float
    loss_type: str
    sampled_items: int
    ema_decay: float
    linear_branch: str

    @classmethod
    def from_config(cls, config: Mapping[str, Any], n_items: int | None = None) -> Settings:
        """Read and check.

        Args:
            config: RecBole's ``Config``, or a dict.
            n_items: size of the catalogue, where it is known already.

        Raises:
            ValueError: a value is not allowed.
        """
        hidden = sizes("mlp_hidden_size", config["mlp_hidden_size"])
        encoder = one_of("encoder", config["encoder"], ENCODERS)
        if encoder == "dense" and len(set(hidden)) != 1:
            refuse(
                "mlp_hidden_size", list(hidden), "with encoder dense, layers of one width, such as [600, 600]"
            )
        decoder = config["decoder_hidden_size"]
        loss_type = one_of("loss_type", config["loss_type"], LIKELIHOODS)
        sampled_items = integer("sampled_items", config["sampled_items"], 0)
        if sampled_items and loss_type != "CE":
            refuse("sampled_items", sampled_items, f"0 with loss_type {loss_type}; others need loss_type CE")
        linear_branch = one_of("linear_branch", config["linear_branch"], LINEAR_BRANCHES)
        if linear_branch != "none" and n_items is not None and n_items > MOST_ITEMS:
            refuse(
                "linear_branch",
                linear_branch,
                f"none with {n_items} items; a matrix of all pairs is made for at most {MOST_ITEMS}",
            )
        return cls(
            encoder=encoder,
            mlp_hidden_size=hidden,
            latent_dimension=integer("latent_dimension", config["latent_dimension"], 1),
            decoder_hidden_size=hidden[::-1]
            if decoder is None
            else sizes("decoder_hidden_size", decoder, n_items),
            activation=one_of("activation", config["activation"], ACTIVATIONS),
            denoising=one_of("denoising", config["denoising"], DENOISING),
            dropout_prob=number("dropout_prob", config["dropout_prob"], 0, below=1),
            noise_std=number("noise_std", config["noise_std"], 0),
            loss_type=loss_type,
            sampled_items=sampled_items,
            ema_decay=number("ema_decay", config["ema_decay"], 0, below=1),
            linear_branch=linear_branch,
        )


@dataclass(frozen=True)
class LinearSettings:
    """Checked values of the keys of the linear branch."""

    reg_weight: float
    dropout_prob: float
    user_power: float
    #: its weight in the scores; ``None``: chosen on validation
    weight: float | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LinearSettings:
        """Read and check; see :meth:`Settings.from_config`."""
        weight = config["linear_weight"]
        return cls(
            reg_weight=number("linear_reg_weight", config["linear_reg_weight"], 0),
            dropout_prob=number("linear_dropout_prob", config["linear_dropout_prob"], 0, below=1),
            user_power=number("linear_user_power", config["linear_user_power"], 0),
            weight=None if weight is None else number("linear_weight", weight, 0),
        )


@dataclass(frozen=True)
class KLSettings:
    """Checked values of the keys that only the variational heads have."""

    anneal_cap: float
    total_anneal_steps: int
    kl_reduction: str
    kl_weighting: str
    prior: str
    prior_components: int
    #: times that an epoch trains the encoder, and the decoder; ``None``: both together
    alternating_updates: tuple[int, int] | None

    #: With `total_anneal_steps: ~`, beta reaches its cap after this many epochs: early
    #: enough that RecBole's early stopping (ten evaluations) cannot end a run before.
    ANNEAL_EPOCHS = 10

    @classmethod
    def from_config(cls, config: Mapping[str, Any], steps_per_epoch: int = 1) -> KLSettings:
        """Read and check; see :meth:`Settings.from_config`.

        Args:
            config: RecBole's ``Config``, or a dict.
            steps_per_epoch: optimiser steps in an epoch.

        Raises:
            ValueError: a value is not allowed.
        """
        cap = number("anneal_cap", config["anneal_cap"], 0)
        alternating = config["alternating_updates"]
        if alternating is not None:
            alternating = sizes("alternating_updates", alternating)
            if len(alternating) != 2:
                refuse("alternating_updates", list(alternating), "~, or two numbers such as [3, 1]")
            steps_per_epoch *= sum(alternating)
        total = config["total_anneal_steps"]
        if total is None:
            total = int(cls.ANNEAL_EPOCHS * steps_per_epoch / cap) if cap else 0
        return cls(
            anneal_cap=cap,
            total_anneal_steps=integer("total_anneal_steps", total, 0),
            kl_reduction=one_of("kl_reduction", config["kl_reduction"], KL_REDUCTIONS),
            kl_weighting=one_of("kl_weighting", config["kl_weighting"], KL_WEIGHTINGS),
            prior=one_of("prior", config["prior"], PRIORS),
            prior_components=integer("prior_components", config["prior_components"], 1),
            alternating_updates=alternating,
        )
