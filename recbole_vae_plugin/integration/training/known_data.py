"""RecBole's own models, too, know the data that they were trained on."""

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

#: Under this name their checkpoints hold it.
TRAINED_ON = "trained_on"


#: RecBole's kinds of models -> fingerprint of their ``__init__``.
KINDS = {
    "GeneralRecommender": "d20615c2",
    "SequentialRecommender": "11678b7e",
    "KnowledgeRecommender": "d64e59aa",
    "ContextRecommender": "8ef014ee",
}


@repair(
    "recbole.model.abstract_recommender",
    replaces={
        **{f"{kind}.__init__": fingerprint for kind, fingerprint in KINDS.items()},
        "AbstractRecommender.other_parameter": "066a3599",
        "AbstractRecommender.load_other_parameter": "0570aca3",
    },
)
def remember_the_data_of_checkpoints(patch: Patch, abstract_recommender: ModuleType) -> None:
    """A checkpoint of RecBole's own models does not say which data it was trained on.

    It does so among the parameters that are no weights: these are written with every checkpoint and read
    wherever one is loaded, and RecBole without this package takes them for an attribute that nobody reads.
    """
    from recbole_vae_plugin.integration.data.identity import PARTS, identity_of, refuse_other_data

    def init_and_note(init: Callable[..., Any], self: Any, config: Config, dataset: Dataset) -> None:
        init(self, config, dataset)
        if config["model"] not in MODELS:  # ours carry it in their weights
            setattr(self, TRAINED_ON, identity_of(dataset))

    for kind in KINDS:
        patch.wrap(f"{kind}.__init__")(init_and_note)

    @patch.wrap("AbstractRecommender.other_parameter")
    def other_parameter_and_data(other_parameter: Callable[..., Any], self: Any) -> Any:
        known = getattr(self, TRAINED_ON, None)
        return other_parameter(self) | ({} if known is None else {TRAINED_ON: known})

    @patch.wrap("AbstractRecommender.load_other_parameter")
    def load_if_same_data(load: Callable[..., Any], self: Any, para: Any) -> None:
        para = dict(para or {})
        there, here = para.pop(TRAINED_ON, {}), getattr(self, TRAINED_ON, {})
        # a run may load more columns than the other did
        refuse_other_data(
            PARTS.get(name, f"other values of {name}, or the same in another order")
            for name in there
            if name in here and there[name] != here[name]
        )
        load(self, para)
