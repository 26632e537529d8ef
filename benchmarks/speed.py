"""Seconds and memory of training, evaluation and whole runs, ours beside RecBole's models.

    python benchmarks/speed.py                                  ml-100k, and how cost grows
    python benchmarks/speed.py --data-path DIR --datasets ml-1m amazon-book-kgat ml-20m-shape

Each measurement is a fresh process; contestants take turns, and ratios are of medians over the
rounds of one call. All use one hidden layer of 600, a code of 200, the multinomial likelihood,
batches of 500 users and dropout of 0.5. Sizes that cannot be run whole are measured over the
first batches and scaled up to an epoch. cornac's and irspack's models join in where they are
installed. RecBole's models run with this package's repairs and its faster reading of files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter

import peers
from shapes import GROWTH, SHAPES, write
from tqdm import tqdm

WIDTHS = {"mlp_hidden_size": [600], "latent_dimension": 200, "dropout_prob": 0.5}
#: The layers of Mult-VAE, instead of the defaults of this package.
LAYERS = {
    **WIDTHS,
    "encoder": "mlp",
    "activation": "tanh",
    "decoder_hidden_size": [600],
    "kl_weighting": "none",
    "anneal_cap": 0.2,
    "ema_decay": 0,
    "linear_branch": "none",
}
CONTESTANTS = {
    "VAESplit": {"model": "VAESplit", **LAYERS},
    "VAESplit-closed": {
        "model": "VAESplit",
        **LAYERS,
        "loss_type": "MSE",
        "decoder_hidden_size": [],
        "decoder": "closed_form",
        "anneal_cap": 0.008,
    },
    # RecBole counts mu and logvar together
    "MultiVAE": {"model": "MultiVAE", **WIDTHS, "latent_dimension": 400},
    # and ranks one or two users at a time unless told otherwise
    "MultiVAE-batched": {
        "model": "MultiVAE",
        **WIDTHS,
        "latent_dimension": 400,
        "eval_batch_size": 4_000_000,
    },
    "RecVAE": {"model": "RecVAE", "hidden_dimension": 600, "latent_dimension": 200},
    # other packages only train here
    **{name: {"model": name} for name in peers.INSTALLED},
}
MEASURED = [
    "import",
    "load",
    "prepare",
    "build",
    "train epoch",
    "evaluation",
    "uni100 evaluation",
    "peak MiB",
]


def first_batches(loader, most: int) -> float:
    """Limit a loader to its first batches; returns how many times more there are."""
    every = len(loader)
    if every <= most:
        return 1.0

    class Limited(type(loader)):
        def __iter__(self):
            return islice(super().__iter__(), most)

        def __len__(self):
            return most

    loader.__class__ = Limited
    return every / most


def timed(action) -> tuple[float, object]:
    begin = perf_counter()
    result = action()
    return perf_counter() - begin, result


def profile(job: dict) -> dict:
    """Where the time of a training epoch goes: operation -> share of the processor's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    _, train, _, trainer = set_up(job, {})
    first_batches(train, job["batches"])
    trainer._train_epoch(train, 0)
    with torch_profile(activities=[ProfilerActivity.CPU]) as recorded:
        trainer._train_epoch(train, 1)
    times = {event.key: event.self_cpu_time_total for event in recorded.key_averages()}
    total = sum(times.values())
    most = sorted(times, key=times.get, reverse=True)[:12]
    return {"profile": {key: times[key] / total for key in most}}


def measure(job: dict) -> dict:
    """One contestant on one data set, in this process."""
    if job["settings"]["model"] in peers.PEERS:
        return peers.measure(job)
    result: dict = {}
    settings, train, valid, trainer = set_up(job, result)
    scale = first_batches(train, job["batches"])
    trainer._train_epoch(train, 0)
    result["train epoch"] = scale * median(timed(lambda: trainer._train_epoch(train, 1))[0] for _ in range(3))
    scale = first_batches(valid, job["eval_batches"])
    trainer.evaluate(valid, load_best_model=False)
    evaluations = [timed(lambda: trainer.evaluate(valid, load_best_model=False))[0] for _ in range(3)]
    result["uni100 evaluation" if "eval_args" in settings else "evaluation"] = scale * median(evaluations)
    result["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result


def set_up(job: dict, result: dict) -> tuple:
    """Up to the first step, as RecBole's quick start goes, with the seconds of each part."""

    def imports():
        import recbole.quick_start  # noqa: F401

    result["import"], _ = timed(imports)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    sys.argv = sys.argv[:1]
    settings = {"train_batch_size": 500, "show_progress": False, "state": "ERROR", **job["settings"]}
    model_name = settings.pop("model")
    config = Config(model=model_name, dataset=job["dataset"], config_dict=settings)
    init_seed(config["seed"], True)
    result["load"], dataset = timed(lambda: create_dataset(config))
    result["prepare"], (train, valid, _) = timed(lambda: data_preparation(config, dataset))

    def build():
        model = get_model(config["model"])(config, train.dataset).to(config["device"])
        return get_trainer(config["MODEL_TYPE"], config["model"])(config, model)

    result["build"], trainer = timed(build)
    trainer.eval_collector.data_collect(train)
    trainer._train_data = train
    return settings, train, valid, trainer


def whole_run(job: dict) -> dict:
    """Ten epochs of ``run_recbole``, each evaluated, from the start of the process."""
    from recbole.quick_start import run_recbole

    settings = {"train_batch_size": 500, "epochs": 10, "show_progress": False, "state": "ERROR"}
    sys.argv = sys.argv[:1]
    run_recbole(dataset=job["dataset"], config_dict={**settings, **job["settings"]})
    return {}


def in_child(job: dict, folder: str) -> dict:
    """Run a job in a fresh process; a process that fails yields its last words."""
    begin = perf_counter()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--job", json.dumps(job)],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    seconds = perf_counter() - begin
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1:] or [f"ended by signal {-done.returncode}"]
        return {"failed": reason[0]}
    result = json.loads(done.stdout.strip().splitlines()[-1])
    return {"whole run": seconds} if job["kind"] == "whole_run" else result


def summarise(rounds: list[dict]) -> dict:
    """The median of each figure over the rounds."""
    failures = [result["failed"] for result in rounds if "failed" in result]
    if failures:
        return {"failed": failures[0]}
    return {key: median(result[key] for result in rounds) for key in rounds[0]}


def table(results: dict[str, dict]) -> str:
    """A row a figure, a column a contestant, ratios to ours in brackets."""
    # here, because the processes that are measured import this module, too
    from recbole_vae_plugin.compare.markup import markdown_table

    names = list(results)
    ours = results[names[0]]
    rows = []
    for figure in [*MEASURED, "whole run"]:
        if all(figure not in result for result in results.values()):
            continue
        cells = []
        for name in names:
            value = results[name].get(figure)
            if value is None:
                cells.append(results[name].get("failed", ""))
            elif name == names[0]:
                cells.append(f"{value:.3g}")
            else:
                cells.append(
                    f"{value:.3g} ({value / ours[figure]:.1f}x)" if figure in ours else f"{value:.3g}"
                )
        rows.append([figure, *cells])
    return markdown_table(["", *names], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=["ml-100k"])
    parser.add_argument("--models", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--data-path", type=Path, help="folder of RecBole data sets (ml-1m/ml-1m.inter, ...)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=50, help="training batches measured at most")
    parser.add_argument("--eval-batches", type=int, default=2000, help="evaluation batches measured at most")
    parser.add_argument("--no-whole-runs", action="store_true", help="leave out the runs of ten epochs")
    parser.add_argument("--no-uni100", action="store_true", help="leave out sampled evaluation")
    parser.add_argument("--no-growth", action="store_true", help="leave out how cost grows with the data")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        kind = {"measure": measure, "whole_run": whole_run, "profile": profile}[options.job.pop("kind")]
        print(json.dumps(kind(options.job)))
        return

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "recbole"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    everything = {}
    with tempfile.TemporaryDirectory() as folder:
        for dataset in options.datasets:
            path = options.data_path
            if dataset in SHAPES:
                path = Path(folder, "generated")
                write(dataset, path)
            elif dataset != "ml-100k" and not (path and (path / dataset / f"{dataset}.inter").is_file()):
                print(f"\n{dataset}: left out, no {dataset}/{dataset}.inter under --data-path")
                continue
            everything[dataset] = compare(dataset, path, options, folder)
            print(f"\n{dataset} (seconds; ratios to the first column)\n")
            print(table(everything[dataset]), flush=True)
            found = in_child(job_of("profile", dataset, options.models[0], path, options), folder)
            print(f"\nwhere a training epoch of {options.models[0]} goes on {dataset}\n")
            for operation, share in found["profile"].items():
                print(f"    {share:6.1%}  {operation}")
        if not options.no_growth:
            print(f"\nhow cost grows, {options.models[0]} (seconds; ratios to the first column)\n")
            everything["growth"] = growth(options, folder)
            print(table(everything["growth"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


def job_of(kind: str, dataset: str, name: str, path: Path | None, options, **more) -> dict:
    """What a child process is told."""
    settings = {**CONTESTANTS[name], **more, "data_path": str(path.resolve() if path else "")}
    job = {"kind": kind, "dataset": dataset, "settings": settings}
    return job | {"batches": options.batches, "eval_batches": options.eval_batches}


def compare(dataset: str, path: Path | None, options, folder: str) -> dict[str, dict]:
    """All contestants on one data set, in turns."""
    kinds = [("measure", {})]
    if not options.no_uni100:
        kinds.append(("measure", {"eval_args": {"mode": "uni100"}}))
    if not options.no_whole_runs:
        kinds.append(("whole_run", {}))
    results: dict[str, dict] = {name: {} for name in options.models}
    for kind, more in kinds:
        taking_part = [name for name in options.models if (kind, more) == kinds[0] or name not in peers.PEERS]
        rounds: dict[str, list[dict]] = {name: [] for name in taking_part}
        turns = [name for _ in range(options.rounds) for name in taking_part]
        for name in tqdm(turns, desc=f"{dataset}, {kind} {more or ''}"):
            rounds[name].append(in_child(job_of(kind, dataset, name, path, options, **more), folder))
        for name, found in rounds.items():
            results[name] = {**summarise(found), **results[name]}
    return results


def growth(options, folder: str) -> dict[str, dict]:
    """The first contestant on generated data of which one dimension doubles."""
    path = Path(folder, "growth")
    for shape in GROWTH:
        write(shape, path)
    rounds: dict[str, list[dict]] = {shape: [] for shape in GROWTH}
    for shape in tqdm(GROWTH * options.rounds, desc="growth"):
        rounds[shape].append(in_child(job_of("measure", shape, options.models[0], path, options), folder))
    return {shape: summarise(found) for shape, found in rounds.items()}


if __name__ == "__main__":
    main()
