"""Autoencoder recommenders for RecBole: importing this package registers them.

The models are ``VAESplit``, ``VAETwin`` and ``DAE``; ``Recommender`` serves a trained model without
RecBole. All names of this module are imported on first access.
"""

import sys
import warnings
from importlib import import_module
from typing import Any

from recbole_vae_plugin.settings.model_registry import MODELS, SHIPPED
from recbole_vae_plugin.system import installation

__version__ = "0.2.0"

#: Name -> the module that defines it.
_LAZY = {
    "AutoEncoderRecommender": "recbole_vae_plugin.integration.recommender",
    "VariationalRecommender": "recbole_vae_plugin.integration.recommender",
    "Recommender": "recbole_vae_plugin.serving.recommender",
    "BundleError": "recbole_vae_plugin.serving.bundle",
    "RegistrationError": "recbole_vae_plugin.system.installation",
    # for components of other packages
    "Posterior": "recbole_vae_plugin.nn.heads",
    "setting": "recbole_vae_plugin.settings.declaration",
    "Integer": "recbole_vae_plugin.settings.validation",
    "Number": "recbole_vae_plugin.settings.validation",
    "OneOf": "recbole_vae_plugin.settings.validation",
    "Optional": "recbole_vae_plugin.settings.validation",
    "register_activation": "recbole_vae_plugin.extending",
    "register_denoising": "recbole_vae_plugin.extending",
    "register_encoder": "recbole_vae_plugin.extending",
    "register_head": "recbole_vae_plugin.extending",
    "register_likelihood": "recbole_vae_plugin.extending",
    "register_linear_branch": "recbole_vae_plugin.extending",
    "register_model": "recbole_vae_plugin.extending",
    "register_prior": "recbole_vae_plugin.extending",
}
__all__ = [*SHIPPED, *_LAZY, "__version__", "register", "unregister"]  # pyright: ignore[reportUnsupportedDunderAll]  # computed


def register() -> None:
    """Register the models with RecBole, if it is installed. Idempotent.

    Raises:
        RegistrationError: the installed RecBole is not supported, or has a model of the same name.
    """
    if installation.has_recbole():
        import_module("recbole_vae_plugin.integration.registration").register()
    elif "recbole" not in sys.modules and not installation.missing_requirements():
        # only RecBole is missing; without the other requirements of training, this is a serving environment
        warnings.warn(f"recbole-vae-plugin: {installation.what_to_run()}", stacklevel=2)


def unregister() -> None:
    """Undo :func:`register`, and restore RecBole and the libraries that it uses."""
    import_module("recbole_vae_plugin.autoload").forget()
    if registration := sys.modules.get("recbole_vae_plugin.integration.registration"):
        registration.unregister()


def __getattr__(name: str) -> Any:
    if name not in _LAZY and name not in SHIPPED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return MODELS[name] if name in SHIPPED else getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as problem:
        missing = installation.what_to_run() if name not in ("Recommender", "BundleError") else None
        if missing is None:
            raise
        raise ImportError(f"recbole_vae_plugin.{name}: {missing}") from problem


# while torch is being imported, recbole_vae_plugin.autoload registers the models instead, and never raises
if not getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False):
    register()
