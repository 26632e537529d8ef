"""The files of one run: their names, and its result written, read back and checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import remove_left_over, write_text

RESULT = "result.json"
USERS = "users.csv.gz"
CURVE = "curve.csv"
CONFIG = "config.yaml"
LOG = "log.txt"
CHECKPOINT = "checkpoint.pth"

#: What every result says of its run.
ALWAYS = {
    "dataset",
    "method",
    "model",
    "split_seed",
    "model_seed",
    "fingerprint",
    "seconds",
    "environment",
}


class Damaged(Refused):
    """A file of results is cut off, empty or not what was written; the message names it."""


def write_result(folder: Path, result: dict) -> dict:
    """Write ``result.json`` whole or not at all; returns the result."""
    write_text(folder / RESULT, json.dumps(result, indent=1))
    return result


def load_result(folder: Path) -> dict | None:
    """What a finished or failed run left, or ``None``: a run that was killed leaves nothing.

    Raises:
        Damaged: the file is not a whole result.
    """
    file = folder / RESULT
    if not file.is_file():
        return None
    try:
        content = with_current_names(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError, OSError) as problem:
        raise Damaged(f"{file} is damaged: {problem}") from problem
    missing = ALWAYS - content.keys() if isinstance(content, dict) else ALWAYS
    if missing:
        raise Damaged(f"{file} is damaged: it has no {', '.join(sorted(missing))}")
    return content


def read_result(folder: Path) -> dict | None:
    """:func:`load_result`, but ``None`` with a warning on stderr where the result is damaged."""
    try:
        return load_result(folder)
    except Damaged as problem:
        print(f"warning: {problem}; it counts as missing", file=sys.stderr)
        return None


def result_of(run: Run, folder: Path) -> dict | None:
    """The result of a run configured as this one, which may have failed.

    Args:
        folder: of all runs.
    """
    result = read_result(folder / run.folder)
    return result if result and result["fingerprint"] == run.fingerprint else None


def set_aside_damaged(folder: Path) -> None:
    """Keep the folder of a run whose result is damaged under another name, for the run to be done again."""
    try:
        load_result(folder)
    except Damaged as problem:
        number = 1
        while (kept := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(kept)
        print(f"warning: {problem}; kept as {kept}, and the run is done again", file=sys.stderr)


def remove_left_over_runs(folder: Path) -> None:
    """Remove what runs that were killed have left, also those that nobody asks for again.

    Args:
        folder: of all runs.
    """
    for of_method in folder.glob("*/*/"):
        remove_left_over(of_method)
