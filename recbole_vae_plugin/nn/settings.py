"""The keys of the models: those that select components, and those of the components themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from recbole_vae_plugin.nn import ease, sparse_ease  # noqa: F401  registers the linear branches
from recbole_vae_plugin.nn.closed_form import DECODERS
from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.encoders import ENCODERS
from recbole_vae_plugin.nn.heads import HEADS
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS
from recbole_vae_plugin.nn.linear import AUTO, LINEAR_BRANCHES, NO_BRANCH
from recbole_vae_plugin.nn.priors import PRIORS
from recbole_vae_plugin.settings.declaration import Config, Key, checked, keys_of, read, setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import (
    Integer,
    Number,
    OneOf,
    OneOfOr,
    Optional,
    Sizes,
    refuse,
    sizes,
)

#: The kinds of components whose keys belong to the settings of the network.
COMPONENTS: tuple[Registry[Any], ...] = (ENCODERS, DENOISING, LIKELIHOODS, DECODERS, LINEAR_BRANCHES)


@dataclass(frozen=True)
class Settings:
    """The checked values of the keys that describe a network.

    Attributes:
        head: the name of the head, which is determined by the model and not a key.
        components: key -> checked value, for every key of the components.
    """

    encoder: str = setting(
        "dense",
        OneOf(ENCODERS),
        "Layers of the encoder: stacked; densely connected with layer normalisation (RecVAE); or gated "
        "(Kim & Suh 2019)",
        before="mlp",
    )
    mlp_hidden_size: tuple[int, ...] = setting(
        (600, 600, 600), Sizes(), "The widths of the encoder's hidden layers.", before=(600,)
    )
    latent_dimension: int = setting(200, Integer(1), "The number of dimensions of z.")
    # from_config replaces None by the encoder's widths
    decoder_hidden_size: tuple[int, ...] = setting(
        (),
        Optional(Sizes()),
        "The widths of the decoder's hidden layers; ~: the encoder's, mirrored; []: none.",
        before=None,
    )
    activation: str = setting("silu", OneOf(ACTIVATIONS), "Activation of the hidden layers", before="tanh")
    denoising: str = setting("dropout", OneOf(DENOISING), "Input noise during training")
    loss_type: str = setting("CE", OneOf(LIKELIHOODS), "Reconstruction likelihood over all items")
    decoder: str = setting(
        "gradient",
        OneOf(DECODERS),
        "How the decoder is trained: by gradients; or, with loss_type MSE and decoder_hidden_size [], in "
        "closed form, where the cost of a step does not grow with the catalogue",
    )
    ema_decay: float = setting(
        0.95,
        Number(0, below=1),
        "The decay of an exponential moving average of the weights, which is evaluated and saved in their "
        "place; 0: no average.",
        before=0.0,
    )
    linear_branch: str = setting(
        AUTO,
        OneOfOr(LINEAR_BRANCHES, (AUTO, NO_BRANCH)),
        "A linear item-item model whose scores are added, with a closed-form solution: EASE, or a sparse "
        "one; auto: EASE for up to 20,000 items",
        before=NO_BRANCH,
    )
    head: str = ""
    components: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def every_key(cls, head: str) -> list[Key]:
        """Every key of a network with this head."""
        head_settings = HEADS.settings_of(head)
        component_keys = [key for registry in COMPONENTS for key in registry.all_keys()]
        return [*keys_of(cls), *component_keys, *(keys_of(head_settings) if head_settings else [])]

    @classmethod
    def from_config(cls, config: Config, head: str, n_items: int | None = None) -> Settings:
        """Read the settings from a config, and check them.

        Args:
            config: RecBole's ``Config``, or a dict.
            head: the name of the model's head.
            n_items: the size of the catalogue, if it is already known.

        Raises:
            ValueError: a value is not allowed.
        """
        values = {key.field: checked(key, config) for key in keys_of(cls)}
        hidden, decoder = values["mlp_hidden_size"], values["decoder_hidden_size"]
        check_sizes = getattr(ENCODERS[values["encoder"]], "check_sizes", None)
        if check_sizes is not None:
            check_sizes(hidden)
        if decoder is None:
            values["decoder_hidden_size"] = hidden[::-1]
        else:
            sizes("decoder_hidden_size", list(decoder), output=n_items)
        if values["decoder"] == "closed_form":
            check_closed_form(values, config)
        branch = values["linear_branch"]
        if branch not in (AUTO, NO_BRANCH) and n_items is not None:
            LINEAR_BRANCHES[branch].check_catalogue(n_items)
        components: dict[str, Any] = {}
        for registry in COMPONENTS:
            components |= registry.check(config, values[registry.key])
        head_settings = HEADS.settings_of(head)
        for key in keys_of(head_settings) if head_settings else ():
            components[key.name] = checked(key, config)
        return cls(**values, head=head, components=components)

    def as_dict(self) -> dict[str, Any]:
        """Key -> value, including the keys of the components, but not the head."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        del values["head"], values["components"]
        return values | dict(self.components)


def check_closed_form(values: Mapping[str, Any], config: Config) -> None:
    """Check that the decoder can be solved in closed form.

    Args:
        values: the checked values.
        config: with the values as they were given, for the message.

    Raises:
        ValueError: the likelihood is another, or the decoder has hidden layers.
    """
    if values["loss_type"] != "MSE":
        refuse("loss_type", config["loss_type"], "MSE with decoder closed_form")
    if values["decoder_hidden_size"]:
        refuse("decoder_hidden_size", config["decoder_hidden_size"], "[] with decoder closed_form")


@dataclass(frozen=True)
class KLSettings:
    """The checked values of the keys that only variational models have."""

    # the rule in nn/rules.py replaces None
    anneal_cap: float = setting(
        None,
        Optional(Number(0)),
        "The maximum weight of the KL term; ~: 7e-4 (with MSE 1.6e-4) times the loss of the null model, "
        "whose scores are the same for all users.",
        before=0.2,
    )
    total_anneal_steps: int | None = setting(
        None,
        Optional(Integer(0)),
        "Weight of the KL term = min(anneal_cap, updates / total_anneal_steps); 0: always anneal_cap; ~: the "
        "cap is reached after 10 epochs.",
    )
    kl_reduction: str = setting(
        "mean", OneOf(("mean", "sum")), "Reduction of the KL term over the users of a batch"
    )
    kl_weighting: str = setting(
        "profile_length",
        OneOf(("none", "profile_length")),
        "'profile_length': multiplies each user's KL term by the length of their history (RecVAE)",
        before="none",
    )
    prior: str = setting(
        "standard",
        OneOf(PRIORS),
        "The prior p(z): N(0, 1), a mixture with the posterior of an earlier encoder (RecVAE), or a "
        "mixture of the posteriors of learnt pseudo-inputs (VampPrior)",
    )
    alternating_updates: tuple[int, ...] | None = setting(
        None,
        Optional(Sizes()),
        "The number of passes over the users per epoch that train the encoder, and then the decoder, without "
        "input noise, such as [3, 1] (RecVAE); ~: one pass that trains both.",
    )

    #: With ``total_anneal_steps: ~``, beta reaches its cap after this many epochs, before RecBole's early
    #: stopping (after ten evaluations) can end a run.
    ANNEAL_EPOCHS = 10

    @classmethod
    def every_key(cls) -> list[Key]:
        """Every key that only variational models have."""
        return [*keys_of(cls), *PRIORS.all_keys()]

    @classmethod
    def from_config(cls, config: Config) -> KLSettings:
        """Read the settings from a config, and check them; see :meth:`Settings.from_config`."""
        settings = read(cls, config)
        updates = settings.alternating_updates
        if updates is not None and len(updates) != 2:
            refuse("alternating_updates", list(updates), "~, or two numbers such as [3, 1]")
        PRIORS.check(config, settings.prior)
        return settings

    def anneal_steps(self, steps_per_epoch: int) -> int:
        """The number of steps until the KL term would have weight 1, see ``nn.kl.linear_annealing``.

        Args:
            steps_per_epoch: the number of optimiser steps in a pass over all users.
        """
        if self.total_anneal_steps is not None:
            return self.total_anneal_steps
        steps_per_epoch *= sum(self.alternating_updates or (1,))
        return int(self.ANNEAL_EPOCHS * steps_per_epoch / self.anneal_cap) if self.anneal_cap else 0
