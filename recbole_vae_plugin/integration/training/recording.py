"""Records what RecBole's trainers and metrics compute but do not keep: epochs, and metrics per user."""

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

#: The dicts of the open :func:`values_of_users`.
_recordings: list[dict[str, np.ndarray]] = []

Epoch = dict[str, Any]


class EpochRecorder:
    """Records the epochs of a trainer, RecBole's or ours.

    Args:
        trainer: before it is fitted. RecBole's gradient-boosting trainers have no epochs.
        on_epoch: called with an epoch's record after its training, and again after its validation.

    Attributes:
        epochs: a dict for each epoch: ``epoch``, ``train_loss`` (as logged by RecBole, the sum over batches),
            ``train_seconds``, what our trainer has ``monitored``, and, if the epoch was validated,
            ``valid_seconds`` and ``valid_<metric>``.
    """

    def __init__(self, trainer: Any, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> None:
        self.epochs: list[Epoch] = []
        self._trainer, self._on_epoch = trainer, on_epoch
        if hasattr(trainer, "_train_epoch"):
            self._train_epoch, self._valid_epoch = trainer._train_epoch, trainer._valid_epoch
            trainer._train_epoch, trainer._valid_epoch = self.train_epoch, self.valid_epoch

    def train_epoch(self, train_data: AbstractDataLoader, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        loss = self._train_epoch(train_data, epoch_idx, *args, **kwargs)
        total = sum(loss) if isinstance(loss, tuple) else loss
        epoch = {
            "epoch": epoch_idx,
            "train_loss": float(total),
            "train_seconds": perf_counter() - start,
            **getattr(self._trainer, "monitored", {}),
        }
        self.epochs.append(epoch)
        self._on_epoch(epoch)
        return loss

    def valid_epoch(self, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        start = perf_counter()
        score, result = self._valid_epoch(*args, **kwargs)
        if not self.epochs:
            self.epochs.append({"epoch": 0})
        epoch = self.epochs[-1]
        epoch["valid_seconds"] = perf_counter() - start
        epoch |= {f"valid_{metric}": float(value) for metric, value in result.items()}
        self._on_epoch(epoch)
        return score, result


def record_topk_result(
    topk_result: Callable[..., dict[str, float]], self: TopkMetric, metric: str, value: np.ndarray
) -> dict[str, float]:
    """Record the values of the users before they are averaged."""
    for recording in _recordings:
        recording.update({f"{metric}@{k}": np.asarray(value[:, k - 1], dtype=float) for k in self.topk})
    return topk_result(self, metric, value)


@extension("recbole.evaluator.base_metric", replaces={"TopkMetric.topk_result": "9d4f03c9"})
def collect_values_per_user(patch: Patch, base_metric: ModuleType) -> None:
    """RecBole averages its top-k metrics over users and discards the values of the users."""
    patch.wrap("TopkMetric.topk_result")(record_topk_result)


@extension(
    "recbole.evaluator.metrics",
    replaces={"AveragePopularity.topk_result": "d5db2ca2", "TailPercentage.topk_result": "9d4f03c9"},
)
def collect_popularity_per_user(patch: Patch, metrics: ModuleType) -> None:
    """Two of RecBole's metrics of popularity are averages over users as well."""
    for metric in ("AveragePopularity", "TailPercentage"):
        patch.wrap(f"{metric}.topk_result")(record_topk_result)


@contextmanager
def values_of_users() -> Iterator[dict[str, np.ndarray]]:
    """Record the top-k metrics of the users in evaluations while this is open.

    Yields:
        ``"metric@k"`` -> float64 ``[users]``, in the order of the evaluation loader.
    """
    recording: dict[str, np.ndarray] = {}
    _recordings.append(recording)
    try:
        yield recording
    finally:
        # compared by identity, since empty dicts are equal
        _recordings[:] = [other for other in _recordings if other is not recording]


def evaluated_users(loader: AbstractDataLoader) -> np.ndarray:
    """The internal ids of the users of a RecBole evaluation loader, in its order; for sequential models, the
    user of each evaluated interaction."""
    dataset = loader.dataset
    users = getattr(loader, "uid_list", None)
    if users is None:
        users = dataset.inter_feat[dataset.uid_field]
    return np.asarray(users)
