"""A linear item-item model whose scores are added to the autoencoder's: the `linear_branch` axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import Batch, Interactions, Rows
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import Number, Optional

#: The most numbers in the products that are cached while the weight is tuned (float32: 512 MiB).
MAX_CACHED = 2**27
#: Weights below it leave room for products of any history in float32, whose range ends at 3e38.
MAX_WEIGHT = 1e9


class LinearBranch(nn.Module):
    """Adds ``weight`` x :meth:`product` to the scores of a history x of zeros and ones.

    Its parameters are buffers, which checkpoints include: they are set by a closed form or a search, not
    by gradients. A subclass implements :meth:`fit` and :meth:`product`.

    Args:
        n_items: size of the catalogue.

    Attributes:
        weight: float32 ``[]``, relative to the autoencoder's scores.
    """

    weight: Tensor

    @dataclass(frozen=True)
    class Settings:
        """The keys of every linear branch."""

        weight: float | None = setting(
            None,
            Optional(Number(0, below=MAX_WEIGHT)),
            "With a linear branch: the weight of its scores; ~: tuned for the valid_metric at each "
            "validation, 1 without validation.",
            key="linear_weight",
        )

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(()))
        self._cache: list[tuple[Rows, Tensor]] | None = None

    @classmethod
    def build(cls, n_items: int, settings: Any) -> LinearBranch:
        """Build the branch, not yet fitted.

        Args:
            n_items: size of the catalogue.
            settings: an instance of the class's ``Settings``, on which the shapes of buffers may depend.
        """
        return cls(n_items)

    @staticmethod
    def check_catalogue(n_items: int) -> None:
        """Check that the branch supports a catalogue of this size.

        Raises:
            ValueError: it is too large; the message names the key, the value and what is allowed.
        """

    def fit(self, interactions: Interactions, settings: Any) -> None:
        """Fit the branch to the training histories.

        Args:
            interactions: the histories.
            settings: an instance of the class's ``Settings``.
        """
        raise NotImplementedError

    def product(self, rows: Batch) -> Tensor:
        """The unweighted scores of all items: ``[B, n_items]``."""
        raise NotImplementedError

    def for_export(self) -> LinearBranch:
        """The branch to export to other runtimes, which lack sparse rows and some operations of torch."""
        return self

    def operations(self, rows: Rows) -> int:
        """Multiplications that :meth:`product` takes, for the FLOPs in the log; here those with a matrix of
        all pairs of items."""
        return len(rows.items) * rows.n_items

    def forward(self, rows: Batch) -> Tensor:
        """The weighted scores of all items: ``[B, n_items]``."""
        if self._cache is None or not isinstance(rows, Rows):
            return self.weight * self.product(rows)
        return self.weight * self._cached_product(rows, self._cache)

    @contextmanager
    def caching_products(self) -> Iterator[None]:
        """Return a context manager in which products are cached, up to :data:`MAX_CACHED` numbers.

        Scoring the same rows with one weight after another then costs a single product. Only the weight may
        change meanwhile.
        """
        self._cache = []
        try:
            yield
        finally:
            self._cache = None

    def _cached_product(self, rows: Rows, cache: list[tuple[Rows, Tensor]]) -> Tensor:
        for cached_rows, product in cache:
            if rows.equal(cached_rows):
                return product
        product = self.product(rows)
        n_cached = sum(cached.numel() for _, cached in cache)
        if n_cached + product.numel() <= MAX_CACHED:
            cache.append((rows, product))
        return product


class SharedBranch(nn.Module):
    """Stands for a linear branch in a model that is copied for a while: the copies share the branch, whose
    matrix may be most of the memory.

    Args:
        linear: is no part of this module.
    """

    def __init__(self, linear: LinearBranch) -> None:
        super().__init__()
        self._linear = (linear,)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedBranch:
        return SharedBranch(*self._linear)

    def operations(self, rows: Rows) -> int:
        """Those of the branch."""
        return self._linear[0].operations(rows)

    def forward(self, rows: Rows) -> Tensor:
        """Returns ``[B, n_items]``."""
        return self._linear[0](rows)


#: Name -> class of a linear branch.
LINEAR_BRANCHES: Registry[type[LinearBranch]] = Registry("linear branch", key="linear_branch")
register_linear_branch = LINEAR_BRANCHES.register

#: The value of `linear_branch` for a model without one, and for the one that suits the catalogue.
NO_BRANCH, AUTO = "none", "auto"
