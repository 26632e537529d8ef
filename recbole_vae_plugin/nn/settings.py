"""The keys of the models: what they choose, and those of the components that can be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from recbole_vae_plugin.nn import ease  # noqa: F401  registers the linear branch
from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.encoders import ENCODERS
from recbole_vae_plugin.nn.heads import HEADS
from recbole_vae_plugin.nn.layers import ACTIVATIONS
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS
from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES, NO_BRANCH
from recbole_vae_plugin.nn.priors import PRIORS
from recbole_vae_plugin.settings.keys import Key, checked, keys_of, read, setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import (
    Integer,
    Number,
    OneOf,
    OneOfOrNone,
    Optional,
    Sizes,
    refuse,
    sizes,
)

#: Kinds of components whose keys belong to the network's settings.
PARTS: tuple[Registry, ...] = (ENCODERS, DENOISING, LIKELIHOODS)


@dataclass(frozen=True)
class Settings:
    """Checked values of the keys that describe a network.

    Attributes:
        head: name of the head; the model's, no key.
        components: key -> checked value, for each key of the components that can be chosen.
    """

    encoder: str = setting(
        "mlp",
        OneOf(ENCODERS),
        "Layers of the encoder: one after the other; each adding up all before, with layer normalisation "
        "(RecVAE); or with gates (Kim & Suh 2019)",
    )
    mlp_hidden_size: tuple[int, ...] = setting((600,), Sizes(), "The hidden layers of the encoder.")
    latent_dimension: int = setting(200, Integer(1), "The size of the code z itself, whatever the head.")
    decoder_hidden_size: tuple[int, ...] | None = setting(
        None,
        Optional(Sizes()),
        "The hidden layers of the decoder; ~: the encoder's, mirrored; []: none.",
    )
    activation: str = setting("tanh", OneOf(ACTIVATIONS), "Activation of the hidden layers")
    denoising: str = setting("dropout", OneOf(DENOISING), "Noise on the input while training")
    loss_type: str = setting("CE", OneOf(LIKELIHOODS), "Reconstruction likelihood over all items")
    ema_decay: float = setting(
        0.0,
        Number(0, below=1),
        "Weights averaged over the steps are scored and saved: average = decay * average + (1 - decay) * "
        "weights; 0: the last weights.",
    )
    linear_branch: str = setting(
        NO_BRANCH,
        OneOfOrNone(LINEAR_BRANCHES),
        "A linear item-item model whose scores are added, in closed form from the training data (EASE)",
    )
    head: str = ""
    components: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def every_key(cls, head: str) -> list[Key]:
        """Every key of a network with that head."""
        own_keys = HEADS.settings_of(head)
        parts = [key for registry in PARTS for key in registry.all_keys()]
        return [*keys_of(cls), *parts, *(keys_of(own_keys) if own_keys else [])]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], head: str, n_items: int | None = None) -> Settings:
        """Read and check.

        Args:
            config: RecBole's ``Config``, or a dict.
            head: name of the model's head.
            n_items: size of the catalogue, where it is known already.

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
            sizes("decoder_hidden_size", config["decoder_hidden_size"], output=n_items)
        branch = values["linear_branch"]
        if branch != NO_BRANCH and n_items is not None:
            LINEAR_BRANCHES[branch].check_catalogue(n_items)
        components = {}
        for registry in PARTS:
            components |= registry.check(config, values[registry.key])
        own_keys = HEADS.settings_of(head)
        for key in keys_of(own_keys) if own_keys else ():
            components[key.name] = checked(key, config)
        return cls(**values, head=head, components=components)

    def as_dict(self) -> dict[str, Any]:
        """Key -> value, with the keys of the components, without the head."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        del own["head"], own["components"]
        return own | dict(self.components)


@dataclass(frozen=True)
class KLSettings:
    """Checked values of the keys that only the variational heads have."""

    anneal_cap: float = setting(0.2, Number(0), "The largest weight of the KL term.")
    total_anneal_steps: int | None = setting(
        None,
        Optional(Integer(0)),
        "Weight of the KL term = min(anneal_cap, updates / total_anneal_steps); 0: always anneal_cap; ~: "
        "such that the cap is reached after 10 epochs.",
    )
    kl_reduction: str = setting("mean", OneOf(("mean", "sum")), "KL term over the users of a batch")
    kl_weighting: str = setting(
        "none",
        OneOf(("none", "profile_length")),
        "'profile_length': the KL term of each user times the length of the user's history (RecVAE)",
    )
    prior: str = setting(
        "standard",
        OneOf(PRIORS),
        "What codes are expected to look like: N(0, 1), a mixture with the codes of an earlier encoder "
        "(RecVAE), or a mixture of the codes of learnt histories (VampPrior)",
    )
    alternating_updates: tuple[int, ...] | None = setting(
        None,
        Optional(Sizes()),
        "How often an epoch trains the encoder and then the decoder, which sees no input noise, such as "
        "[3, 1] (RecVAE); ~: both together, once.",
    )

    #: With `total_anneal_steps: ~`, beta reaches its cap after this many epochs: early
    #: enough that RecBole's early stopping (ten evaluations) cannot end a run before.
    ANNEAL_EPOCHS = 10

    @classmethod
    def every_key(cls) -> list[Key]:
        """Every key of a variational model that others do not have."""
        return [*keys_of(cls), *PRIORS.all_keys()]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> KLSettings:
        """Read and check; see :meth:`Settings.from_config`."""
        settings = read(cls, config)
        updates = settings.alternating_updates
        if updates is not None and len(updates) != 2:
            refuse("alternating_updates", list(updates), "~, or two numbers such as [3, 1]")
        PRIORS.check(config, settings.prior)
        return settings

    def anneal_steps(self, steps_per_epoch: int) -> int:
        """Steps until the KL term would have weight 1, see ``nn.kl.linear_annealing``.

        Args:
            steps_per_epoch: optimiser steps in which each user comes by once.
        """
        if self.total_anneal_steps is not None:
            return self.total_anneal_steps
        steps_per_epoch *= sum(self.alternating_updates or (1,))
        return int(self.ANNEAL_EPOCHS * steps_per_epoch / self.anneal_cap) if self.anneal_cap else 0
