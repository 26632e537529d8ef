"""A linear decoder in closed form, for squared error: the `decoder` axis.

With codes z ~ N(mu, diag(sigma^2)), z~ = (z, 1) and scores s = W~ z~, the expected squared error of a history x
of zeros and ones is

    1/2 E |x - s|^2 = 1/2 (mu~' G mu~ + sum_j G_jj sigma_j^2 + |x|) - sum_{i in x} w~_i' mu~,   G = W~' W~.

G is small, so that neither the error nor its gradient in mu and sigma needs the scores of all items (Vincent et
al. 2015, 1412.7091), nor a sample of z. The best W~ for given codes is a ridge regression of histories on codes:

    W~ = S A^-1,   S = sum x E[z~]',   A = sum E[z~ z~'] + ridge I.

S and A are sums over users, kept while training with exponential forgetting, because the encoder that
computes the codes changes. With T = S'S, which the same users update, G = A^-1 T A^-1: a step costs
O(|x| d + d^2) a user, whatever the size of the catalogue.
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
from recbole_vae_plugin.settings.validation import Integer, Number

#: Name -> callable that is built from the number of items, the number of users with a history, the latent
#: dimension, and its own settings, and returns a :class:`ClosedForm`, or ``None`` for gradient steps.
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


class Coded(NamedTuple):
    """A batch of B users whose codes are not in the sums yet.

    Attributes:
        rows: their histories.
        mean: E[z~], float32 ``[B, d + 1]``; the last column is 1.
        variance: float32 ``[B, d]``; ``None`` for a deterministic head.
    """

    rows: Rows
    mean: Tensor
    variance: Tensor | None


@register_decoder("closed_form")
class ClosedForm(nn.Module):
    """The sums of which the decoder is the solution, and the loss at that solution.

    The sums are buffers, so that checkpoints include them. Instead of old users' weight shrinking, that of new
    users grows, which touches no sum; only ratios of sums count.

    Args:
        n_items: size of the catalogue.
        n_users: users with a history.
        latent_dimension: d.
        ridge: on the scale of a sum over all users.
        memory: after this many passes over the users a code weighs 1/e.
        interval: steps between solutions.

    Attributes:
        histories: S, float32 ``[n_items, d + 1]``.
        codes: A without the ridge, float64 ``[d + 1, d + 1]``.
        gram: T = S'S, float64 ``[d + 1, d + 1]``.
        inverse: A^-1 of averages instead of sums, as last solved, float64 ``[d + 1, d + 1]``.
        mass: the sum of users' weights, float64 ``[]``.
        unit: the weight of the next user, float64 ``[]``.
        steps: batches so far, int64 ``[]``.
        gather: makes the batches of all ranks from those of this one.
    """

    histories: Tensor
    codes: Tensor
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
            Number(0.01),
            "With 'closed_form': the number of epochs after which a user's code has fallen to a weight of 1/e "
            "in the sums that the decoder is solved from.",
            key="decoder_memory",
        )
        interval: int = setting(
            4,
            Integer(1),
            "With 'closed_form': the decoder is solved every so many steps.",
            key="decoder_interval",
        )

    def __init__(
        self, n_items: int, n_users: int, latent_dimension: int, ridge: float, memory: float, interval: int
    ) -> None:
        super().__init__()
        self.ridge = ridge / max(1, n_users)
        self.remembered_users = memory * max(1, n_users)
        self.interval = interval
        self.gather: Callable[[list[Coded]], list[Coded]] = lambda batches: batches
        width = latent_dimension + 1
        self.register_buffer("histories", torch.zeros(n_items, width))
        for name in ("codes", "gram", "inverse"):
            self.register_buffer(name, torch.zeros(width, width, dtype=torch.float64))
        self.register_buffer("mass", torch.zeros((), dtype=torch.float64))
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._waiting: list[Coded] = []

    def loss(self, posterior: Posterior, rows: Rows) -> Tensor:
        """The expected squared error of the current decoder, as in the module's formula, with factor 1/2.

        Args:
            posterior: q(z|x), with tensors ``[B, d]``.
            rows: the B histories; every entry counts as 1.

        Returns:
            A scalar, the mean over users, differentiable in the posterior. No sample is drawn.
        """
        mean, variance = moments(posterior)
        with torch.autocast(mean.device.type, enabled=False):
            G = self.weight_gram.to(mean.dtype)
            to_weight = (self.inverse / self.mass.clamp(min=1e-30)).to(mean.dtype)
            own = (rows @ self.histories).to(mean.dtype) @ to_weight
            squares = ((mean @ G) * mean).sum(-1) + rows.counts
            if variance is not None:
                squares = squares + variance @ G.diagonal()[:-1]
            return (0.5 * squares - (own * mean).sum(-1)).mean()

    @property
    def weight_gram(self) -> Tensor:
        """G = W~'W~, float64 ``[d + 1, d + 1]``."""
        return self.inverse @ self.gram @ self.inverse / self.mass.square().clamp(min=1e-30)

    @torch.no_grad()
    def add(self, posterior: Posterior | None, rows: Rows) -> None:
        """Take note of a training batch's codes; solve the decoder if it is time.

        Args:
            posterior: of these users; ``None`` if they belong to another rank's batch, and do not count.
            rows: their histories.
        """
        if posterior is not None:
            self._waiting.append(Coded(rows, *moments(posterior)))
        self.steps += 1
        # the first steps solve each time: the encoder learns nothing before
        if self.steps <= self.interval or self.steps % self.interval == 0:
            self.solve()

    @torch.no_grad()
    def solve(self) -> None:
        """Add the codes of the batches since the last solution to the sums, and solve the decoder.

        On several ranks all must call it.
        """
        for batch in self.gather(self._waiting):
            self._add_to_sums(*batch)
        self._waiting = []
        if self.unit > MAX_UNIT:
            for sums in (self.histories, self.codes, self.mass):
                sums /= self.unit
            self.gram /= self.unit.square()
            self.unit.fill_(1)
        A = self.codes / self.mass
        A.diagonal().add_(self.ridge)
        factor, problem = torch.linalg.cholesky_ex(A)
        self.inverse.copy_(torch.cholesky_inverse(factor))

    def _add_to_sums(self, rows: Rows, mean: Tensor, variance: Tensor | None) -> None:
        weighted = mean * self.unit.to(mean.dtype)
        before = (rows @ self.histories).double()
        items, by_item = rows.transposed
        self.histories.index_add_(0, items, by_item @ weighted)
        after = (rows @ self.histories).double()
        # (S + D)'(S + D) - S'S with D = sum x z~', without a pass over S
        weighted = weighted.double()
        self.gram += weighted.T @ after + before.T @ weighted
        self.codes += weighted.T @ mean.double()
        if variance is not None:
            self.codes.diagonal()[:-1] += variance.double().sum(0) * self.unit
        self.mass += self.unit * len(rows)
        self.unit *= math.exp(len(rows) / self.remembered_users)

    @torch.no_grad()
    def write_to(self, output: OutputLayer) -> None:
        """Solve for the codes so far, and write W~ into the output layer, for scoring.

        T is computed anew, so that rounding errors do not add up from epoch to epoch.
        """
        self.solve()
        to_weight = (self.inverse / self.mass).float()
        self.gram.zero_()
        for begin in range(0, len(self.histories), CHUNK_SIZE):
            chunk = slice(begin, begin + CHUNK_SIZE)
            part = self.histories[chunk]
            weights = part @ to_weight
            output.weight[chunk], output.bias[chunk] = weights[:, :-1], weights[:, -1]
            self.gram += (part.T @ part).double()


def moments(posterior: Posterior) -> tuple[Tensor, Tensor | None]:
    """E[z~] ``[B, d + 1]`` and the variance of z ``[B, d]``, ``None`` for a deterministic head."""
    mu = at_least_float32(posterior.mu)
    mean = torch.cat([mu, mu.new_ones(len(mu), 1)], 1)
    return mean, None if posterior.logvar is None else at_least_float32(posterior.logvar).exp()


def concatenated(batches: Sequence[Coded]) -> Coded:
    """Several batches as one."""
    raise NotImplementedError
