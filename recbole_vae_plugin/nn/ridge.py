"""The ridge regression of items on items that linear branches solve: its keys, data and penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.linear import LinearBranch
from recbole_vae_plugin.settings.declaration import setting
from recbole_vae_plugin.settings.validation import Number, Optional, Refused

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NOT_FINITE = "linear_reg_weight is too large or too small: the linear branch is not finite"
SINGULAR = "linear_reg_weight is too small: the items' Gram matrix cannot be inverted"


@dataclass(frozen=True)
class RidgeSettings(LinearBranch.Settings):
    """The keys of the regression, which the branches share."""

    # the rule in nn/rules.py replaces None
    reg_weight: float = setting(
        None,
        Optional(Number(0)),
        "With a linear branch: the L2 regularisation lambda, on the scale of the number of users per item; "
        "~: half of that number, averaged over interactions.",
        key="linear_reg_weight",
        before=300.0,
    )
    dropout_prob: float = setting(
        0.5,
        Number(0, below=1),
        "With a linear branch: the probability of input dropout, in expectation (Steck 2020); 0: no dropout.",
        key="linear_dropout_prob",
    )
    user_power: float = setting(
        0.5,
        Number(0),
        "With a linear branch: each user's weight is the length of their history to the power of minus this "
        "value; 0: equal weights.",
        key="linear_user_power",
    )
    item_power: float = setting(
        0.15,
        Number(0),
        "With a linear branch: the contribution of item i to the score of item j is multiplied by "
        "(n_i / n_j)^power, where n is the number of users of an item (DAN); 0: no effect.",
        key="linear_item_power",
        before=0.0,
    )
    max_diagonal: float = setting(
        0.0,
        Number(0),
        "With a linear branch: the upper bound on an item's weight for itself while the other weights are "
        "fitted (RLAE); 0: it is 0; 1: no bound.",
        key="linear_max_diagonal",
    )


def weighted_rows(interactions: Interactions, user_power: float) -> csr_matrix:
    """The histories of the users who have one, each multiplied by the root of the user's weight.

    Args:
        interactions: the histories, X.
        user_power: the weight of a user with n items is n^-user_power, scaled to a mean of 1.

    Returns:
        float32 ``[n_users_with_history, n_items]``: W^1/2 X.
    """
    # imported here, because serving must work without scipy
    from scipy.sparse import csr_matrix

    counts = interactions.offsets.diff()
    counts = counts[counts > 0]
    weights = counts.double().pow(-user_power)
    weights /= weights.mean()
    entries = weights.sqrt().float().repeat_interleave(counts).cpu().numpy()
    indptr = np.concatenate([[0], counts.cumsum(0).cpu().numpy()])
    items = interactions.items.cpu().numpy()
    return csr_matrix((entries, items, indptr), (len(counts), interactions.n_items))


def item_factors(interactions: Interactions, item_power: float) -> np.ndarray:
    """n^item_power with the number n of each item's users: float32 ``[n_items]``.

    Rows of B are multiplied and columns divided by it (DAN, Park et al., SIGIR 2025): popular items count for
    more in a history, and are recommended less.
    """
    return interactions.popularity().clamp(min=1).double().pow(item_power).float().cpu().numpy()


def column_factors(residual: np.ndarray, max_diagonal: float) -> np.ndarray:
    """What to multiply EASE's columns by if the diagonal may be up to ``max_diagonal`` and not only 0.

    Without any constraint B = I - P D, with B_jj = 1 - d_j P_jj. If that is allowed, the weights of the other
    items are EASE's times d_j P_jj, otherwise times 1 - max_diagonal (RLAE, Moon et al., SIGIR 2023). The
    diagonal itself, which only scores items of the history, stays 0.

    Args:
        residual: float32 ``[n_items]``, d_j P_jj.
        max_diagonal: xi, at least 0.

    Returns:
        float32 ``[n_items]``, at most 1.
    """
    return np.maximum(residual, np.float32(1 - max_diagonal)).clip(0, 1)


def squared_norms(rows: csr_matrix) -> np.ndarray:
    """The diagonal of the Gram matrix X' W X: float64 ``[n_items]``."""
    return rows.multiply(rows).sum(axis=0, dtype=np.float64).A1


def ridge_penalty(squared: np.ndarray, reg_weight: float, dropout_prob: float) -> np.ndarray:
    """What is added to the Gram matrix's diagonal g: lambda + p / (1 - p) g (Steck, NeurIPS 2020).

    Args:
        squared: float64 ``[n_items]``, g.
        reg_weight: lambda.
        dropout_prob: p.

    Returns:
        float32 ``[n_items]``.

    Raises:
        ValueError: float32 cannot hold it.
    """
    penalty = reg_weight + dropout_prob / (1 - dropout_prob) * squared
    if penalty.max() > np.finfo(np.float32).max:
        raise Refused(NOT_FINITE)
    return penalty.astype(np.float32)
