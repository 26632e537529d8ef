"""Autoencoder recommenders for RecBole: importing this package is all that RecBole needs.

Models: ``VAESplit``, ``VAETwin`` and ``DAE``; and ``Recommender``, which serves a trained one and
needs no RecBole. All are here by name and loaded when first asked for.
"""

from importlib import import_module

from recbole_vae_plugin.integration.registration import RegistrationError, register
from recbole_vae_plugin.models import MODELS

__version__ = "0.1.0"

#: Name -> the module that holds it.
_LAZY = {
    **MODELS,
    "Recommender": "recbole_vae_plugin.serving.recommender",
    "BundleError": "recbole_vae_plugin.serving.bundle",
}
__all__ = [*_LAZY, "RegistrationError", "__version__"]

register()


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _autoload() -> None:
    """Called by torch at the end of its import; loading this module has done the work."""
