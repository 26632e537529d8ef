"""What the installed scripts call. They also start where training cannot, and say what is missing."""

from __future__ import annotations

import sys

from recbole_vae_plugin.cli.errors import report
from recbole_vae_plugin.system.installation import has_recbole, what_to_run


def run_recbole() -> int:
    """``run_recbole``: needs all that training needs."""
    traceback = "--traceback" in sys.argv
    try:
        if not has_recbole():
            raise ModuleNotFoundError(what_to_run(), name="recbole")
        from recbole_vae_plugin.cli.run_recbole import main
    except ImportError as problem:
        return report(problem, traceback, "run_recbole", code=2)
    return main()


def recbole_vae() -> int:
    """``recbole-vae``: its commands for serving need less than those for training."""
    from recbole_vae_plugin.cli.recbole_vae import main

    return main()
