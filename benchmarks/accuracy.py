"""Test metrics of the shipped variants beside RecBole's own models, as a table.

python benchmarks/accuracy.py
python benchmarks/accuracy.py --dataset configs/datasets/ml-1m.yaml --seeds 2020
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter

import yaml
from tqdm import tqdm

import recbole_vae_plugin  # noqa: F401  registers the models
from recbole_vae_plugin.compare.markup import markdown_table

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
VARIANTS = sorted(path.stem for path in (CONFIGS / "models").glob("*.yaml"))
BASELINES = ["Pop", "EASE", "MultiDAE", "MultiVAE", "RecVAE"]


def run_one(contestant: str, dataset_file: str, seed: int, extra: dict) -> tuple[dict, float]:
    """Test metrics and seconds of one run; a contestant is a variant's or a RecBole model's name."""
    from recbole.quick_start import run_recbole

    files = [dataset_file]
    settings = {"seed": seed, "show_progress": False, "state": "ERROR", **extra}
    if contestant in VARIANTS:
        files.append(str(CONFIGS / "models" / f"{contestant}.yaml"))
    else:
        # Scores at once, for RecBole's models; it changes their speed and nothing else.
        settings |= {"model": contestant, "eval_batch_size": 4_000_000}
    logging.getLogger().handlers.clear()
    begin = perf_counter()
    result = run_recbole(config_file_list=files, config_dict=settings)
    return dict(result["test_result"]), perf_counter() - begin


def table(results: dict[str, list[tuple[dict, float]]]) -> str:
    """Markdown: mean ± standard deviation over the seeds."""
    metrics = list(next(iter(results.values()))[0][0])
    rows = []
    for contestant, runs in results.items():
        cells = []
        for metric in metrics:
            values = [result[metric] for result, _ in runs]
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.4f}{spread}")
        seconds = mean(seconds for _, seconds in runs)
        rows.append([contestant, *cells, f"{seconds:.0f}"])
    return markdown_table(["model", *metrics, "s per run"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", default=str(CONFIGS / "datasets/ml-100k.yaml"), help="a data set's config file"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[2020, 2021, 2022], help="each sets split and weights"
    )
    parser.add_argument(
        "--models", nargs="+", default=[*BASELINES, *VARIANTS], help="variants and RecBole models"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides for every run")
    parser.add_argument("--json", type=Path, help="write all runs to this file too")
    options = parser.parse_args()
    extra = {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in options.set)}
    sys.argv = sys.argv[:1]

    results: dict[str, list[tuple[dict, float]]] = {}
    cells = [(contestant, seed) for contestant in options.models for seed in options.seeds]
    for contestant, seed in (progress := tqdm(cells)):
        progress.set_description(f"{contestant}, seed {seed}")
        results.setdefault(contestant, []).append(run_one(contestant, options.dataset, seed, extra))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    versions = ", ".join(f"{name} {version(name)}" for name in ("recbole", "torch", "numpy"))
    print(f"\n{Path(options.dataset).stem}, seeds {options.seeds}, {platform.machine()}, {versions}\n")
    print(table(results))


if __name__ == "__main__":
    main()
