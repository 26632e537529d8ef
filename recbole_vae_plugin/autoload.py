"""Registers the models when torch is imported (entry point group ``torch.backends``).

This way processes that only import RecBole (a Ray worker, a spawned child, a script that opens a
checkpoint) know the models. As it runs in every process that imports torch, it only uses the standard
library, does nothing before RecBole is imported, and never raises.
``RECBOLE_VAE_PLUGIN_AUTOLOAD=0`` disables it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing torch must stay cheap
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

SWITCH = "RECBOLE_VAE_PLUGIN_AUTOLOAD"
REGISTRATION = "recbole_vae_plugin.integration.registration"
OFF = ("0", "no", "off", "false")


def after_torch() -> None:
    """Register the models as soon as RecBole is imported; immediately if its import has begun."""
    if os.environ.get(SWITCH, "").lower() in OFF or REGISTRATION in sys.modules:
        return
    if "recbole" in sys.modules:
        register_or_warn()
    else:
        sys.meta_path.insert(0, RegisterBeforeRecBole())


def forget() -> None:
    """Undo :func:`after_torch`: do nothing when RecBole is imported."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, RegisterBeforeRecBole)]


def register_or_warn() -> None:
    """Register the models; any failure is a warning."""
    try:
        from recbole_vae_plugin.integration.registration import register

        register()
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        # this package must never break the import of torch or RecBole
        reason = " ".join(str(problem).split())
        warnings.warn(
            f"recbole-vae-plugin is not registered with RecBole: {type(problem).__name__}: {reason}. "
            f"`recbole-vae doctor` has details; {SWITCH}=0 disables registration",
            stacklevel=2,
        )


class RegisterBeforeRecBole:
    """A meta path finder that finds nothing, but registers the models when RecBole is first imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of RecBole, after registration; ``None`` for all other modules."""
        if name != "recbole":
            return None
        from importlib.util import find_spec

        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            spec = find_spec(name)
        except ValueError:  # a module without a spec
            return None
        if spec is None:
            return None
        register_or_warn()
        # once more, because registration has put the finders that patch modules before all others
        return find_spec(name)
