"""The base classes of the models: RecBole's interface to loss, scores and posteriors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_vae_plugin.integration.config.from_data import set_from_data
from recbole_vae_plugin.integration.data.held_out import with_fold_in
from recbole_vae_plugin.integration.data.identity import differences, identity, refuse_other_data
from recbole_vae_plugin.integration.data.loaders import interactions_of
from recbole_vae_plugin.nn.closed_form import DECODERS, ClosedForm
from recbole_vae_plugin.nn.heads import HEADS, Posterior
from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.nn.kl import linear_annealing
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS, Likelihood, reconstruction_loss
from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES
from recbole_vae_plugin.nn.monitor import Monitor
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.nn.priors import PRIORS, Prior
from recbole_vae_plugin.nn.sampled_softmax import sampled_multinomial_loss
from recbole_vae_plugin.nn.settings import KLSettings, Settings
from recbole_vae_plugin.settings.declaration import Config, Key, keys_of, setting
from recbole_vae_plugin.settings.validation import CheckedByRecBole, refuse


@dataclass(frozen=True)
class RunDefaults:
    """RecBole's own keys that have other defaults here, because these models train on users."""

    train_batch_size: int | None = setting(
        None,
        CheckedByRecBole("int"),
        "The number of users in a training batch; ~: 1 / 25 of the users, between 250 and 500.",
    )
    epochs: int | None = setting(
        None,
        CheckedByRecBole("int"),
        "The maximum number of training epochs; ~: as many as 6,000 steps take.",
    )
    eval_step: int | None = setting(
        None, CheckedByRecBole("int"), "The number of epochs between two validations; ~: those in 50 steps."
    )
    stopping_step: int | None = setting(
        None,
        CheckedByRecBole("int"),
        "The number of validations without improvement that are tolerated; ~: those in 400 steps, at "
        "least two.",
    )
    eval_batch_size: int = setting(
        4096,
        CheckedByRecBole("int"),
        "The maximum number of users scored at once in evaluation; fewer if the catalogue is large.",
    )
    train_neg_sample_args: dict | None = setting(
        None,
        CheckedByRecBole("dict"),
        "Not used: every item outside a user's history counts as a negative.",
    )
    enable_amp: bool | None = setting(
        None,
        CheckedByRecBole("bool"),
        "Mixed precision during training; ~: bfloat16 if the processor supports it.",
    )


class AutoEncoderRecommender(GeneralRecommender):
    """An autoencoder over users' training histories; a subclass names its head.

    Ids are RecBole's internal ones. Item 0, RecBole's padding, has a column like any other item, but
    is in no history.

    Args:
        config: RecBole's ``Config``.
        dataset: the training part of a RecBole data set; its interactions are the histories.
            Held-out users are scored from its fold-in, if it has one.

    Raises:
        ValueError: a key has a value that is not allowed.
    """

    input_type = InputType.POINTWISE
    head: ClassVar[type[nn.Module]]

    def __init__(self, config: Config, dataset: Any) -> None:
        super().__init__(config, dataset)
        set_from_data(config, dataset)
        settings = self.settings_of(config, self.n_items)
        self.likelihood: Likelihood = LIKELIHOODS.build(settings.loss_type, settings.components)
        self.sampled_items = settings.components["sampled_items"]
        #: those of the linear branch; ``None`` without one
        self.linear_settings: Any = LINEAR_BRANCHES.read(settings.linear_branch, config)
        self.monitor = Monitor()
        #: the number of users in the batch if several processes share it, otherwise None
        self.joint_users: int | None = None
        #: whether the batch has users of this process; otherwise its loss has weight 0
        self.has_users = True
        self.interactions = Interactions(
            dataset.inter_feat[self.USER_ID],
            dataset.inter_feat[self.ITEM_ID],
            self.n_users,
            self.n_items,
        )
        #: the original ids, in the order of the internal ones
        self.items, self.users = (
            [str(name) for name in dataset.field2id_token[field]] for field in (self.ITEM_ID, self.USER_ID)
        )
        scored = with_fold_in(dataset)
        #: the histories that users are scored from: the training part, or the fold-in of held-out users
        self.histories = self.interactions if scored is dataset else interactions_of(scored)
        self.network = build_network(settings, self.n_items)
        users = int((self.interactions.offsets.diff() > 0).sum())
        #: solves the decoder; ``None`` if it is trained by gradients
        self.closed_form: ClosedForm | None = DECODERS.build(
            settings.decoder, settings.components, self.n_items, users, settings.latent_dimension
        )

    @cached_property
    def data_identity(self) -> Tensor:
        """The identity of the training data; see :mod:`recbole_vae_plugin.integration.data.identity`."""
        return identity(self.items, self.users, self.interactions)

    def get_extra_state(self) -> Tensor:
        """The identity of the training data, which ``state_dict`` includes."""
        return self.data_identity

    def set_extra_state(self, state: Tensor | None) -> None:
        """Compare the training data with those of the weights being loaded.

        Args:
            state: the identity of the data that the weights were trained on; ``None`` before version 0.2.

        Raises:
            ValueError: the weights were trained on other data.
        """
        differing = [] if state is None else differences(state, self.data_identity)
        refuse_other_data(differing, ", or serve them for new users: recbole-vae bundle")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        state_dict.setdefault(f"{prefix}_extra_state", None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @classmethod
    def settings_of(cls, config: Config, n_items: int | None = None) -> Settings:
        """The checked settings of the network; see :meth:`Settings.from_config`."""
        return Settings.from_config(config, HEADS.name_of(cls.head), n_items)

    @classmethod
    def every_key(cls) -> list[Key]:
        """Every key of the model, with its default, its check and its help text."""
        return [
            *Settings.every_key(HEADS.name_of(cls.head)),
            *keys_of(RunDefaults),
        ]

    @classmethod
    def check(cls, config: Config) -> None:
        """Check the values of all keys of the model, before any data is loaded.

        Raises:
            ValueError: a value is not allowed.
        """
        cls.settings_of(config)

    def fit_linear_branch(self) -> None:
        """Fit the linear branch, if there is one. Training the rest neither reads nor changes it.

        Raises:
            ValueError: `linear_reg_weight` is too small.
        """
        linear, settings = self.network.linear, self.linear_settings
        if linear is None:
            return
        linear.fit(self.interactions, settings)
        if settings.weight is not None:
            linear.weight.fill_(settings.weight)

    def calculate_loss(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The loss of a batch of users, shape ``[]``: in nats, averaged over users."""
        rows = self.interactions.rows(interaction[self.USER_ID])
        posterior = self.network.encode(rows)
        output = self.network.output
        z = self.network.latent(posterior)
        if self.closed_form is not None:
            batch = self.closed_form.encoded(posterior, rows)
            loss = self.closed_form.loss(batch)
            if self.training:
                self.closed_form.add(batch if self.has_users else None)
            return loss + self.penalty(posterior, z, loss, rows)
        hidden = self.network.decode(z)
        if self.sampled_items:
            loss = sampled_multinomial_loss(hidden, output.weight, output.bias, rows, self.sampled_items)
        else:
            loss = reconstruction_loss(hidden, output.weight, output.bias, rows, self.likelihood)
        return loss + self.penalty(posterior, z, loss, rows)

    def penalty(self, posterior: Posterior, z: Tensor, reconstruction: Tensor, rows: Rows) -> Tensor | float:
        """The regularisation term of the loss; 0 for a deterministic head."""
        self.watch(posterior, reconstruction=reconstruction)
        return 0.0

    @property
    def phases(self) -> list[tuple[str | None, int]]:
        """The phases of an epoch: the part of the network to train, and the number of passes over the users.

        The part is ``encoder``, ``decoder``, or ``None`` for all of it.
        """
        return [(None, 1)]

    def end_phase(self, part: str | None) -> None:
        """Called at the end of a phase of an epoch."""
        if self.closed_form is not None:
            self.closed_form.write_to(self.network.output)

    def watch(self, posterior: Posterior, **means: Tensor) -> None:
        """Add a training batch to the statistics of :meth:`monitored`."""
        if self.training:
            self.monitor.add(len(posterior.mu), posterior, **means)

    def monitored(self) -> dict[str, float]:
        """Means over the users trained on since the last call.

        ``reconstruction`` in nats and, for a variational head, ``kl`` in nats, the current ``beta`` and the
        number of ``active_units``.
        """
        return self.monitor.flush()

    def full_sort_predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The scores of all items for B users, in RecBole's format: ``[B * n_items]``."""
        scores, _ = self.network(self.histories.rows(interaction[self.USER_ID]))
        return scores.flatten()

    def predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """The scores of N (user, item) pairs: ``[N]``. Each distinct user is encoded once."""
        users, pair_user = interaction[self.USER_ID].unique(return_inverse=True)
        rows, items = self.histories.rows(users), interaction[self.ITEM_ID]
        hidden = self.network.decode(self.network.latent(self.network.encode(rows)))
        scores = self.network.output(hidden[pair_user], items)
        linear = self.network.linear
        return scores if linear is None else scores + linear(rows)[pair_user, items]

    @torch.no_grad()
    def encode_users(self, users: Tensor) -> Posterior:
        """The posteriors of users, from their histories without noise, in training mode, too.

        Args:
            users: int64 ``[B]``, internal user ids, on the model's device.

        Returns:
            A named tuple of ``mu`` and ``logvar``, each ``[B, latent_dimension]``;
            ``logvar`` is ``None`` for a deterministic head.
        """
        training = self.training
        self.eval()
        try:
            return self.network.encode(self.histories.rows(users))
        finally:
            self.train(training)

    def get_codes(self, users: Tensor) -> Posterior:
        """The former name of :meth:`encode_users`."""
        warnings.warn("get_codes has been renamed to encode_users", FutureWarning, stacklevel=2)
        return self.encode_users(users)


class VariationalRecommender(AutoEncoderRecommender):
    """Adds the KL term, with a weight beta that is annealed over the optimiser steps.

    The step counter is a buffer: it is saved in checkpoints, and a resumed run continues from it.
    """

    n_updates: Tensor

    def __init__(self, config: Config, dataset: Any) -> None:
        super().__init__(config, dataset)
        users = (self.interactions.offsets.diff() > 0).sum().item()
        self.kl = KLSettings.from_config(config)
        self.anneal_steps = self.kl.anneal_steps(max(1, math.ceil(users / config["train_batch_size"])))
        self.prior: Prior = PRIORS.build(self.kl.prior, config, self.network)
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))

    @classmethod
    def every_key(cls) -> list[Key]:
        return [*super().every_key(), *KLSettings.every_key()]

    @classmethod
    def check(cls, config: Config) -> None:
        super().check(config)
        updates = KLSettings.from_config(config).alternating_updates
        if updates is not None and cls.settings_of(config).decoder == "closed_form":
            refuse("alternating_updates", list(updates), "~ with decoder closed_form")

    @property
    def beta(self) -> Tensor:
        """The current weight of the KL term, shape ``[]``."""
        return linear_annealing(self.n_updates, self.anneal_steps, self.kl.anneal_cap)

    @property
    def phases(self) -> list[tuple[str | None, int]]:
        if self.kl.alternating_updates is None:
            return super().phases
        return list(zip(("encoder", "decoder"), self.kl.alternating_updates))

    def end_phase(self, part: str | None) -> None:
        super().end_phase(part)
        if part != "decoder":
            self.prior.end_of_encoder_updates(self.network)

    def penalty(self, posterior: Posterior, z: Tensor, reconstruction: Tensor, rows: Rows) -> Tensor:
        """beta x KL(q(z|x) || p(z)) with the `prior` p, averaged or summed over users (`kl_reduction`).

        With `kl_weighting: profile_length` each user's term is multiplied by the length of their history;
        beta is then the gamma of RecVAE (Shenbin et al., WSDM 2020).
        """
        if self.training:
            self.n_updates += 1
        kl = self.prior.kl(z, posterior, rows, self.network)
        self.watch(posterior, reconstruction=reconstruction, kl=kl.mean())
        if self.kl.kl_weighting == "profile_length":
            kl = kl * rows.counts
        if self.kl.kl_reduction == "mean":
            return self.beta * kl.mean()
        return self.beta * kl.mean() * (self.joint_users or len(kl))

    def monitored(self) -> dict[str, float]:
        return super().monitored() | {"beta": float(self.beta)}
