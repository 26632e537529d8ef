"""Registering the models and components of other packages; see ``docs/extending.md``.

Each function is a decorator, or returns one, for a class or a function. All commands find the decorated
components if their package names their module as an entry point.
"""

from __future__ import annotations

from typing import TypeVar

from recbole_vae_plugin.integration import registration
from recbole_vae_plugin.nn.denoising import register_denoising
from recbole_vae_plugin.nn.encoders import register_encoder
from recbole_vae_plugin.nn.heads import register_head
from recbole_vae_plugin.nn.layers import register_activation
from recbole_vae_plugin.nn.likelihoods import register_likelihood
from recbole_vae_plugin.nn.linear import register_linear_branch
from recbole_vae_plugin.nn.priors import register_prior
from recbole_vae_plugin.settings.model_registry import MODELS, ConfigurableModel

__all__ = [
    "register_activation",
    "register_denoising",
    "register_encoder",
    "register_head",
    "register_likelihood",
    "register_linear_branch",
    "register_model",
    "register_prior",
]

#: The class of a model.
M = TypeVar("M", bound=type[ConfigurableModel])


def register_model(model: M) -> M:
    """Register a subclass of ``AutoEncoderRecommender`` or ``VariationalRecommender`` under its class name.

    Raises:
        ValueError: another model has the name.
        RegistrationError: RecBole itself has a model of that name.
    """
    registration.check_name_is_free(model.__name__)
    MODELS.add(model)
    registration.provide_model(model.__name__)
    return model
