"""A linear item-item model whose scores are added to the deep one's: the `linear_branch` axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import Interactions, Rows
from recbole_vae_plugin.settings.keys import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Number, Optional

#: Numbers of products that are kept while weights are tried: 512 MiB.
MAX_KEPT = 2**27


class LinearBranch(nn.Module):
    """Adds ``weight`` x :meth:`product` to the scores of a history x of zeros and ones.

    What a branch consists of are buffers: closed forms and choices, not gradients, set them; checkpoints
    carry them. A subclass has a :meth:`fit` and a :meth:`product`.

    Args:
        n_items: size of the catalogue.

    Attributes:
        weight: float32 ``[]``, in units of the deep model's scores.
    """

    weight: Tensor

    @dataclass(frozen=True)
    class Settings:
        weight: float | None = setting(
            None,
            Optional(Number(0)),
            "With a linear branch: the factor before its scores; ~: chosen anew at each validation by the "
            "valid_metric, 1 without validation.",
            key="linear_weight",
        )

    def __init__(self, n_items: int):
        super().__init__()
        self.register_buffer("weight", torch.ones(()))
        self._kept: list[tuple[Rows, Tensor]] | None = None

    @staticmethod
    def check_catalogue(n_items: int) -> None:
        """Refuse a catalogue that is too large.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """

    def fit(self, interactions: Interactions, settings: Any) -> None:
        """Compute the branch from the training histories.

        Args:
            settings: an instance of the class' ``Settings``.
        """
        raise NotImplementedError

    def product(self, rows: Rows) -> Tensor:
        """The branch's own scores of all items: ``[B, n_items]``."""
        raise NotImplementedError

    def forward(self, rows: Rows) -> Tensor:
        """Returns ``[B, n_items]``."""
        return self.weight * self._product(rows)

    @contextmanager
    def keeping_products(self) -> Iterator[None]:
        """Within it rows that come again, as with one weight after another, cost no second product, up to
        :data:`MAX_KEPT` numbers of them. The branch must stay as it is."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def _product(self, rows: Rows) -> Tensor:
        for before, product in self._kept or ():
            if rows.equal(before):
                return product
        product = self.product(rows)
        if self._kept is not None:
            kept = sum(product.numel() for _, product in self._kept)
            if kept + product.numel() <= MAX_KEPT:
                self._kept.append((rows, product))
        return product


#: Name -> class of a linear branch.
LINEAR_BRANCHES: Registry[type[LinearBranch]] = Registry("linear branch", key="linear_branch")
register_linear_branch = LINEAR_BRANCHES.register

#: The value of `linear_branch` that means no branch.
NO_BRANCH = "none"
