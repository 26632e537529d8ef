"""What a second process gains, and where the rest of it goes: training and search on one machine.

    python benchmarks/parallel.py                                   ml-100k, planted data of ml-1m's shape
    python benchmarks/parallel.py --trials 0                        training only

Contestants take turns; ratios are of medians over the rounds of one call. Training seconds are those
of an epoch as RecBole's log states them, without start-up; a search is timed whole.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import yaml
from shapes import SHAPES, write
from torch import distributed
from torch.multiprocessing import spawn

#: name -> processes, threads of each, users in a batch
CONTESTANTS = {
    "1 process, 1 thread": (1, 1, 500),
    "1 process, 2 threads": (1, 2, 500),
    "2 processes, 1 thread each": (2, 1, 500),
    "1 process, 1 thread, half the batch": (1, 1, 250),
}
RUN = [sys.executable, "-m", "recbole_vae_plugin.cli.run_recbole"]
TUNE = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "tune", "space.yaml"]
EPOCH = re.compile(r"epoch \d+ training \[time: ([\d.]+)s")


def epoch_seconds(contestant: str, dataset: str, folder: str, epochs: int) -> float:
    """The median over the epochs of one run, the first left out."""
    processes, threads, batch = CONTESTANTS[contestant]
    settings = {"train_batch_size": batch, "epochs": epochs, "eval_step": epochs, "show_progress": False}
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    done = subprocess.run(
        [*RUN, "--model=VAESplit", f"--dataset={dataset}", f"--data_path={folder}", f"--nproc={processes}"]
        + arguments,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=True,
    )
    colours = re.compile(r"\x1b\[[\d;]*m")
    return median(map(float, EPOCH.findall(colours.sub("", done.stdout + done.stderr))[1:]))


def exchange(rank: int, port: int, numbers: int, file: str) -> None:
    """Seconds in which two processes average a gradient of that many float32 numbers."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=rank, world_size=2)
    gradient, seconds = torch.ones(numbers), []
    for _ in range(20):
        begin = perf_counter()
        distributed.all_reduce(gradient)
        seconds.append(perf_counter() - begin)
    if rank == 0:
        Path(file).write_text(str(median(seconds)))
    distributed.barrier()
    distributed.destroy_process_group()


def search_seconds(jobs: int, trials: int, number: int) -> float:
    """A whole search on ml-100k with that many trials of ten epochs."""
    space = {
        "model": "VAESplit",
        "dataset": {"dataset": "ml-100k"},
        "settings": {"epochs": 10},
        "parameters": {"learning_rate": {"loguniform": [1e-4, 1e-2]}},
        "trials": trials,
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    begin = perf_counter()
    subprocess.run(
        [*TUNE, "--jobs", str(jobs), "--results", f"search-{jobs}-{number}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="ml-1m-shape", help="ml-100k, or a shape (default ml-1m-shape)")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of a training run (default 6)")
    parser.add_argument("--trials", type=int, default=12, help="trials of a search; 0: none (default 12)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    file = options.json and options.json.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        found = measure(options, folder)
        os.chdir("/")
    if file:
        file.write_text(json.dumps(found, indent=2))


def measure(options, folder: str) -> dict:
    """Take the turns, print the medians and their ratios, and return all seconds."""
    if options.dataset in SHAPES:
        write(options.dataset, Path(folder))
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.rounds):
        for name, measured in seconds.items():
            measured.append(epoch_seconds(name, options.dataset, folder, options.epochs))
    medians = {name: median(measured) for name, measured in seconds.items()}
    print(f"training {options.dataset}, seconds an epoch (median, least to most of {options.rounds} rounds)")
    alone = medians["1 process, 1 thread"]
    for name, measured in seconds.items():
        spread = f"{min(measured):.2f} to {max(measured):.2f}"
        print(f"  {name:38} {medians[name]:6.2f} ({spread})  speed-up {alone / medians[name]:.2f}")
    return {"training": seconds, "lost": lost(options, medians), "search": search(options)}


def lost(options, medians: dict[str, float]) -> dict[str, float]:
    """Where two processes lose what they do not gain: in smaller products, in the exchange
    of gradients (measured alone), and in the rest: copies, waiting, and memory that both share."""
    users = SHAPES[options.dataset][0] if options.dataset in SHAPES else 943  # of ml-100k
    checkpoint = torch.load(max(Path("saved").glob("*.pth")), weights_only=False, map_location="cpu")
    numbers = sum(weight.numel() for weight in checkpoint["state_dict"].values())
    from recbole_vae_plugin.cli.processes import free_port

    spawn(exchange, (int(free_port()), numbers, "exchange"), nprocs=2)
    each = float(Path("exchange").read_text())
    half = medians["1 process, 1 thread, half the batch"] / 2
    ideal = medians["1 process, 1 thread"] / 2
    steps = -(-users // 500)
    parts = {"ideal": ideal, "smaller products": half - ideal, "exchange of gradients": each * steps}
    parts["the rest"] = medians["2 processes, 1 thread each"] - sum(parts.values())
    print(f"  two processes, an epoch's seconds, {numbers * 4 / 2**20:.0f} MiB of gradients a step:")
    for part, seconds in parts.items():
        print(f"    {part:36} {seconds:6.2f}")
    return parts


def search(options) -> dict[str, list[float]]:
    """The same search by one process and by two."""
    seconds: dict[str, list[float]] = {"1 job": [], "2 jobs": []}
    if not options.trials:
        return seconds
    for number in range(options.rounds):
        for jobs, measured in enumerate(seconds.values(), start=1):
            measured.append(search_seconds(jobs, options.trials, number))
    alone, shared = (median(measured) for measured in seconds.values())
    print(
        f"search of {options.trials} trials, whole seconds: {alone:.1f} alone, {shared:.1f} shared by two, "
    )
    print(f"  speed-up {alone / shared:.2f}; the rest is start-up, and the test of the best by one alone")
    return seconds


if __name__ == "__main__":
    main()
