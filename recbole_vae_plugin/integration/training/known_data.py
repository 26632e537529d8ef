"""RecBole's own models, too, know the data that they were trained on."""

from __future__ import annotations

import functools

from recbole_vae_plugin.integration.patching import patch_of
from recbole_vae_plugin.settings.model_registry import MODELS

#: Under this name their checkpoints hold it.
TRAINED_ON = "trained_on"


@patch_of("recbole.model.abstract_recommender")
def models_that_know_their_data(abstract_recommender) -> None:
    """A checkpoint of RecBole's own models does not say which data it was trained on.

    It does so among the parameters that are no weights: these are written with every checkpoint and read
    wherever one is loaded, and RecBole without this package takes them for an attribute that nobody reads.
    """
    from recbole_vae_plugin.integration.data.identity import PARTS, identity_of, refuse_other_data

    abstract = abstract_recommender.AbstractRecommender
    other_parameter, load = abstract.other_parameter, abstract.load_other_parameter

    def knowing_its_data(init):
        @functools.wraps(init)
        def init_and_note(self, config, dataset):
            init(self, config, dataset)
            if config["model"] not in MODELS:  # ours carry it in their weights
                setattr(self, TRAINED_ON, identity_of(dataset))

        return init_and_note

    @functools.wraps(other_parameter)
    def other_parameter_and_data(self):
        known = getattr(self, TRAINED_ON, None)
        return other_parameter(self) | ({} if known is None else {TRAINED_ON: known})

    @functools.wraps(load)
    def load_if_same_data(self, para):
        para = dict(para or {})
        there, here = para.pop(TRAINED_ON, {}), getattr(self, TRAINED_ON, {})
        # a run may load more columns than the other did
        refuse_other_data(
            PARTS.get(name, f"other values of {name}, or the same in another order")
            for name in there
            if name in here and there[name] != here[name]
        )
        load(self, para)

    for kind in ("GeneralRecommender", "SequentialRecommender", "KnowledgeRecommender", "ContextRecommender"):
        model = getattr(abstract_recommender, kind)
        model.__init__ = knowing_its_data(model.__init__)
    abstract.other_parameter = other_parameter_and_data
    abstract.load_other_parameter = load_if_same_data
