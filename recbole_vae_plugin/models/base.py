"""What every model of the family is to RecBole: loss, scores and codes of users."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_vae_plugin.integration.data import interactions_of
from recbole_vae_plugin.integration.held_out import with_fold_in
from recbole_vae_plugin.models.network import network_of
from recbole_vae_plugin.models.settings import KLSettings, Settings
from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.kl import kl_divergence, linear_annealing
from recbole_vae_plugin.nn.likelihoods import reconstruction_loss
from recbole_vae_plugin.nn.monitor import Monitor
from recbole_vae_plugin.nn.sampled_softmax import sampled_multinomial_loss


class AutoEncoderRecommender(GeneralRecommender):
    """An autoencoder over users' training histories; a subclass names its head.

    Ids are RecBole's internal ones. Item 0, RecBole's padding, keeps its column: it is one
    more item that nobody has.

    Args:
        config: RecBole's ``Config``.
        dataset: the training part of a RecBole data set, whose interactions are the histories.
            Held-out users are scored from the fold-in that it may carry.

    Raises:
        ValueError: a key has a value that is not allowed.
    """

    input_type = InputType.POINTWISE
    head: ClassVar[type[nn.Module]]

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        settings = Settings.from_config(config, self.n_items)
        self.loss_type = settings.loss_type
        self.sampled_items = settings.sampled_items
        self.monitor = Monitor()
        #: users in the step's batch where several processes share it, else None
        self.joint_users: int | None = None
        self.interactions = Interactions(
            dataset.inter_feat[self.USER_ID],
            dataset.inter_feat[self.ITEM_ID],
            self.n_users,
            self.n_items,
        )
        scored = with_fold_in(dataset)
        #: what users are scored from: their interactions, or their fold-in if they are held out
        self.histories = self.interactions if scored is dataset else interactions_of(scored)
        self.network = network_of(settings, self.head, self.n_items)

    @classmethod
    def check(cls, config) -> None:
        """Refuse bad values before any data is loaded.

        Raises:
            ValueError: a key of the model has a value that is not allowed.
        """
        Settings.from_config(config)

    def calculate_loss(self, interaction) -> Tensor:
        """The loss of a batch of users, shape ``[]``: reconstruction in nats, a mean over users."""
        rows = self.interactions.rows(interaction[self.USER_ID])
        code = self.network.encode(rows)
        output = self.network.output
        hidden = self.network.decode(code)
        if self.sampled_items:
            loss = sampled_multinomial_loss(hidden, output.weight, output.bias, rows, self.sampled_items)
        else:
            loss = reconstruction_loss(hidden, output.weight, output.bias, rows, self.loss_type)
        return loss + self.penalty(code, loss)

    def penalty(self, code: Code, reconstruction: Tensor) -> Tensor | float:
        """What the loss adds for the batch's codes; nothing for a deterministic head."""
        self.watch(code, reconstruction=reconstruction)
        return 0.0

    def watch(self, code: Code, **means: Tensor) -> None:
        """Note a training batch for :meth:`monitored`."""
        if self.training:
            self.monitor.add(len(code.mu), code, **means)

    def monitored(self) -> dict[str, float]:
        """Means over the users trained on since the last call: ``reconstruction`` in nats, and for
        a variational head ``kl`` in nats, the present ``beta`` and the number of ``active_units``."""
        return self.monitor.flush()

    def full_sort_predict(self, interaction) -> Tensor:
        """Scores of all items for B users: ``[B * n_items]``, as RecBole wants them."""
        scores, _ = self.network(self.histories.rows(interaction[self.USER_ID]))
        return scores.flatten()

    def predict(self, interaction) -> Tensor:
        """Scores of N (user, item) pairs: ``[N]``. Each distinct user is encoded once."""
        users, pair_user = interaction[self.USER_ID].unique(return_inverse=True)
        hidden = self.network.decode(self.network.encode(self.histories.rows(users)))
        return self.network.output(hidden[pair_user], interaction[self.ITEM_ID])

    @torch.no_grad()
    def get_codes(self, users: Tensor) -> Code:
        """The codes of users' histories, without noise, whether the model is training or not.

        Args:
            users: int64 ``[B]``, internal user ids, on the model's device.

        Returns:
            A named tuple of ``mu`` and ``logvar``, each ``[B, latent_dimension]``;
            ``logvar`` is ``None`` for a deterministic head.
        """
        training = self.training
        self.eval()
        code = self.network.encode(self.histories.rows(users))
        self.train(training)
        return code


class VariationalRecommender(AutoEncoderRecommender):
    """Adds the KL term, its weight beta annealed over the optimiser steps.

    The step counter is a buffer: checkpoints carry it, a resumed run goes on from it.
    """

    n_updates: Tensor

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        users = (self.interactions.offsets.diff() > 0).sum().item()
        steps_per_epoch = max(1, math.ceil(users / config["train_batch_size"]))
        self.kl = KLSettings.from_config(config, steps_per_epoch)
        self.register_buffer("n_updates", torch.zeros((), dtype=torch.int64))

    @classmethod
    def check(cls, config) -> None:
        super().check(config)
        KLSettings.from_config(config)

    @property
    def beta(self) -> Tensor:
        """The present weight of the KL term, shape ``[]``."""
        return linear_annealing(self.n_updates, self.kl.total_anneal_steps, self.kl.anneal_cap)

    def penalty(self, code: Code, reconstruction: Tensor) -> Tensor:
        """beta x KL(q(z|x) || N(0, 1)), averaged or added up over users (`kl_reduction`)."""
        if self.training:
            self.n_updates += 1
        kl = kl_divergence(code.mu, code.logvar)
        self.watch(code, reconstruction=reconstruction, kl=kl.mean())
        if self.kl.kl_reduction == "mean":
            return self.beta * kl.mean()
        return self.beta * kl.mean() * (self.joint_users or len(kl))

    def monitored(self) -> dict[str, float]:
        return super().monitored() | {"beta": float(self.beta)}
