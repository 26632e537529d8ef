"""Metrics that RecBole lacks, registered under their names."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension

if TYPE_CHECKING:
    from recbole.evaluator.collector import DataStruct


@extension(
    "recbole.evaluator.register",
    extends=("metrics_dict", "metric_information", "metric_types"),
    reads={
        "cluster_info": "a3c38e88",
        "recbole.evaluator.base_metric:TopkMetric": "e8ec91fd",
        "recbole.evaluator.metrics:Recall": "7808d312",
    },
)
def add_capped_recall(patch: Patch, register: ModuleType) -> None:
    """Add `CappedRecall`: RecBole's Recall@k cannot reach 1 for a user with more than k relevant items."""
    from recbole.evaluator.base_metric import TopkMetric

    class CappedRecall(TopkMetric):
        """Recall@k of Liang et al. (WWW 2018): hits in the top k / min(k, number of relevant items)."""

        def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
            return self.topk_result("cappedrecall", self.metric_info(*self.used_info(dataobject)))

        def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray) -> np.ndarray:
            """Capped recall at 1, ..., k of each user: float64 ``[users, k]``.

            Args:
                pos_index: bool ``[users, k]``, whether the item at each rank is relevant.
                pos_len: int ``[users]``, the number of relevant items, at least 1.
            """
            lengths = np.arange(1, pos_index.shape[1] + 1)
            return pos_index.cumsum(axis=1) / np.minimum(lengths, pos_len[:, None])

    patch.put("metrics_dict", "cappedrecall", CappedRecall)
    patch.put("metric_information", "cappedrecall", CappedRecall.metric_need)
    patch.put("metric_types", "cappedrecall", CappedRecall.metric_type)
