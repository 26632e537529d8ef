"""How a command says what went wrong: one line, and the traceback only for whoever asks for it."""

from __future__ import annotations

import sys

from recbole_vae_plugin.system.installation import what_to_run


def report(problem: Exception, traceback: bool, code: int, program: str) -> int:
    """Print one message and return the exit code, or raise where the user asked for the traceback."""
    if traceback:
        raise problem
    # A KeyError prints as the repr of its key.
    text = problem.args[0] if isinstance(problem, KeyError) and problem.args else str(problem)
    kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
    missing = what_to_run() if isinstance(problem, ModuleNotFoundError) else None
    print(f"{program}: error: {missing or kind + str(text)}", file=sys.stderr)
    if code == 1:
        print(f"{program}: --traceback shows where it was raised", file=sys.stderr)
    return code
