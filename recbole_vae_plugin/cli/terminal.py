"""What is printed arrives, whatever the terminal can show and whoever has stopped reading."""

from __future__ import annotations

import codecs
import os
import sys

#: For terminals without them.
PLAIN = {
    "±": "+/-",
    "↑": "(more is better)",
    "↓": "(less is better)",
    "·": "-",
    "…": "...",
    "–": "-",
    "×": "x",
}


def _plain(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    wrong = problem.object[problem.start : problem.end]
    return "".join(PLAIN.get(character, "?") for character in wrong), problem.end


def replace_unprintable_characters() -> None:
    """Have characters that the terminal lacks printed as others, instead of an error at the end of a run."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def discard_stdout() -> None:
    """After a BrokenPipeError: let Python's own flush at exit go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
