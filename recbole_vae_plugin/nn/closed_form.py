"""A linear decoder in closed form, for squared error: the `decoder` axis.

With latent z ~ N(mu, diag(sigma^2)), z~ = (z, 1) and scores s = W~ z~, the expected squared error of a
history x of zeros and ones is::

    1/2 E |x - s|^2 = 1/2 (mu~' G mu~ + sum_j G_jj sigma_j^2 + |x|) - sum_{i in x} w~_i' mu~,  G = W~' W~.

G is small, so that neither the error nor its gradient in mu and sigma needs the scores of all items (Vincent
et al. 2015, 1412.7091), nor a sample of z. The best W~ for given latent representations is a ridge regression
of histories on them (as each half of iALS, Hu et al. 2008, but with user factors from an encoder)::

    W~ = S A^-1,   S = sum x E[z~]',   A = sum E[z~ z~'] + ridge I.

S and A are sums over users, kept while training with exponential forgetting, because the encoder that
computes z changes. With T = S'S, which the same users update, G = A^-1 T A^-1: a step costs
``O(|x| d + d^2)`` a user and O(d^3) a solution, whatever the size of the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.kl import at_least_float32
from recbole_vae_plugin.nn.layers import OutputLayer
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Integer, Number, Refused

#: Name -> callable of the number of items, the number of users with a history, the latent dimension, and its
#: own settings, that returns a :class:`ClosedForm`, or ``None`` for gradient steps.
DECODERS: Registry[Callable[..., Any]] = Registry("decoder", key="decoder")
register_decoder = DECODERS.register

#: The sums are rescaled when the weight of a new user has grown beyond it.
MAX_UNIT = 1e6
#: The number of rows of W to compute at once.
CHUNK_SIZE = 2**14


@register_decoder("gradient")
def by_gradient(n_items: int, n_users: int, latent_dimension: int) -> None:
    """The weights of the decoder are trained by the optimizer, like all others."""
    return None


class EncodedBatch(NamedTuple):
    """A batch of B users with their latent representations.

    Attributes:
        rows: their histories; every entry counts as 1.
        mean: E[z~], float32 ``[B, d + 1]``; the last column is 1.
        variance: float32 ``[B, d]``; ``None`` for a deterministic head.
        own: the sum of S over the items of each history, ``[B, d + 1]``.
    """

    rows: Rows
    mean: Tensor
    variance: Tensor | None
    own: Tensor

    def detached(self) -> EncodedBatch:
        """The same batch without gradients."""
        variance = None if self.variance is None else self.variance.detach()
        return self._replace(mean=self.mean.detach(), variance=variance)

    def to(self, device: torch.device | str) -> EncodedBatch:
        """The same batch on a device."""
        variance = None if self.variance is None else self.variance.to(device)
        return EncodedBatch(self.rows.to(device), self.mean.to(device), variance, self.own.to(device))


@register_decoder("closed_form")
class ClosedForm(nn.Module):
    """The sums of which the decoder is the solution, and the loss at that solution.

    The sums are buffers, so that checkpoints include them. Instead of the weight of old users shrinking, that
    of new users grows, which touches no sum; only ratios of sums matter.

    Args:
        n_items: size of the catalogue.
        n_users: users with a history.
        latent_dimension: d.
        ridge: on the scale of a sum over all users.
        memory: after this many passes over the users a latent representation weighs 1/e.
        interval: steps between solutions.

    Attributes:
        histories: S, float32 ``[n_items, d + 1]``.
        latents: A without the ridge, float64 ``[d + 1, d + 1]``.
        gram: T = S'S, float64 ``[d + 1, d + 1]``.
        inverse: A^-1 of averages instead of sums, as last solved, float64 ``[d + 1, d + 1]``.
        mass: the sum of users' weights, float64 ``[]``.
        unit: the weight of the next user, float64 ``[]``.
        steps: batches so far, int64 ``[]``.
        gather: makes the batches of all ranks, a list for each step, from those of this one.
    """

    histories: Tensor
    latents: Tensor
    gram: Tensor
    inverse: Tensor
    mass: Tensor
    unit: Tensor
    steps: Tensor

    @dataclass(frozen=True)
    class Settings:
        """The keys of the decoder in closed form."""

        ridge: float = setting(
            200.0,
            Number(0),
            "With 'closed_form': the L2 regularisation of the decoder, on the scale of the number of users.",
            key="decoder_ridge",
        )
        memory: float = setting(
            2.0,
            # the weight of a new user grows by exp(1 / memory) in an epoch, which float32 must hold
            Number(0.1),
            "With 'closed_form': the number of epochs after which a user's latent representation weighs 1/e "
            "in the sums that the decoder is solved from.",
            key="decoder_memory",
        )
        interval: int = setting(
            4,
            Integer(1),
            "With 'closed_form': the number of steps after which the decoder is solved again.",
            key="decoder_interval",
        )

    def __init__(
        self,
        n_items: int,
        n_users: int,
        latent_dimension: int,
        ridge: float,
        memory: float,
        interval: int,
    ) -> None:
        super().__init__()
        n_users = max(1, n_users)
        self.ridge = ridge / n_users
        self.remembered_users = memory * n_users
        self.interval = interval
        self.gather: Callable[[list[list[EncodedBatch]]], list[list[EncodedBatch]]] = lambda steps: steps
        width = latent_dimension + 1
        self.register_buffer("histories", torch.zeros(n_items, width))
        for name in ("latents", "gram", "inverse"):
            self.register_buffer(name, torch.zeros(width, width, dtype=torch.float64))
        self.register_buffer("mass", torch.zeros((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._waiting: list[list[EncodedBatch]] = []
        # computed from the buffers
        self._solved: Any = None

    def encoded(self, posterior: Posterior, rows: Rows) -> EncodedBatch:
        """A batch of B users for :meth:`loss` and :meth:`add`, until the decoder is solved again.

        Args:
            posterior: q(z|x), with tensors ``[B, d]``.
            rows: the B histories.
        """
        mu = at_least_float32(posterior.mu)
        mean = torch.cat([mu, mu.new_ones(len(mu), 1)], 1)
        variance = None if posterior.logvar is None else at_least_float32(posterior.logvar).exp()
        return EncodedBatch(rows, mean, variance, rows @ self.histories)

    def loss(self, batch: EncodedBatch) -> Tensor:
        """The expected squared error of the current decoder, as in the module's formula, with factor 1/2.

        Returns:
            A scalar, the mean over users, differentiable in the posterior. No sample is drawn.
        """
        mean, variance = batch.mean, batch.variance
        with torch.autocast(mean.device.type, enabled=False):
            G, to_weight = self._solution(mean.dtype)
            squares = ((mean @ G) * mean).sum(-1) + batch.rows.counts
            if variance is not None:
                squares = squares + variance @ G.diagonal()[:-1]
            products = ((batch.own.to(mean.dtype) @ to_weight) * mean).sum(-1)
            return (0.5 * squares - products).mean()

    def _solution(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """G and A^-1, as last solved; W~ is S A^-1."""
        if self._solved is None:
            to_weight = self.inverse / self.mass.clamp(min=1e-9)
            self._solved = tuple(each.to(dtype) for each in (to_weight @ self.gram @ to_weight, to_weight))
        return self._solved

    @torch.no_grad()
    def add(self, batch: EncodedBatch | None) -> None:
        """Take note of a training batch; solve the decoder if it is time.

        Args:
            batch: ``None`` if none of the users of the step belong to this rank.
        """
        self._waiting.append([] if batch is None else [batch.detached()])
        self.steps += 1
        # the first steps solve each time: the encoder learns nothing before
        if self.steps <= self.interval or self.steps % self.interval == 0:
            self.solve()

    @torch.no_grad()
    def solve(self) -> None:
        """Add the batches since the last solution to the sums, and solve the decoder.

        On several ranks all must call it.
        """
        if self._waiting:
            device = self.histories.device
            steps = self.gather(self._waiting)
            self._waiting = []
            # training calls this under autocast; sums in half precision would be useless
            with torch.autocast(device.type, enabled=False):
                self._add_to_sums([[batch.to(device) for batch in step] for step in steps])
        if self.unit > MAX_UNIT:
            for sums in (self.histories, self.latents, self.mass):
                sums /= self.unit
            self.gram /= self.unit.square()
            self.unit.fill_(1)
        A = self.latents / self.mass
        A.diagonal().add_(self.ridge)
        factor, problem = torch.linalg.cholesky_ex(A)
        if problem:
            raise Refused(
                "decoder_ridge is too small: the latent representations' Gram matrix cannot be inverted"
            )
        self.inverse.copy_(torch.cholesky_inverse(factor))
        self._solved = None

    def _add_to_sums(self, steps: Sequence[Sequence[EncodedBatch]]) -> None:
        units = []
        for step in steps:
            users = sum(len(batch.rows) for batch in step)
            units.append(self.unit.repeat(users))
            self.unit *= math.exp(users / self.remembered_users)
        weights = torch.cat(units)
        batches = [batch for step in steps for batch in step]
        rows = Rows.concatenated([batch.rows for batch in batches])
        mean, before = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("mean", "own"))
        weighted = mean * weights[:, None].to(mean.dtype)
        items, by_item = rows.transposed
        self.histories.index_add_(0, items, by_item @ weighted)
        # (S + D)'(S + D) - S'S with D = sum x z~', without a pass over S: D'S + S'D + D'D
        half = (weighted.T @ (before + rows @ self.histories)).double() / 2
        self.gram += half + half.T
        self.latents += (weighted.T @ mean).double()
        if batches[0].variance is not None:
            variance = torch.cat([batch.variance for batch in batches if batch.variance is not None])
            self.latents.diagonal()[:-1] += weights @ variance.double()
        self.mass += weights.sum()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._solved = None
        super()._load_from_state_dict(*args, **kwargs)

    @torch.no_grad()
    def write_to(self, output: OutputLayer) -> None:
        """Solve for the latent representations so far, and write W~ into the output layer, for scoring.

        T is computed anew, so that rounding errors do not add up from epoch to epoch.
        """
        self.solve()
        to_weight = (self.inverse / self.mass).to(self.histories.dtype)
        self.gram.zero_()
        for begin in range(0, len(self.histories), CHUNK_SIZE):
            chunk = slice(begin, begin + CHUNK_SIZE)
            part = self.histories[chunk]
            weights = part @ to_weight
            output.weight[chunk], output.bias[chunk] = weights[:, :-1], weights[:, -1]
            self.gram += (part.T @ part).double()
