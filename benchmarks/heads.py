"""Does it matter whether mu and logvar come from one linear layer or from two?

    python benchmarks/heads.py                          ml-100k, ten seeds, CE and MSE
    python benchmarks/heads.py --losses MSE --seeds 1 2

Three contestants, the same split, seed and batches: the split head, the twin head, and a twin head that
begins with the split head's weights. Both heads are the same function of their weights. What differs is
where they begin: Xavier's rule draws a layer of 2d outputs with a smaller deviation than one of d, and the
same random numbers make the same weights but for that factor.
"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from tqdm import tqdm

import recbole_vae_plugin  # noqa: F401  registers the models
from recbole_vae_plugin.compare.statistics import paired_t

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
VARIANTS = {"CE": "multi-vae", "MSE": "vae", "BCE": "logistic-vae"}
CONTESTANTS = {"split": "split", "twin": "twin", "twin begun as split": "twin"}


def prepared(files: list[str], seed: int, settings: dict):
    """Config, data and model as RecBole's quick start makes them."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, init_seed

    quiet = {"seed": seed, "show_progress": False, "state": "ERROR"}
    config = Config(config_file_list=files, config_dict={**quiet, **settings})
    init_seed(seed, config["reproducibility"])
    data = data_preparation(config, create_dataset(config))
    init_seed(seed, config["reproducibility"])
    return config, data, get_model(config["model"])(config, data[0].dataset).to(config["device"])


def test_score(contestant: str, loss: str, dataset: str, seed: int, settings: dict) -> float:
    """NDCG@10 on test data, after training with early stopping."""
    from recbole.utils import get_trainer

    def files(head):
        return [dataset, str(CONFIGS / "models" / f"{VARIANTS[loss]}-{head}.yaml")]

    config, (train, valid, test), model = prepared(files(CONTESTANTS[contestant]), seed, settings)
    if contestant == "twin begun as split":
        state = torch.get_rng_state()
        begin_as(prepared(files("split"), seed, settings)[2], model)
        torch.set_rng_state(state)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.fit(train, valid, verbose=False)
    return trainer.evaluate(test)["ndcg@10"]


def begin_as(split, twin) -> None:
    """Copy a split model's weights into a twin one."""
    weights = split.state_dict()
    for part in ("weight", "bias"):
        both = weights.pop(f"network.head.both.{part}")
        weights[f"network.head.mu.{part}"], weights[f"network.head.logvar.{part}"] = both.chunk(2)
    twin.load_state_dict(weights)


def verdict(found: dict[str, list[float]], contestant: str) -> str:
    """Mean difference to the split head over seeds, its 95% interval and p of the paired t-test."""
    gaps = np.subtract(found[contestant], found["split"])
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    low, high, better = gaps.mean() - half, gaps.mean() + half, int((gaps > 0).sum())
    text = f"{gaps.mean():+.4f} [{low:+.4f}, {high:+.4f}], better in {better} of {len(gaps)}"
    return f"{text}, p = {paired_t(gaps):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", default=str(CONFIGS / "datasets/ml-100k.yaml"), help="a data set's config file"
    )
    parser.add_argument("--losses", nargs="+", default=["CE", "MSE"], choices=VARIANTS)
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=list(range(1, 11)),
        help="two at least; each sets split and weights",
    )
    parser.add_argument("--epochs", type=int, help="at most; the config's where left out")
    options = parser.parse_args()
    if len(set(options.seeds)) < 2:
        parser.error(f"--seeds: got {options.seeds}; allowed: two different ones at least")
    settings = {"epochs": options.epochs} if options.epochs else {}
    sys.argv = sys.argv[:1]
    versions = ", ".join(f"{name} {version(name)}" for name in ("recbole", "torch", "numpy"))
    print(f"{Path(options.dataset).stem}, test ndcg@10, {platform.machine()}, {versions}\n")
    print("| loss | head | mean ± deviation | difference to split [95% interval] |\n|---|---|---|---|")
    for loss in options.losses:
        found: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for seed in tqdm(options.seeds, desc=loss, leave=False):
            for name, scores in found.items():
                scores.append(test_score(name, loss, options.dataset, seed, settings))
        for name, scores in found.items():
            against = "" if name == "split" else verdict(found, name)
            print(f"| {loss} | {name} | {np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f} | {against} |")


if __name__ == "__main__":
    main()
