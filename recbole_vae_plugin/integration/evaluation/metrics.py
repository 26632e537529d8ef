"""Metrics that RecBole does not have, known to it by their names."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension


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
    """Add `CappedRecall`: RecBole's recall of a user with more than k wanted items cannot reach 1."""
    from recbole.evaluator.base_metric import TopkMetric

    class CappedRecall(TopkMetric):
        """Recall@k of Liang et al. (WWW 2018): hits among the first k, divided by min(k, wanted items)."""

        def calculate_metric(self, dataobject: Any) -> Any:
            return self.topk_result("cappedrecall", self.metric_info(*self.used_info(dataobject)))

        def metric_info(self, pos_index: Any, pos_len: Any) -> Any:
            """Float64 ``[users, k]``, column j for the first j + 1 items.

            Args:
                pos_index: bool ``[users, k]``, whether the item at each place is wanted.
                pos_len: int ``[users]``, how many are wanted, at least 1.
            """
            lengths = np.arange(1, pos_index.shape[1] + 1)
            return pos_index.cumsum(axis=1) / np.minimum(lengths, pos_len[:, None])

    patch.put("metrics_dict", "cappedrecall", CappedRecall)
    patch.put("metric_information", "cappedrecall", CappedRecall.metric_need)
    patch.put("metric_types", "cappedrecall", CappedRecall.metric_type)
