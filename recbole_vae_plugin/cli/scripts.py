"""Entry points of the installed scripts; if requirements for training are missing, they say which."""

from __future__ import annotations

import sys

from recbole_vae_plugin.cli.errors import report
from recbole_vae_plugin.system.installation import has_recbole, what_to_run


def run_recbole() -> int:
    """``run_recbole``, which needs the requirements for training."""
    traceback = "--traceback" in sys.argv
    try:
        if not has_recbole():
            raise ModuleNotFoundError(what_to_run(), name="recbole")
        from recbole_vae_plugin.cli.run_recbole import main
    except ImportError as problem:
        return report(problem, traceback, "run_recbole", code=2)
    return main()


def recbole_vae() -> int:
    """``recbole-vae``, whose serving commands do not need the requirements for training."""
    from recbole_vae_plugin.cli.recbole_vae import main

    return main()
