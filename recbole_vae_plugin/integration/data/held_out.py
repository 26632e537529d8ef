"""Evaluation of users who take no part in training: `eval_args: {split: {HO: [valid, test]}}`.

                     items
                  +-------------------------+
    training      | every item: training    |
    users         |                         |
                  +-------------------+-----+
    validation    | fold-in: input    | to  |
    users         | when scoring      | be  |
    - - - - - - - |  - - - - - - - - -|found|
    test users    |                   |     |
                  +-------------------+-----+

"Strong generalization" of Marlin, Collaborative Filtering: A Machine Learning Perspective (2004), in
the form of Liang et al., Variational Autoencoders for Collaborative Filtering (WWW 2018).

The training part of the split holds training users alone and carries the others' fold-in items beside
its interactions. They are put in place where a model keeps the histories that it scores from, after
whatever it computes from the interactions themselves, and loaders of training never meet them.
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
    from recbole.data.dataset import Dataset
    from recbole.sampler import Sampler

#: RecBole's models that score from a user's items, or whatever the user has, without weights of users.
ABLE = ("EASE", "MacridVAE", "MultiDAE", "MultiVAE", "Pop", "RecVAE", "SLIMElastic")

SPLIT = "eval_args.split.HO"


@dataclass(frozen=True)
class HoldOut:
    """How many users are held out, and how much of what they have is shown to the model.

    Attributes:
        valid: users of validation, whom early stopping watches.
        test: users of the test.
        fold_in: share of each such user's items that the model is given; it is to find the others.
    """

    valid: int
    test: int
    fold_in: float

    @classmethod
    def from_config(cls, config: Config) -> HoldOut | None:
        """What a RecBole ``Config`` asks for; ``None`` if it does not hold out users.

        Raises:
            ValueError: a value is not allowed, or the model cannot score users that it has not seen.
        """
        evaluation = config["eval_args"]
        split = evaluation["split"]
        if not isinstance(split, dict) or "HO" not in split:
            if "fold_in" in evaluation:
                refuse("eval_args.fold_in", evaluation["fold_in"], "no such key unless split has HO")
            return None
        sizes = split["HO"]
        if len(split) > 1:
            refuse("eval_args.split", split, "one way to split")
        if not isinstance(sizes, list) or len(sizes) != 2:
            refuse(SPLIT, sizes, "a list of two numbers of users, for validation and for test")
        fold_in = number("eval_args.fold_in", evaluation.get("fold_in", 0.8), 0, 1)
        if fold_in == 0:
            refuse("eval_args.fold_in", evaluation["fold_in"], "a number above 0 and below 1")
        one_of("eval_args.order", evaluation["order"], ("RO", "TO"))
        able = (*MODELS, *ABLE)
        if config["model"] not in able:
            refuse("model", config["model"], f"with {SPLIT}, models that score new users: {', '.join(able)}")
        for key in ("repeatable", "benchmark_filename"):
            if config[key]:
                refuse(key, config[key], f"nothing, with {SPLIT}")
        return cls(integer(SPLIT, sizes[0], 1), integer(SPLIT, sizes[1], 1), fold_in)


def split_by_users(dataset: Dataset, hold_out: HoldOut) -> list:
    """Split a data set into training, validation and test users.

    Users are drawn, and with `order: RO` fold-in items, from torch's global generator, as in RecBole's
    splits; with `order: TO` the first of a user's items are the fold-in. Items that no training user has
    are taken from the held-out users first. Of n items that are left ``floor((1 - fold_in) n)`` are to be
    found: a user with none of these is not evaluated.

    Returns:
        RecBole data sets: training users' interactions, with those of the fold-in as ``fold_in``, and
        what is to be found of validation users and of test users.

    Raises:
        ValueError: there are too few users or items.
    """
    import torch

    dataset._change_feat_format()
    present = dataset.inter_feat[dataset.uid_field].unique().numpy()
    held_out = hold_out.valid + hold_out.test
    if held_out >= len(present):
        refuse(SPLIT, [hold_out.valid, hold_out.test], f"together fewer than the {len(present)} users")
    drawn = present[torch.randperm(len(present)).numpy()]
    phase_of = np.zeros(dataset.user_num, dtype=int)
    phase_of[drawn[:held_out]] = 2
    phase_of[drawn[: hold_out.valid]] = 1

    if dataset.config["eval_args"]["order"] == "TO":
        dataset.sort(by=dataset.time_field)
    else:
        dataset.shuffle()
    users, items = (dataset.inter_feat[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    phase = phase_of[users]
    known = np.zeros(dataset.item_num, dtype=bool)
    known[items[phase == 0]] = True
    rows = np.flatnonzero((phase > 0) & known[items])
    _, first = np.unique(users[rows] * dataset.item_num + items[rows], return_index=True)
    rows = rows[np.sort(first)]
    wanted = rows[is_wanted(users[rows], hold_out.fold_in)]
    valid, test = (wanted[phase[wanted] == one] for one in (1, 2))
    for name, found in (("validation", valid), ("test", test)):
        if len(found) == 0:
            refuse("eval_args.fold_in", hold_out.fold_in, f"a share that leaves {name} users an item to find")

    dataset._drop_unused_col()
    every = dataset.inter_feat
    train, *evaluated = (dataset.copy(every[part]) for part in (phase == 0, valid, test))
    train.fold_in = every[np.setdiff1d(rows, wanted)]
    of_nobody = int((~known[items]).sum())
    dataset.logger.info(
        f"held-out users: {hold_out.valid} for validation, {hold_out.test} for test, out of {len(present)}; "
        f"{of_nobody} of their interactions are left out, with items that no training user has"
    )
    return [train, *evaluated]


def is_wanted(users: np.ndarray, fold_in: float) -> np.ndarray:
    """Which of each user's entries, bool ``[N]``, are the last ``floor((1 - fold_in) n)`` of n."""
    counts = np.bincount(users)
    ends = counts.cumsum()
    place = np.empty(len(users), dtype=int)
    place[np.argsort(users, kind="stable")] = np.arange(len(users))
    # 0.2 of 5 is 0.99999... to a computer
    found = np.floor((1 - fold_in) * counts + 1e-6).astype(int)
    return place >= (ends - found)[users]


def with_fold_in(dataset: Dataset) -> Any:
    """What users have before they are scored: a part's interactions and the fold-in that it carries."""
    fold_in = getattr(dataset, "fold_in", None)
    if fold_in is None:
        return dataset
    from recbole.data.interaction import cat_interactions

    result = dataset.copy(cat_interactions([dataset.inter_feat, fold_in]))
    result.fold_in = None
    return result


@extension("recbole.config.configurator", replaces={"Config._set_default_parameters": "c1c6da80"})
def check_held_out_users_in_configs(patch: Patch, configurator: ModuleType) -> None:
    """RecBole looks at the split only after it has read the data."""

    @patch.wrap("Config._set_default_parameters")
    def complete_and_check(complete: Callable[..., Any], self: Config) -> None:
        complete(self)
        HoldOut.from_config(self)


@extension("recbole.data.dataset.dataset", replaces={"Dataset.build": "5471bfaa"})
def split_by_held_out_users(patch: Patch, dataset: ModuleType) -> None:
    """RecBole splits the interactions of every user, or all of them."""

    @patch.wrap("Dataset.build")
    def build_or_hold_out(build: Callable[..., Any], self: Dataset) -> Any:
        hold_out = HoldOut.from_config(self.config)
        return split_by_users(self, hold_out) if hold_out else build(self)


@extension("recbole.data.utils", replaces={"get_dataloader": "54563021"})
def train_on_training_users_only(patch: Patch, data_utils: ModuleType) -> None:
    """RecBole's autoencoders train on all users that have an id."""

    @patch.wrap("get_dataloader")
    def get_dataloader_of_training_users(
        get_dataloader: Callable[..., Any], config: Config, phase: str
    ) -> Any:
        from recbole_vae_plugin.integration.data.loaders import TrainingUserDataLoader

        found = get_dataloader(config, phase)
        all_users = found is data_utils.UserDataLoader and HoldOut.from_config(config)
        return TrainingUserDataLoader if all_users else found


@extension("recbole.sampler.sampler", replaces={"Sampler.__init__": "7c6b41d6"})
def take_fold_in_for_known(patch: Patch, sampler: ModuleType) -> None:
    """What a user is known to have is neither ranked nor drawn as a negative."""

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
    """RecBole's autoencoders look their input up in a table by user.

    Making it draws random numbers, as many as there are interactions: weights must not depend on that.
    """
    import torch

    @patch.wrap("AutoEncoderMixin.build_histroy_items")
    def build_with_fold_in(build: Callable[..., Any], self: Any, dataset: Dataset) -> None:
        histories = with_fold_in(dataset)
        with torch.random.fork_rng(devices=[], enabled=histories is not dataset):
            build(self, histories)


def add_fold_in_once_made(patch: Patch, path: str) -> None:
    """Wrap the constructor of a model that is computed when it is made: the fold-in joins the rows to score
    afterwards."""

    @patch.wrap(path)
    def init_then_add(init: Callable[..., Any], self: Any, config: Config, dataset: Dataset) -> None:
        init(self, config, dataset)
        fold_in = getattr(dataset, "fold_in", None)
        if fold_in is not None:
            added = dataset.copy(fold_in).inter_matrix(form="csr").astype(np.float32)
            self.interaction_matrix = self.interaction_matrix.tocsr() + added


@extension("recbole.model.general_recommender.ease", replaces={"EASE.__init__": "a6189d2d"})
def feed_fold_in_to_ease(patch: Patch, module: ModuleType) -> None:
    """EASE scores held-out users from their fold-in, which takes no part in its computation."""
    add_fold_in_once_made(patch, "EASE.__init__")


@extension("recbole.model.general_recommender.slimelastic", replaces={"SLIMElastic.__init__": "c971f404"})
def feed_fold_in_to_slim(patch: Patch, module: ModuleType) -> None:
    """SLIM scores held-out users from their fold-in, which takes no part in its computation."""
    add_fold_in_once_made(patch, "SLIMElastic.__init__")
