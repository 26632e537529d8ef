"""Statistics of an autoencoder during an epoch, in addition to its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_vae_plugin.nn.heads import Posterior

#: A latent unit is active if its mean varies more than this over users (Burda et al. 2016, 1509.00519).
ACTIVE_VARIANCE = 0.01


class Monitor:
    """Accumulates statistics over batches, to be reported once an epoch.

    Everything stays on the device until :meth:`flush`, so that accumulating needs no synchronisation.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._users = 0

    def add(self, users: int, posterior: Posterior, **means: Tensor) -> None:
        """Add a batch.

        Args:
            users: the number of users in the batch.
            posterior: of these users; the means of a variational one are used for ``active_units``.
            means: other statistics by name, means over these users, each of shape ``[]``.
        """
        sums = {name: value.detach() * users for name, value in means.items()}
        if posterior.logvar is not None:
            mu = posterior.mu.detach().double()
            sums |= {"mu": mu.sum(0), "mu_squared": mu.square().sum(0)}
        for name, value in sums.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._users += users

    def flush(self) -> dict[str, float]:
        """Means over users since the last flush, and the ``active_units`` of a variational posterior."""
        sums, users = self._sums, self._users
        self._sums, self._users = {}, 0
        result = {}
        if "mu" in sums:
            variance = sums.pop("mu_squared") / users - (sums.pop("mu") / users).square()
            result["active_units"] = int(torch.count_nonzero(variance > ACTIVE_VARIANCE))
        return {name: float(total) / users for name, total in sums.items()} | result


def has_collapsed(monitored: dict[str, float], latent_dimension: int) -> bool:
    """Whether the posterior has collapsed: at most a twentieth of the latent units are active."""
    return "active_units" in monitored and monitored["active_units"] <= latent_dimension / 20
