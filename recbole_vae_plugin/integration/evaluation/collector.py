"""Collects what the metrics need from a batch of scores, without further arrays of users x items."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from recbole.evaluator import Collector
from torch import Tensor

from recbole_vae_plugin.nn.finite import check_highest

if TYPE_CHECKING:
    from recbole.data.interaction import Interaction


def is_relevant(top: Tensor, positive_u: Tensor, positive_i: Tensor, n_items: int) -> Tensor:
    """Which recommended items are relevant, bool ``[B, k]``.

    Args:
        top: int64 ``[B, k]``, the recommended items.
        positive_u: int64, the row of each relevant item, on the same device.
        positive_i: int64, the relevant items.
    """
    rows = torch.arange(len(top), device=top.device)[:, None]
    relevant_pairs = (positive_u * n_items + positive_i).sort().values
    pairs = rows * n_items + top
    positions = torch.searchsorted(relevant_pairs, pairs).clamp_(max=len(relevant_pairs) - 1)
    return relevant_pairs[positions] == pairs


class UserCollector(Collector):
    """RecBole's collector; if the metrics only need the top k, it does not rank the other items."""

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Interaction, positive_u: Tensor, positive_i: Tensor
    ) -> None:
        """Collect what the metrics need from a batch.

        Args:
            scores_tensor: ``[B, n_items]``.
            interaction: the batch.
            positive_u: int64, the row of each relevant item.
            positive_i: int64, the relevant items.
        """
        need = self.register.need
        if need("rec.meanrank") or need("rec.score") or need("data.label"):
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            return
        highest, top = scores_tensor.topk(max(self.topk), dim=-1)
        check_highest(highest[:, 0])
        if need("rec.items"):
            self.data_struct.update_tensor("rec.items", top)
        if need("rec.topk"):
            users, width = scores_tensor.shape
            positive_u, positive_i = positive_u.to(top.device), positive_i.to(top.device)
            hits = is_relevant(top, positive_u, positive_i, width)
            n_relevant = positive_u.bincount(minlength=users)[:, None]
            self.data_struct.update_tensor("rec.topk", torch.cat([hits.int(), n_relevant.int()], dim=1))
