"""Evaluation on held-out users, who are not in the training set: `eval_args: {split: {HO: [valid, test]}}`.

                      items
                   +-----------------------------+
    training       | all items: training         |
    users          |                             |
                   +-------------------+---------+
    validation     | fold-in items:    | target  |
    users          | input for scoring | items   |
    - - - - - - -  |- - - - - - - - - -|- - - - -|
    test users     |                   |         |
                   +-------------------+---------+

This is "strong generalization" (Marlin, Collaborative Filtering: A Machine Learning Perspective, 2004), with
the protocol of Liang et al., Variational Autoencoders for Collaborative Filtering (WWW 2018).

The training set contains training users only, and carries the fold-in items of the other users separately
from its interactions. A model adds them to the histories from which it scores, after computing whatever it
computes from the training interactions; training loaders never see them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import extension
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import integer, number, one_of, refuse

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataloader import AbstractDataLoader
    from recbole.data.dataset import Dataset
    from recbole.sampler import Sampler

#: RecBole's models without user-specific weights: they score from a user's history, or ignore it.
SCORE_NEW_USERS = ("EASE", "MacridVAE", "MultiDAE", "MultiVAE", "Pop", "RecVAE", "SLIMElastic")

SPLIT_KEY = "eval_args.split.HO"


@dataclass(frozen=True)
class HoldOut:
    """How many users are held out, and how much of their history the model is given.

    Attributes:
        valid: number of validation users.
        test: number of test users.
        fold_in: fraction of each held-out user's items that is the model's input; the others are the targets.
    """

    valid: int
    test: int
    fold_in: float

    @classmethod
    def from_config(cls, config: Config) -> HoldOut | None:
        """Read the settings from a RecBole ``Config``; ``None`` if it does not hold out users.

        Raises:
            ValueError: a value is not allowed, or the model cannot score users that it was not trained on.
        """
        evaluation = config["eval_args"]
        split = evaluation["split"]
        if not isinstance(split, dict) or "HO" not in split:
            if "fold_in" in evaluation:
                refuse("eval_args.fold_in", evaluation["fold_in"], "only with a split HO")
            return None
        sizes = split["HO"]
        if len(split) > 1:
            refuse("eval_args.split", split, "only one split")
        if not isinstance(sizes, list) or len(sizes) != 2:
            refuse(SPLIT_KEY, sizes, "a list of two numbers of users, for validation and test")
        fold_in = number("eval_args.fold_in", evaluation.get("fold_in", 0.8), 0, 1)
        if fold_in == 0:
            refuse("eval_args.fold_in", evaluation["fold_in"], "a number above 0 and below 1")
        one_of("eval_args.order", evaluation["order"], ("RO", "TO"))
        models = (*MODELS, *SCORE_NEW_USERS)
        if config["model"] not in models:
            allowed = f"with {SPLIT_KEY}, models that can score new users: {', '.join(models)}"
            refuse("model", config["model"], allowed)
        for key in ("repeatable", "benchmark_filename"):
            if config[key]:
                refuse(key, config[key], f"not set, with {SPLIT_KEY}")
        return cls(integer(SPLIT_KEY, sizes[0], 1), integer(SPLIT_KEY, sizes[1], 1), fold_in)


def split_by_users(dataset: Dataset, hold_out: HoldOut) -> list[Dataset]:
    """Split a data set into training, validation and test users.

    Held-out users, and with `order: RO` their fold-in items, are drawn with torch's global generator, as in
    RecBole's splits; with `order: TO` a user's earliest items are the fold-in. First, items that no training
    user interacted with are removed from the histories of held-out users. Of the n remaining items of a
    user, ``floor((1 - fold_in) n)`` are targets; users without targets are not evaluated.

    Returns:
        RecBole data sets: the interactions of training users, with the fold-in interactions in the attribute
        ``fold_in``; the targets of validation users; and the targets of test users.

    Raises:
        ValueError: there are too few users or items.
    """
    import torch

    dataset._change_feat_format()
    all_users = dataset.inter_feat[dataset.uid_field].unique().numpy()
    n_held_out = hold_out.valid + hold_out.test
    if n_held_out >= len(all_users):
        refuse(SPLIT_KEY, [hold_out.valid, hold_out.test], f"together fewer than the {len(all_users)} users")
    permuted = all_users[torch.randperm(len(all_users)).numpy()]
    # 0: training, 1: validation, 2: test
    phase_of_user = np.zeros(dataset.user_num, dtype=int)
    phase_of_user[permuted[:n_held_out]] = 2
    phase_of_user[permuted[: hold_out.valid]] = 1

    if dataset.config["eval_args"]["order"] == "TO":
        dataset.sort(by=dataset.time_field)
    else:
        dataset.shuffle()
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    phase = phase_of_user[users]
    in_training = np.zeros(dataset.item_num, dtype=bool)
    in_training[items[phase == 0]] = True
    rows = np.flatnonzero((phase > 0) & in_training[items])
    # a repeated interaction counts once
    _, first = np.unique(users[rows] * dataset.item_num + items[rows], return_index=True)
    rows = rows[np.sort(first)]
    targets = rows[is_target(users[rows], hold_out.fold_in)]
    valid, test = (targets[phase[targets] == number] for number in (1, 2))
    for name, part in (("validation", valid), ("test", test)):
        if len(part) == 0:
            allowed = f"a fraction that leaves {name} users at least one target item"
            refuse("eval_args.fold_in", hold_out.fold_in, allowed)

    dataset._drop_unused_col()
    interactions = dataset.inter_feat
    train, *evaluated = (dataset.copy(interactions[part]) for part in (phase == 0, valid, test))
    train.fold_in = interactions[np.setdiff1d(rows, targets)]
    n_dropped = int((~in_training[items]).sum())
    dataset.logger.info(
        f"held-out users: {hold_out.valid} for validation, {hold_out.test} for test, out of "
        f"{len(all_users)}; dropped {n_dropped} of their interactions, with items that no training user "
        "interacted with"
    )
    return [train, *evaluated]


def is_target(users: np.ndarray, fold_in: float) -> np.ndarray:
    """Select the last ``floor((1 - fold_in) n)`` of each user's n interactions.

    Args:
        users: the user of each interaction, int ``[N]``.
        fold_in: see :class:`HoldOut`.

    Returns:
        Bool ``[N]``.
    """
    counts = np.bincount(users)
    ends = counts.cumsum()
    rank = np.empty(len(users), dtype=int)
    rank[np.argsort(users, kind="stable")] = np.arange(len(users))
    # in floating point, 0.2 x 5 may be 0.99999...
    n_targets = np.floor((1 - fold_in) * counts + 1e-6).astype(int)
    return rank >= (ends - n_targets)[users]


def with_fold_in(dataset: Dataset) -> Dataset:
    """The histories from which users are scored: the interactions of a data set and its fold-in, if any."""
    fold_in = getattr(dataset, "fold_in", None)
    if fold_in is None:
        return dataset
    from recbole.data.interaction import cat_interactions

    result = dataset.copy(cat_interactions([dataset.inter_feat, fold_in]))
    result.fold_in = None
    return result


@extension("recbole.data.dataset.dataset", replaces={"Dataset.build": "5471bfaa"})
def split_by_held_out_users(patch: Patch, dataset: ModuleType) -> None:
    """RecBole can split interactions only, not users."""

    @patch.wrap("Dataset.build")
    def build_or_hold_out(build: Callable[..., list[Dataset]], self: Dataset) -> list[Dataset]:
        hold_out = HoldOut.from_config(self.config)
        return split_by_users(self, hold_out) if hold_out else build(self)


@extension("recbole.data.utils", replaces={"get_dataloader": "54563021"})
def train_on_training_users_only(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole's autoencoders train on all users in the vocabulary, even those without training items."""

    @patch.wrap("get_dataloader")
    def get_dataloader_of_training_users(
        get_dataloader: Callable[..., type[AbstractDataLoader]], config: Config, phase: str
    ) -> type[AbstractDataLoader]:
        from recbole_vae_plugin.integration.data.loaders import TrainingUserDataLoader

        loader = get_dataloader(config, phase)
        loads_all_users = loader is data_utils.UserDataLoader
        return TrainingUserDataLoader if loads_all_users and HoldOut.from_config(config) else loader


@extension("recbole.sampler.sampler", replaces={"Sampler.__init__": "7c6b41d6"})
def exclude_fold_in_from_ranking(patch: Patch, sampler: ModuleType) -> None:
    """Items in a user's fold-in are neither ranked nor sampled as negatives."""

    @patch.wrap("Sampler.__init__")
    def init_with_fold_in(
        init: Callable[..., Any],
        self: Sampler,
        phases: Any,
        datasets: list[Dataset],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if isinstance(datasets, list):
            datasets = [with_fold_in(dataset) for dataset in datasets]
        init(self, phases, datasets, *args, **kwargs)


@extension(
    "recbole.model.abstract_recommender",
    replaces={"AutoEncoderMixin.build_histroy_items": "8abb6c0e"},
)
def feed_fold_in_to_autoencoders(patch: Patch, abstract_recommender: ModuleType) -> None:
    """RecBole's autoencoders look up their input in a table of histories.

    Building it consumes random numbers, one per interaction; the initial weights must not depend on how many.
    """
    import torch

    @patch.wrap("AutoEncoderMixin.build_histroy_items")
    def build_with_fold_in(build: Callable[..., Any], self: Any, dataset: Dataset) -> None:
        histories = with_fold_in(dataset)
        with torch.random.fork_rng(devices=[], enabled=histories is not dataset):
            build(self, histories)


def add_fold_in_after_init(patch: Patch, path: str) -> None:
    """Wrap the constructor of a model that is fitted there: afterwards, add the fold-in to the histories
    from which it scores."""

    @patch.wrap(path)
    def init_and_add(init: Callable[..., None], self: Any, config: Config, dataset: Dataset) -> None:
        init(self, config, dataset)
        fold_in = getattr(dataset, "fold_in", None)
        if fold_in is not None:
            added = dataset.copy(fold_in).inter_matrix(form="csr").astype(np.float32)
            self.interaction_matrix = self.interaction_matrix.tocsr() + added


@extension("recbole.model.general_recommender.ease", replaces={"EASE.__init__": "a6189d2d"})
def feed_fold_in_to_ease(patch: Patch, module: ModuleType) -> None:
    """EASE scores held-out users from their fold-in, but is not fitted to it."""
    add_fold_in_after_init(patch, "EASE.__init__")


@extension("recbole.model.general_recommender.slimelastic", replaces={"SLIMElastic.__init__": "c971f404"})
def feed_fold_in_to_slim(patch: Patch, module: ModuleType) -> None:
    """SLIM scores held-out users from their fold-in, but is not fitted to it."""
    add_fold_in_after_init(patch, "SLIMElastic.__init__")
