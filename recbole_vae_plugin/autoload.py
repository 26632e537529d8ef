"""What torch runs at the end of its own import (entry point group ``torch.backends``).

A process that imports only RecBole (a Ray worker, a spawned child, a script that opens a checkpoint)
knows the models by it. It runs in every process that imports torch, so it imports the standard
library only, waits for RecBole's import before it does anything, and never raises.
``RECBOLE_VAE_PLUGIN_AUTOLOAD=0`` turns it off.
"""

from __future__ import annotations

import os
import sys
import warnings

SWITCH = "RECBOLE_VAE_PLUGIN_AUTOLOAD"
REGISTRATION = "recbole_vae_plugin.integration.registration"
OFF = ("0", "no", "off", "false")


def after_torch() -> None:
    """Register the models as soon as RecBole is imported; at once where that has begun."""
    if os.environ.get(SWITCH, "").lower() in OFF or REGISTRATION in sys.modules:
        return
    if "recbole" in sys.modules:
        register_or_warn()
    else:
        sys.meta_path.insert(0, RegisterBeforeRecBole())


def forget() -> None:
    """Do nothing any more when RecBole is imported."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, RegisterBeforeRecBole)]


def register_or_warn() -> None:
    """Register; whatever goes wrong is a warning."""
    try:
        from recbole_vae_plugin.integration.registration import register

        register()
    except KeyboardInterrupt:
        raise
    except BaseException as problem:
        # neither torch nor RecBole may fail to import because of this package
        reason = " ".join(str(problem).split())
        warnings.warn(
            f"recbole-vae-plugin is not registered with RecBole: {type(problem).__name__}: {reason}. "
            f"`recbole-vae doctor` says more; {SWITCH}=0 silences this",
            stacklevel=2,
        )


class RegisterBeforeRecBole:
    """Finds no module: it registers the models when the first import asks for RecBole."""

    def find_spec(self, name: str, path=None, target=None):
        if name != "recbole":
            return None
        from importlib.util import find_spec

        if self in sys.meta_path:
            sys.meta_path.remove(self)
        try:
            found = find_spec(name)
        except ValueError:  # a module without a spec
            return None
        if found is None:
            return None
        register_or_warn()
        # again, from the start: by now the finders that patch modules have been put before the others
        return find_spec(name)
