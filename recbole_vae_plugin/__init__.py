"""Autoencoder recommenders for RecBole: importing this package is all that RecBole needs.

Models: ``VAESplit``, ``VAETwin`` and ``DAE``; and ``Recommender``, which serves a trained one and
needs no RecBole. All are here by name and loaded when first asked for.
"""

import sys
import warnings
from importlib import import_module

from recbole_vae_plugin.settings.model_registry import MODELS, SHIPPED
from recbole_vae_plugin.system import installation

__version__ = "0.2.0"

#: Name -> the module that holds it.
_LAZY = {
    "AutoEncoderRecommender": "recbole_vae_plugin.models.base",
    "VariationalRecommender": "recbole_vae_plugin.models.base",
    "Recommender": "recbole_vae_plugin.serving.recommender",
    "BundleError": "recbole_vae_plugin.serving.bundle",
    "RegistrationError": "recbole_vae_plugin.system.installation",
    # for components of other packages
    "setting": "recbole_vae_plugin.settings.keys",
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
__all__ = [*SHIPPED, *_LAZY, "__version__", "register", "unregister"]


def register() -> None:
    """Make RecBole know the models, if it is installed; harmless when done before.

    Raises:
        RegistrationError: the RecBole that is installed is not supported, or has a model of
            one of our names.
    """
    if installation.has_recbole():
        import_module("recbole_vae_plugin.integration.registration").register()
    elif "recbole" not in sys.modules and not installation.missing_requirements():
        # all that training needs is here but RecBole; where nothing of it is, bundles are served
        warnings.warn(f"recbole-vae-plugin: {installation.what_to_run()}", stacklevel=2)


def unregister() -> None:
    """Undo what :func:`register` has done: RecBole, and the libraries that it uses, are as they were."""
    import_module("recbole_vae_plugin.autoload").forget()
    if registration := sys.modules.get("recbole_vae_plugin.integration.registration"):
        registration.unregister()


def __getattr__(name: str):
    if name not in _LAZY and name not in SHIPPED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return MODELS[name] if name in SHIPPED else getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as problem:
        missing = installation.what_to_run() if name not in ("Recommender", "BundleError") else None
        if missing is None:
            raise
        raise ImportError(f"recbole_vae_plugin.{name}: {missing}") from problem


# torch's import ends with recbole_vae_plugin.autoload, which never raises
if not getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False):
    register()
