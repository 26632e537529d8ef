"""For whom and for what a model is good: users' histories, and recall by the items' popularity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_vae_plugin.integration.data.held_out import with_fold_in
from recbole_vae_plugin.integration.evaluation.collector import is_relevant

if TYPE_CHECKING:
    from recbole.data.dataset import Dataset

QUARTILES = 4


def history_lengths(train: Dataset) -> np.ndarray:
    """Interactions from which each user is scored, int ``[n_users]``: those of the training part, and of
    held-out users the fold-in."""
    dataset = with_fold_in(train)
    return np.bincount(dataset.inter_feat[dataset.uid_field].numpy(), minlength=dataset.user_num)


def popularity_quartiles(train: Dataset) -> np.ndarray:
    """The quartile of each item by its training interactions, int ``[n_items]``: 0 is the least popular, and
    items of equal popularity are in the same one. The padding item is in the first."""
    counts = np.bincount(train.inter_feat[train.iid_field].numpy(), minlength=train.item_num)
    bounds = np.quantile(counts[1:], np.arange(1, QUARTILES) / QUARTILES)
    return np.searchsorted(bounds, counts, side="left")


@contextmanager
def recall_by_popularity(collector: Any, quartiles: np.ndarray, k: int) -> Iterator[dict[str, np.ndarray]]:
    """Record recall at k of the relevant items of each quartile, in evaluations while this is open.

    Args:
        collector: a trainer's, RecBole's or ours.
        quartiles: see :func:`popularity_quartiles`.
        k: the length of the lists.

    Yields:
        ``"recall_q1@k"``, ..., ``"recall_q4@k"`` -> float ``[users]``, in the order of the evaluation loader
        and NaN for users without a relevant item in the quartile; filled at the end.
    """
    of_item, batches = torch.from_numpy(quartiles), []
    collect = collector.eval_batch_collect

    def collect_and_record(scores: Tensor, interaction: Any, positive_u: Tensor, positive_i: Tensor) -> None:
        collect(scores, interaction, positive_u, positive_i)
        if scores.dim() < 2:  # predictions of values, not a ranking
            return
        # the whole list, since another length may break ties otherwise
        top = scores.topk(max(collector.topk), dim=-1).indices[:, :k]
        batches.append(recall_of_batch(top, positive_u, positive_i, of_item.to(top.device), scores.shape))

    recorded: dict[str, np.ndarray] = {}
    collector.eval_batch_collect = collect_and_record
    try:
        yield recorded
    finally:
        del collector.eval_batch_collect
    columns = torch.cat(batches).cpu().numpy() if batches else np.empty((0, QUARTILES))
    recorded |= {f"recall_q{place + 1}@{k}": columns[:, place] for place in range(QUARTILES)}


def recall_of_batch(
    top: Tensor, positive_u: Tensor, positive_i: Tensor, quartiles: Tensor, shape: torch.Size
) -> Tensor:
    """Recall of each user in each quartile, float64 ``[B, 4]``; NaN where there is nothing to find.

    Args:
        top: int64 ``[B, k]``, the recommended items.
        positive_u: int64, the row of each relevant item.
        positive_i: int64, the relevant items.
        quartiles: int64 ``[n_items]``.
        shape: ``[B, n_items]``.
    """
    users, width = shape
    positive_u, positive_i = positive_u.to(top.device), positive_i.to(top.device)
    hits = is_relevant(top, positive_u, positive_i, width)
    found = torch.zeros(users, QUARTILES, dtype=torch.float64, device=top.device)
    found.scatter_add_(1, quartiles[top], hits.double())
    to_find = torch.zeros_like(found)
    # a repeated interaction counts once
    pairs = (positive_u * width + positive_i).unique()
    ones = torch.ones(len(pairs), dtype=found.dtype, device=top.device)
    to_find.index_put_((pairs // width, quartiles[pairs % width]), ones, accumulate=True)
    return found / to_find
