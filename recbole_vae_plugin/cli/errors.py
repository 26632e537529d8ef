"""Error messages of the commands: one line, and the traceback only on request."""

from __future__ import annotations

import sys

from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.installation import what_to_run


def report(problem: Exception, traceback: bool, program: str, code: int | None = None) -> int:
    """Print an error message and return the exit code.

    For refused input only the message is printed. Other errors may be bugs: their class is printed as well,
    and how to see the traceback.

    Args:
        problem: the error.
        traceback: raise the error instead.
        program: the name of the command.
        code: the exit code; by default 2 for refused input, 1 for other errors.
    """
    if traceback:
        raise problem
    refused = isinstance(problem, Refused)
    code = code or (2 if refused else 1)
    # str(KeyError) is the repr of the key
    text = problem.args[0] if isinstance(problem, KeyError) and problem.args else str(problem)
    prefix = "" if refused else f"{type(problem).__name__}: "
    notes = "".join(f" ({note})" for note in getattr(problem, "__notes__", ()))
    missing = what_to_run() if isinstance(problem, ModuleNotFoundError) else None
    print(f"{program}: error: {missing or prefix + str(text) + notes}", file=sys.stderr)
    if code == 1:
        hint = "" if refused else "; in a bug report, include it and the output of recbole-vae doctor"
        print(f"{program}: --traceback shows where it was raised{hint}", file=sys.stderr)
    return code
