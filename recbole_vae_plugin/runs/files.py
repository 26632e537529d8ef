"""The files of one run, by name."""

from __future__ import annotations

import json
from pathlib import Path

from recbole_vae_plugin.system.atomic import replacing

RESULT = "result.json"
USERS = "users.csv.gz"
CURVE = "curve.csv"
CONFIG = "config.yaml"
LOG = "log.txt"
CHECKPOINT = "checkpoint.pth"


def labels(cell) -> dict:
    """What tells the results of a cell from others."""
    return {
        "dataset": cell.dataset,
        "method": cell.contestant,
        "model": cell.settings["model"],
        "split_seed": cell.split_seed,
        "model_seed": cell.model_seed,
        "fingerprint": cell.fingerprint,
    }


def write_result(folder: Path, result: dict) -> dict:
    """Write ``result.json`` whole or not at all; returns the result."""
    with replacing(folder / RESULT) as partial:
        partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result
