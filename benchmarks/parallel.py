"""What a second process gains, and where the rest of it goes: training and search on one machine.

    python benchmarks/parallel.py                   train on planted data of ml-1m's shape, search on ml-100k
    python benchmarks/parallel.py --trials 0        training only

Contestants take turns; ratios are of medians over the rounds of one call. Training seconds are those
of an epoch as RecBole's log states them, without start-up; a search is timed whole, and its trials as
its `trials.csv` states them.
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

import pandas as pd
import torch
import yaml
from shapes import SHAPES, write
from torch import distributed
from torch.multiprocessing import spawn

BATCH = 500
#: name -> processes, threads of each, users in a batch
CONTESTANTS = {
    "1 process, 1 thread": (1, 1, BATCH),
    "1 process, 2 threads": (1, 2, BATCH),
    "2 processes, 1 thread each": (2, 1, BATCH),
    "1 process, 1 thread, half the batch": (1, 1, BATCH // 2),
}
#: name -> jobs, cores that they share out
SEARCHES = {"1 job, 1 thread": (1, 1), "1 job, 2 threads": (1, 2), "2 jobs, 1 thread each": (2, 2)}
RUN = [sys.executable, "-m", "recbole_vae_plugin.cli.run_recbole"]
# a search gives its jobs all the cores that it finds
TUNE = """import os, sys
os.cpu_count = lambda: {cores}
from recbole_vae_plugin.cli.recbole_vae import main
sys.exit(main(["tune", "space.yaml", "--jobs", "{jobs}", "--results", "{results}"]))"""
EPOCH = re.compile(r"epoch \d+ training \[time: ([\d.]+)s")


def output_of(command: list[str], threads: int) -> str:
    """What a command prints; where it fails, the benchmark ends with the command's own words."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{' '.join(command)}\nfailed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout + done.stderr


def epoch_seconds(contestant: str, dataset: str, folder: str, epochs: int) -> float:
    """The median over the epochs of one run, the first left out."""
    processes, threads, batch = CONTESTANTS[contestant]
    settings = {"train_batch_size": batch, "epochs": epochs, "eval_step": epochs, "show_progress": False}
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    what = ["--model=VAESplit", f"--dataset={dataset}", f"--data_path={folder}", f"--nproc={processes}"]
    output = output_of([*RUN, *what, *arguments], threads)
    return median(map(float, EPOCH.findall(re.sub(r"\x1b\[[\d;]*m", "", output))[1:]))


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


def search_seconds(name: str, options, folder: Path) -> dict[str, float]:
    """Where the seconds of one search on ml-100k go: whole, and summed over its trials."""
    space = {
        "model": "VAESplit",
        "dataset": {"dataset": "ml-100k"},
        # never reached, so that all trials do the same, and none is weak
        "parameters": {"stopping_step": [options.trial_epochs + 1 + n for n in range(options.trials)]},
        "settings": {"epochs": options.trial_epochs, "eval_step": 1},
        "trials": options.trials,
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    jobs, cores = SEARCHES[name]
    code = TUNE.format(cores=cores, jobs=jobs, results=folder)
    begin = perf_counter()
    output_of([sys.executable, "-c", code], cores // jobs)
    whole = perf_counter() - begin
    trials = pd.read_csv(folder / "trials.csv")
    if (trials["epochs"] != options.trial_epochs).any():
        sys.exit(f"{name}: the trials differ in length:\n{trials.to_string()}")
    (best,) = folder.glob("best/**/result.json")
    return {
        "whole": whole,
        "training": float((trials["seconds"] - trials["startup_seconds"]).sum()),
        "data and models": float(trials["startup_seconds"].sum()),
        "test run of the best": json.loads(best.read_text())["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", default="ml-1m-shape", choices=SHAPES, help="shape to train on (default ml-1m-shape)"
    )
    parser.add_argument("--epochs", type=int, default=6, help="epochs of a training run (default 6)")
    parser.add_argument("--trials", type=int, default=12, help="trials of a search; 0: none (default 12)")
    parser.add_argument("--trial-epochs", type=int, default=30, help="epochs of each of them (default 30)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each training (default 3)")
    parser.add_argument("--search-rounds", type=int, default=1, help="turns of each search (default 1)")
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
    write(options.dataset, Path(folder))
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(options.rounds):
        for name, measured in seconds.items():
            measured.append(epoch_seconds(name, options.dataset, folder, options.epochs))
    print(f"training {options.dataset}, seconds an epoch (median, least to most of {options.rounds} rounds)")
    medians = show_ratios(seconds)
    return {"training": seconds, "lost": lost(options, medians), "search": search(options)}


def show_ratios(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Print medians, and speed-ups over the first; return the medians."""
    medians = {name: median(measured) for name, measured in seconds.items()}
    alone = next(iter(medians.values()))
    for name, measured in seconds.items():
        spread = f"{min(measured):.2f} to {max(measured):.2f}"
        print(f"  {name:38} {medians[name]:6.2f} ({spread})  speed-up {alone / medians[name]:.2f}")
    return medians


def lost(options, medians: dict[str, float]) -> dict[str, float]:
    """Where two processes lose what they do not gain: in smaller products, in the exchange
    of gradients (measured alone), and in the rest: copies, waiting, and memory that both share."""
    checkpoint = torch.load(max(Path("saved").glob("*.pth")), weights_only=False, map_location="cpu")
    numbers = sum(weight.numel() for weight in checkpoint["state_dict"].values())
    from recbole_vae_plugin.integration.distributed.launch import free_port

    spawn(exchange, (int(free_port()), numbers, "exchange"), nprocs=2)
    each = float(Path("exchange").read_text())
    half = medians["1 process, 1 thread, half the batch"] / 2
    ideal = medians["1 process, 1 thread"] / 2
    steps = -(-SHAPES[options.dataset][0] // BATCH)
    parts = {"ideal": ideal, "smaller products": half - ideal, "exchange of gradients": each * steps}
    parts["the rest"] = medians["2 processes, 1 thread each"] - sum(parts.values())
    print(f"  two processes, an epoch's seconds, {numbers * 4 / 2**20:.0f} MiB of gradients a step:")
    show(parts)
    return parts


def show(parts: dict[str, float]) -> None:
    for part, seconds in parts.items():
        print(f"    {part:36} {seconds:6.2f}")


def search(options) -> dict:
    """The same search by one process and by two, and where two lose what they do not gain."""
    if not options.trials:
        return {}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in SEARCHES}
    for number in range(options.search_rounds):
        for place, (name, measured) in enumerate(rounds.items()):
            measured.append(search_seconds(name, options, Path(f"search-{place}-{number}")))
    print(f"search of {options.trials} trials of {options.trial_epochs} epochs on ml-100k, whole seconds")
    seconds = {name: [one["whole"] for one in measured] for name, measured in rounds.items()}
    show_ratios(seconds)
    alone, _, shared = (
        {part: median(one[part] for one in measured) for part in measured[0]} for measured in rounds.values()
    )
    parts = {
        "ideal: half of the training alone": alone["training"] / 2,
        "training slower side by side": (shared["training"] - alone["training"]) / 2,
        "data and models, of each trial": shared["data and models"] / 2,
        "test run of the best, by one": shared["test run of the best"],
    }
    parts["the rest"] = shared["whole"] - sum(parts.values())
    print("  two jobs, seconds; the rest is start of processes, waiting for the last trial, and the pages")
    show(parts)
    return {"seconds": rounds, "lost": parts}


if __name__ == "__main__":
    main()
