"""Which data a model was trained on, so that its weights are not used with others.

RecBole numbers users and items in the order in which a file names them, and splits by a seed. The same
file with its lines in another order gives every item another column of the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.settings.validation import Refused

if TYPE_CHECKING:
    from recbole.data.dataset import Dataset

PARTS = {
    "items": "other items, or the same in another order",
    "users": "other users, or the same in another order",
    "interactions": "another training part: another split, or changed interactions",
}
BYTES = hashlib.sha256().digest_size


def of_ids(ids: Sequence[str]) -> bytes:
    """A hash of ids in their order."""
    return hashlib.sha256("\0".join(map(str, ids)).encode()).digest()


def of_interactions(interactions: Interactions) -> bytes:
    """A hash of who has which items."""
    found = hashlib.sha256(interactions.offsets.cpu().numpy())
    found.update(interactions.items.cpu().numpy())
    return found.digest()


def identity(items: Sequence[str], users: Sequence[str], interactions: Interactions) -> Tensor:
    """What tells data sets apart: uint8 ``[96]``, three hashes.

    Args:
        items, users: original ids, in the order of RecBole's internal ones.
        interactions: the training part.
    """
    digest = of_ids(items) + of_ids(users) + of_interactions(interactions)
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)


def differences(there: Tensor, here: Tensor) -> list[str]:
    """In words, what differs between the data of a checkpoint and that of a model."""
    return [
        words
        for number, words in enumerate(PARTS.values())
        if not torch.equal(*(each.cpu()[number * BYTES : (number + 1) * BYTES] for each in (there, here)))
    ]


def refuse_other_data(differing: Iterable[str], way_on: str = "") -> None:
    """Refuse weights of other data.

    Args:
        differing: in words, what differs; nothing where the data is the same.
        way_on: what else there is to do with such weights.

    Raises:
        ValueError: something differs.
    """
    if differing := list(differing):
        raise Refused(
            "the weights were trained on other data than the model is built on; it has "
            f"{' and '.join(differing)}. Load them with the data, filters, split and seed of then{way_on}"
        )


def identity_of(dataset: Dataset) -> dict[str, bytes]:
    """What tells a training part of RecBole from others: a hash of each field's ids, and of who has what.

    A model may read any field of tokens; sets without users and items have nothing else.
    """
    names = {dataset.iid_field: "items", dataset.uid_field: "users"}
    hashes = {names.get(field, field): of_ids(ids) for field, ids in dataset.field2id_token.items()}
    if dataset.uid_field and dataset.iid_field:
        had = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
        interactions = Interactions(*had, dataset.user_num, dataset.item_num)
        hashes["interactions"] = of_interactions(interactions)
    return hashes
