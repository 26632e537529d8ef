"""The identity of the data that a model was trained on, so that its weights are not used with other data.

RecBole numbers users and items in the order in which they appear in a file, and splits by a seed. If the
lines of the file are reordered, every item gets another column of the weights.
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

#: What is hashed -> what to say if the hashes differ.
MESSAGES = {
    "items": "other items, or the same in another order",
    "users": "other users, or the same in another order",
    "interactions": "another training set: another split, or changed interactions",
}
DIGEST_SIZE = hashlib.sha256().digest_size


def hash_ids(ids: Sequence[str]) -> bytes:
    """A hash of ids in their order."""
    return hashlib.sha256("\0".join(map(str, ids)).encode()).digest()


def hash_interactions(interactions: Interactions) -> bytes:
    """A hash of all users' histories."""
    digest = hashlib.sha256(interactions.offsets.cpu().numpy().data)
    digest.update(interactions.items.cpu().numpy().data)
    return digest.digest()


def identity(items: Sequence[str], users: Sequence[str], interactions: Interactions) -> Tensor:
    """The identity of a data set: uint8 ``[96]``, three hashes.

    Args:
        items: original item ids, in the order of RecBole's internal ones.
        users: original user ids, in the order of RecBole's internal ones.
        interactions: the training set.
    """
    digest = hash_ids(items) + hash_ids(users) + hash_interactions(interactions)
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)


def differences(saved: Tensor, current: Tensor) -> list[str]:
    """Describe how the data of a checkpoint differs from that of a model.

    Args:
        saved: the checkpoint's :func:`identity`.
        current: the model's.
    """
    starts = range(0, len(MESSAGES) * DIGEST_SIZE, DIGEST_SIZE)
    return [
        message
        for message, start in zip(MESSAGES.values(), starts)
        if not torch.equal(*(digests.cpu()[start : start + DIGEST_SIZE] for digests in (saved, current)))
    ]


def refuse_other_data(differing: Iterable[str], alternative: str = "") -> None:
    """Refuse weights that were trained on other data.

    Args:
        differing: descriptions of the differences, if any.
        alternative: what else can be done with such weights.

    Raises:
        ValueError: there is a difference.
    """
    if differing := list(differing):
        raise Refused(
            "the weights were trained on other data than this model's, which has "
            f"{' and '.join(differing)}. Load them with the same data, filters, split and seed{alternative}"
        )


def field_hashes(dataset: Dataset) -> dict[str, bytes]:
    """The identity of a RecBole training set for any model: hashes of the ids and of the interactions.

    A model may read any token field; some data sets have neither users nor items.
    """
    names = {dataset.iid_field: "items", dataset.uid_field: "users"}
    hashes = {str(names.get(field, field)): hash_ids(ids) for field, ids in dataset.field2id_token.items()}
    if dataset.uid_field and dataset.iid_field:
        users, items = (dataset.inter_feat[field] for field in (dataset.uid_field, dataset.iid_field))
        interactions = Interactions(users, items, dataset.user_num, dataset.item_num)
        hashes["interactions"] = hash_interactions(interactions)
    return hashes
