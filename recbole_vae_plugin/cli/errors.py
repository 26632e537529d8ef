"""How a command says what went wrong: one line, and the traceback only for whoever asks for it."""

from __future__ import annotations

import sys

from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.installation import what_to_run


def report(problem: Exception, traceback: bool, program: str, code: int | None = None) -> int:
    """Print one message and return the exit code, or raise where the user asked for the traceback.

    What was refused is told by its message alone. Of any other error the class is told, too, and how to
    find out more: a ``ValueError`` from within may be a mistake of the program's.

    Args:
        code: by default 2 for what was refused, 1 for the rest.
    """
    if traceback:
        raise problem
    refused = isinstance(problem, Refused)
    code = code or (2 if refused else 1)
    # A KeyError prints as the repr of its key.
    text = problem.args[0] if isinstance(problem, KeyError) and problem.args else str(problem)
    kind = "" if refused else f"{type(problem).__name__}: "
    notes = "".join(f" ({note})" for note in getattr(problem, "__notes__", ()))
    missing = what_to_run() if isinstance(problem, ModuleNotFoundError) else None
    print(f"{program}: error: {missing or kind + str(text) + notes}", file=sys.stderr)
    if code == 1:
        more = "" if refused else "; to report it, add what it shows and what recbole-vae doctor prints"
        print(f"{program}: --traceback shows where it was raised{more}", file=sys.stderr)
    return code
