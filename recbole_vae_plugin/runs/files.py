"""The files of one run: their names, and its result written, read back and checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TypedDict, cast

from recbole_vae_plugin.runs.run import Run, RunLabels
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import remove_left_over, write_text

RESULT = "result.json"
USERS = "users.csv.gz"
CURVE = "curve.csv"
CONFIG = "config.yaml"
LOG = "log.txt"
CHECKPOINT = "checkpoint.pth"

#: One row of ``curve.csv``: ``epoch``, ``train_loss``, ``train_seconds`` and what is monitored; in validated
#: epochs also ``valid_seconds`` and ``valid_<metric>``.
EpochRow = dict[str, Any]


class Figures(TypedDict, total=False):
    """The measured entries of a result; a failed or stopped run has only ``failed`` or ``stopped``.

    ``cpu_seconds`` is the processor time of all threads once the data is prepared: unlike ``seconds`` it
    hardly depends on what else the machine does. ``energy_wh`` is that of the same span in watt-hours, as
    estimated by ``energy_by``. ``data_hash`` is that of the content of the data set's files.
    """

    failed: str
    stopped: bool
    data_hash: str | None
    valid_score: float | None
    valid: dict[str, float]
    test: dict[str, float]
    epochs: int
    best_epoch: int | None
    cpu_seconds: float
    prepare_seconds: float
    build_seconds: float
    train_seconds: float | None
    eval_seconds: float | None
    peak_memory: float
    train_gpu_memory: float
    eval_gpu_memory: float
    parameters: int
    flops: float
    energy_wh: float | None
    energy_by: str
    threads: int


class LabelledResult(RunLabels):
    """The entries that every result has."""

    seconds: float
    environment: dict[str, Any]


class Result(LabelledResult, Figures):
    """The content of ``result.json``."""


class Damaged(Refused):
    """A file of results is truncated, empty or otherwise not as it was written; the message names it."""


def write_result(folder: Path, result: Result) -> Result:
    """Write ``result.json`` atomically; returns the result."""
    write_text(folder / RESULT, json.dumps(result, indent=1))
    return result


def load_result(folder: Path) -> Result | None:
    """The result of a finished or failed run; ``None`` where there is none, as after a run that was killed.

    Raises:
        Damaged: the file is not a complete result.
    """
    file = folder / RESULT
    if not file.is_file():
        return None
    try:
        content = with_current_names(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError, OSError) as problem:
        raise Damaged(f"{file} is damaged: {problem}") from problem
    required = LabelledResult.__required_keys__
    missing = required - content.keys() if isinstance(content, dict) else required
    if missing:
        raise Damaged(f"{file} is damaged: it has no {', '.join(sorted(missing))}")
    return cast(Result, content)


def load_result_if_whole(folder: Path) -> Result | None:
    """:func:`load_result`, but ``None`` with a warning on stderr where the result is damaged."""
    try:
        return load_result(folder)
    except Damaged as problem:
        print(f"warning: {problem}; it counts as missing", file=sys.stderr)
        return None


def result_of(run: Run, folder: Path) -> Result | None:
    """The result of a run with this configuration, which may have failed.

    Args:
        folder: of all runs.
    """
    result = load_result_if_whole(folder / run.folder)
    return result if result and result["fingerprint"] == run.fingerprint else None


def set_aside_damaged(folder: Path) -> None:
    """Rename the folder of a run whose result is damaged, so that the run is repeated."""
    try:
        load_result(folder)
    except Damaged as problem:
        number = 1
        while (kept := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
            number += 1
        folder.rename(kept)
        print(f"warning: {problem}; kept as {kept}, and the run is repeated", file=sys.stderr)


def remove_left_over_runs(folder: Path) -> None:
    """Remove the partial folders of runs that were killed, whether or not they will be repeated.

    Args:
        folder: of all runs.
    """
    for of_method in folder.glob("*/*/"):
        remove_left_over(of_method)
