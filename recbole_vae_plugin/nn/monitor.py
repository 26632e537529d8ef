"""What goes on inside an autoencoder during an epoch, beside its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_vae_plugin.nn.heads import Code

#: A latent unit is active if its mean varies more than this over users (Burda et al. 2016, 1509.00519).
ACTIVE_VARIANCE = 0.01


class Monitor:
    """Adds up over batches and users what is to be reported once an epoch.

    Everything stays on the device until :meth:`flush`: watching costs no synchronisation.
    """

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._users = 0

    def add(self, users: int, code: Code, **means: Tensor) -> None:
        """Note a batch.

        Args:
            users: how many there are.
            code: theirs; its means are read where it has variances.
            means: named means over the batch's users, each of shape ``[]``.
        """
        parts = {name: value.detach() * users for name, value in means.items()}
        if code.logvar is not None:
            mu = code.mu.detach().double()
            parts |= {"mu": mu.sum(0), "mu_squared": mu.square().sum(0)}
        for name, part in parts.items():
            self._sums[name] = self._sums[name] + part if name in self._sums else part
        self._users += users

    def flush(self) -> dict[str, float]:
        """Means over users since the last flush, and ``active_units`` of a variational code."""
        sums, users = self._sums, self._users
        self._sums, self._users = {}, 0
        result = {}
        if "mu" in sums:
            variance = sums.pop("mu_squared") / users - (sums.pop("mu") / users).square()
            result["active_units"] = int(torch.count_nonzero(variance > ACTIVE_VARIANCE))
        return {name: float(total) / users for name, total in sums.items()} | result


def has_collapsed(monitored: dict[str, float], latent_dimension: int) -> bool:
    """Whether a variational code carries next to nothing: at most a twentieth of its units is active."""
    return "active_units" in monitored and monitored["active_units"] <= latent_dimension / 20
