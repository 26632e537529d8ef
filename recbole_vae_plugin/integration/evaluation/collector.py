"""What a batch of scores leaves for the metrics, without arrays of users x items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from recbole.evaluator import Collector
from torch import Tensor

from recbole_vae_plugin.nn.finite import check_highest

if TYPE_CHECKING:
    from recbole.data.interaction import Interaction


class UserCollector(Collector):
    """RecBole's collector; where only the top of the ranking matters it looks at nothing else."""

    def eval_batch_collect(
        self, scores_tensor: Tensor, interaction: Interaction, positive_u: Tensor, positive_i: Tensor
    ) -> Any:
        """Keep what the metrics need of a batch.

        Args:
            scores_tensor: ``[B, n_items]``.
            interaction: the batch.
            positive_u: int64, the row of each wanted item.
            positive_i: int64, the wanted items.
        """
        need = self.register.need
        if need("rec.meanrank") or need("rec.score") or need("data.label"):
            return super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        highest, top = scores_tensor.topk(max(self.topk), dim=-1)
        check_highest(highest[:, 0])
        if need("rec.items"):
            self.data_struct.update_tensor("rec.items", top)
        if need("rec.topk"):
            users, width = scores_tensor.shape
            positive_u, positive_i = positive_u.to(top.device), positive_i.to(top.device)
            rows = torch.arange(users, device=top.device)[:, None]
            wanted_pairs = (positive_u * width + positive_i).sort().values
            pairs = rows * width + top
            places = torch.searchsorted(wanted_pairs, pairs).clamp_(max=len(wanted_pairs) - 1)
            hits = wanted_pairs[places] == pairs
            wanted = positive_u.bincount(minlength=users)[:, None]
            self.data_struct.update_tensor("rec.topk", torch.cat([hits.int(), wanted.int()], dim=1))
