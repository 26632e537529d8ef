"""What starting takes: what the package adds to ``import torch``, RecBole's imports, the main job.

python benchmarks/startup.py --rounds 5

Each figure is of fresh processes, one after the other, the kinds in turn; the least, the median and the
most of the rounds are printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

AUTOLOAD = """
import os, torch
from importlib.metadata import entry_points
from time import perf_counter
(entry,) = entry_points(group="torch.backends", name="recbole_vae_plugin")
torch.__spec__._initializing = True  # as where torch calls it
begin = perf_counter()
entry.load()()
print(1000 * (perf_counter() - begin))
"""
IMPORT = """
from time import perf_counter
begin = perf_counter()
import {modules}
print(1000 * (perf_counter() - begin))
"""
JOB = [str(Path(sys.executable).with_name("run_recbole")), "--model=VAESplit", "--dataset=ml-100k"]
WITHOUT = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}

#: What is measured -> code that prints milliseconds, or a command; and environment variables.
KINDS = {
    "added to import torch, ms": (AUTOLOAD, WITHOUT),
    "import torch, ms": (IMPORT.format(modules="torch"), WITHOUT),
    "import recbole.quick_start, ms": (IMPORT.format(modules="recbole_vae_plugin, recbole.quick_start"), {}),
    "import recbole.quick_start and ray.tune, ms": (
        IMPORT.format(modules="recbole_vae_plugin, recbole.quick_start, ray.tune"),
        {},
    ),
    "main job with one epoch, ms": ([*JOB, "--epochs=1"], {}),
}


def milliseconds(what: str | list[str], environment: dict[str, str], folder: str) -> float | None:
    """One measurement; ``None`` where something is not installed."""
    command = [sys.executable, "-c", what] if isinstance(what, str) else what
    begin = perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    passed = 1000 * (perf_counter() - begin)
    if "ModuleNotFoundError: No module named 'ray" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.splitlines()[-1]) if isinstance(what, str) else passed


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5, help="processes of each kind (default 5)")
    rounds = options.parse_args().rounds
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for kind, (what, environment) in KINDS.items():
                value = milliseconds(what, environment, folder)
                # the first round fills the caches of the file system
                if value is not None and number:
                    found[kind].append(value)
    print("| what | least | median | most |\n|---|---|---|---|")
    for kind, values in found.items():
        row = (f"{value:.4g}" for value in (min(values), median(values), max(values))) if values else "---"
        print(f"| {kind} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
