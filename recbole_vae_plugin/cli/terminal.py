"""Robust printing to terminals with limited character sets and to closed pipes."""

from __future__ import annotations

import codecs
import io
import os
import sys

#: Character -> its replacement on terminals that cannot show it.
REPLACEMENTS = {
    "±": "+/-",
    "↑": "(more is better)",
    "↓": "(less is better)",
    "·": "-",
    "…": "...",
    "–": "-",
    "×": "x",
}


def _replace(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    unprintable = problem.object[problem.start : problem.end]
    return "".join(REPLACEMENTS.get(character, "?") for character in unprintable), problem.end


def replace_unprintable_characters() -> None:
    """Replace characters that the terminal cannot show, instead of failing at the end of a run."""
    codecs.register_error("plain", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def discard_stdout() -> None:
    """After a BrokenPipeError, discard what Python flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
