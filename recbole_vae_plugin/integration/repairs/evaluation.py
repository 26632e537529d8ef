"""Evaluations that would crash, or whose results would not be numbers."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset
    from recbole.evaluator import Collector, Evaluator
    from recbole.evaluator.collector import DataStruct
    from torch import Tensor

#: What RecBole's collector accumulates over the batches of an evaluation, and discards afterwards.
COLLECTED_IN_BATCHES = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


@repair("recbole.evaluator.collector", replaces={"Collector.get_data_struct": "d7de65fe"})
def collect_popularity_counters(patch: Patch, collector: ModuleType) -> None:
    """RecBole calls .cpu() on counters (issue 2191), so that ItemCoverage, GiniIndex, AveragePopularity
    and TailPercentage always crash."""

    def get_data_struct(self: Collector) -> DataStruct:
        collected = collector.DataStruct()
        for key, value in self.data_struct._data_dict.items():
            collected.set(key, value.cpu() if isinstance(value, collector.torch.Tensor) else value)
        for key in COLLECTED_IN_BATCHES:
            if key in self.data_struct:
                del self.data_struct[key]
        return collected

    patch.replace("Collector.get_data_struct", get_data_struct)


@repair("recbole.trainer.trainer", replaces={"TraditionalTrainer.__init__": "9cffedfe"})
def validate_after_the_only_epoch(patch: Patch, trainer: ModuleType) -> None:
    """Pop, ItemKNN, EASE and the like train for one epoch whatever `epochs` says; with an `eval_step` above
    1, which a comparison may set for all its methods, they would never be validated."""

    @patch.wrap("TraditionalTrainer.__init__")
    def init_with_a_validation(init: Callable[..., None], self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.eval_step = min(self.eval_step, self.epochs)


@repair("recbole.evaluator.collector", replaces={"Collector.eval_batch_collect": "43b40f14"})
def refuse_nan_and_infinite_scores(patch: Patch, collector: ModuleType) -> None:
    """RecBole ranks NaN above all numbers, so that such a model may look best."""

    @patch.wrap("Collector.eval_batch_collect")
    def check_and_collect(
        collect: Callable[..., None], self: Collector, scores_tensor: Tensor, *args: Any, **kwargs: Any
    ) -> None:
        from recbole_vae_plugin.nn.finite import check_highest

        check_highest(scores_tensor)
        collect(self, scores_tensor, *args, **kwargs)


@repair(
    "recbole.trainer.trainer",
    replaces={"Trainer._valid_epoch": "6236c4cc", "DecisionTreeTrainer._valid_epoch": "93700d0d"},
)
def refuse_validations_that_are_no_numbers(patch: Patch, trainer: ModuleType) -> None:
    """To RecBole's early stopping, no score is better or worse than NaN, so it saves no checkpoint."""

    def validate_to_a_number(validate: Callable, self: Any, *args: Any, **kwargs: Any) -> tuple[float, dict]:
        from recbole_vae_plugin.nn.finite import check_quality

        score, result = validate(self, *args, **kwargs)
        check_quality(score, self.config["model"])
        return score, result

    for kind in ("Trainer", "DecisionTreeTrainer"):
        patch.wrap(f"{kind}._valid_epoch")(validate_to_a_number)


@repair(
    "recbole.evaluator.evaluator",
    replaces={"Evaluator.evaluate": "dd936575"},
    read_against="RecBole 1.2.1, numpy 1.26 to 2.5",
)
def return_results_as_plain_numbers(patch: Patch, evaluator: ModuleType) -> None:
    """With numpy >= 2 results would be printed as np.float64(0.1687)."""

    @patch.wrap("Evaluator.evaluate")
    def evaluate_to_floats(
        evaluate: Callable[..., dict[str, float]], self: Evaluator, dataobject: DataStruct
    ) -> dict[str, float]:
        result = evaluate(self, dataobject)
        return type(result)((metric, float(value)) for metric, value in result.items())


@repair("recbole.evaluator.metrics", replaces={"ShannonEntropy.get_entropy": "e8cadb44"})
def sum_the_terms_of_the_entropy(patch: Patch, metrics: ModuleType) -> None:
    """RecBole divides ShannonEntropy by the number of distinct recommended items, so that it falls as more
    items are recommended (pull request 2165)."""
    import numpy as np

    def get_entropy(self: Any, item_matrix: np.ndarray) -> float:
        _, counts = np.unique(item_matrix, return_counts=True)
        shares = counts / counts.sum()
        return float(-(shares * np.log(shares)).sum())

    patch.replace("ShannonEntropy.get_entropy", get_entropy)


@repair("recbole.evaluator.metrics", replaces={"TailPercentage.get_tail": "3fb2497f"})
def look_up_tail_items_at_once(patch: Patch, metrics: ModuleType) -> None:
    """RecBole searches a list of the tail items for each recommended one, which takes minutes with large
    catalogues."""
    import numpy as np

    def get_tail(self: Any, item_matrix: np.ndarray, count_items: dict[int, int]) -> np.ndarray:
        if self.tail > 1:
            tail_items = [item for item, count in count_items.items() if count <= self.tail]
        else:
            by_count = sorted(count_items, key=lambda item: (count_items[item], item))
            tail_items = by_count[: max(int(len(by_count) * self.tail), 1)]
        return np.isin(item_matrix, tail_items).astype(item_matrix.dtype)

    patch.replace("TailPercentage.get_tail", get_tail)


def check_lists(config: Config, dataset: Dataset) -> None:
    """Refuse recommendation lists longer than the catalogue."""
    items = dataset.item_num - 1  # without the padding
    if max(config["topk"] or [1]) > items:
        refuse("topk", config["topk"], f"up to {items}, the number of items of {config['dataset']}")


@repair("recbole.data.utils", replaces={"data_preparation": "1a72de92"})
def refuse_lists_longer_than_the_catalogue(patch: Patch, data_utils: ModuleType) -> None:
    """If `topk` is larger than the catalogue, RecBole fails only after training."""

    @patch.wrap("data_preparation")
    def prepare_if_long_enough(data_preparation: Callable[..., Any], config: Config, dataset: Dataset) -> Any:
        check_lists(config, dataset)
        return data_preparation(config, dataset)
