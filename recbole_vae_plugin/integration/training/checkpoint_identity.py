"""Checkpoints of RecBole's own models also identify the data that the model was trained on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.model_registry import MODELS

if TYPE_CHECKING:
    from recbole.config import Config
    from recbole.data.dataset import Dataset
    from recbole.model.abstract_recommender import AbstractRecommender

#: The attribute of a model, and the key of ``other_parameter`` in its checkpoints.
TRAINED_ON = "trained_on"

#: RecBole's base classes of models -> fingerprint of their ``__init__``.
BASE_CLASSES = {
    "GeneralRecommender": "d20615c2",
    "SequentialRecommender": "11678b7e",
    "KnowledgeRecommender": "d64e59aa",
    "ContextRecommender": "8ef014ee",
}


@repair(
    "recbole.model.abstract_recommender",
    replaces={
        **{f"{base}.__init__": fingerprint for base, fingerprint in BASE_CLASSES.items()},
        "AbstractRecommender.other_parameter": "066a3599",
        "AbstractRecommender.load_other_parameter": "0570aca3",
    },
)
def store_data_identity_in_checkpoints(patch: Patch, abstract_recommender: ModuleType) -> None:
    """A checkpoint of RecBole's own models does not identify the data that it was trained on.

    It is stored in ``other_parameter``, which is saved with every checkpoint and read wherever one is loaded;
    RecBole without this package turns it into an attribute that nothing reads.
    """
    from recbole_vae_plugin.integration.data.identity import MESSAGES, field_hashes, refuse_other_data

    def init_and_identify(init: Callable[..., None], self: Any, config: Config, dataset: Dataset) -> None:
        init(self, config, dataset)
        if config["model"] not in MODELS:  # in ours it is part of the state_dict
            setattr(self, TRAINED_ON, field_hashes(dataset))

    for base in BASE_CLASSES:
        patch.wrap(f"{base}.__init__")(init_and_identify)

    @patch.wrap("AbstractRecommender.other_parameter")
    def other_parameter_and_identity(
        other_parameter: Callable[..., dict[str, Any]], self: AbstractRecommender
    ) -> dict[str, Any]:
        hashes = getattr(self, TRAINED_ON, None)
        return other_parameter(self) | ({} if hashes is None else {TRAINED_ON: hashes})

    @patch.wrap("AbstractRecommender.load_other_parameter")
    def load_if_same_data(
        load: Callable[..., None], self: AbstractRecommender, para: dict[str, Any] | None
    ) -> None:
        para = dict(para or {})
        saved, current = para.pop(TRAINED_ON, {}), getattr(self, TRAINED_ON, {})
        # only fields that both runs have loaded can be compared
        refuse_other_data(
            MESSAGES.get(name, f"other values of {name}, or the same in another order")
            for name in saved
            if name in current and saved[name] != current[name]
        )
        load(self, para)
