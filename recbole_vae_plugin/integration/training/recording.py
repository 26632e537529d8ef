"""What RecBole's trainers and metrics know and do not keep: epochs, and values for each user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension

if TYPE_CHECKING:
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.evaluator.base_metric import TopkMetric
    from recbole.trainer import Trainer

#: Where each open :func:`values_of_users` wants the values.
_wanted: list[dict[str, np.ndarray]] = []


class EpochRecorder:
    """Notes each epoch of a trainer, RecBole's or ours.

    Args:
        trainer: not fitted yet; one of RecBole's gradient-boosting trainers, which know no epochs,
            leaves nothing to note.
        tell: called with each epoch's row when the epoch ends.

    Attributes:
        epochs: a dict for each epoch: ``epoch``, ``train_loss`` (as RecBole logs it, a sum over
            batches), ``train_seconds``, what our models' trainer has ``monitored``, and, where the
            epoch was validated, ``valid_seconds`` and ``valid_<metric>``.
    """

    def __init__(self, trainer: Trainer, tell: Callable[[dict], None] = lambda row: None) -> None:
        self.epochs: list[dict] = []
        self._trainer, self._tell = trainer, tell
        if hasattr(trainer, "_train_epoch"):
            self._train_epoch, self._valid_epoch = trainer._train_epoch, trainer._valid_epoch
            trainer._train_epoch, trainer._valid_epoch = self.train_epoch, self.valid_epoch

    def train_epoch(self, train_data: AbstractDataLoader, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        begin = perf_counter()
        loss = self._train_epoch(train_data, epoch_idx, *args, **kwargs)
        total = sum(loss) if isinstance(loss, tuple) else loss
        row = {
            "epoch": epoch_idx,
            "train_loss": float(total),
            "train_seconds": perf_counter() - begin,
            **getattr(self._trainer, "monitored", {}),
        }
        self.epochs.append(row)
        self._tell(row)
        return loss

    def valid_epoch(self, *args: Any, **kwargs: Any) -> Any:
        begin = perf_counter()
        score, result = self._valid_epoch(*args, **kwargs)
        if not self.epochs:
            self.epochs.append({"epoch": 0})
        row = self.epochs[-1]
        row["valid_seconds"] = perf_counter() - begin
        row |= {f"valid_{metric}": float(value) for metric, value in result.items()}
        self._tell(row)
        return score, result


@extension("recbole.evaluator.base_metric", replaces={"TopkMetric.topk_result": "9d4f03c9"})
def hand_out_values_of_users(patch: Patch, base_metric: ModuleType) -> None:
    """RecBole averages its top-k metrics over users and keeps nothing of each."""

    @patch.wrap("TopkMetric.topk_result")
    def topk_result_and_values(
        topk_result: Callable[..., Any], self: TopkMetric, metric: Any, value: Any
    ) -> Any:
        for found in _wanted:
            found.update({f"{metric}@{k}": np.asarray(value[:, k - 1], dtype=float) for k in self.topk})
        return topk_result(self, metric, value)


@contextmanager
def values_of_users() -> Iterator[dict[str, np.ndarray]]:
    """While this is open, each evaluation leaves here what its top-k metrics average:
    ``"metric@k"`` -> float64 ``[users]``, in the order of the evaluation loader."""
    found: dict[str, np.ndarray] = {}
    _wanted.append(found)
    try:
        yield found
    finally:
        # by identity: two that are empty are equal
        _wanted[:] = [other for other in _wanted if other is not found]


def evaluated_users(loader: AbstractDataLoader) -> np.ndarray:
    """The original ids of the users that a RecBole evaluation loader ranks for, in its order; of a
    sequential model's loader, the user of each ranked interaction."""
    dataset = loader.dataset
    users = getattr(loader, "uid_list", None)
    if users is None:
        users = dataset.inter_feat[dataset.uid_field]
    return dataset.id2token(dataset.uid_field, np.asarray(users))
