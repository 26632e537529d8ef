"""A catalogue of a million items: trained with a decoder in closed form, evaluated, bundled and served.

    python benchmarks/catalogue.py                                              about 12 GB of memory
    python benchmarks/catalogue.py --items 20000 --users 2000 --length 50 --blocks 20        to try it out

The data are planted: items and users lie in blocks, and users have items of their own block only. So the
share of recommendations from a user's block says what was learnt; by chance it is 1 / blocks.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np


def write(folder: Path, items: int, users: int, length: int, blocks: int) -> None:
    """A RecBole data set ``planted``: user u has items of block u % blocks, item i is of i % blocks."""
    random = np.random.default_rng(0)
    in_block = items // blocks
    (folder / "planted").mkdir()
    with (folder / "planted" / "planted.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\n")
        remaining = {block: random.permutation(in_block) for block in range(blocks)}
        for user in range(users):
            block = user % blocks
            # in turns, so that each item has users if there are as many interactions
            if len(remaining[block]) < length:
                remaining[block] = random.permutation(in_block)
            taken, remaining[block] = np.split(remaining[block], [length])
            file.writelines(f"u{user}\ti{item * blocks + block}\n" for item in taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--length", type=int, default=300, help="interactions of each user")
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=200)
    parser.add_argument("--latent", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads it
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder), found)
    print(f"{'peak memory':34} {found['peak MiB']:10,.0f} MiB")
    print(f"{'recommended from the own block':34} {found['from own block']:10.1%}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


class Steps:
    """The seconds of each step: printed, and kept in ``found``."""

    def __init__(self, found: dict[str, float]) -> None:
        self.found = found

    def __call__(self, step: str, action):
        begin = perf_counter()
        result = action()
        self.found[step] = perf_counter() - begin
        print(f"{step:34} {self.found[step]:10.2f} s", flush=True)
        return result


def run(options: argparse.Namespace, folder: Path, found: dict[str, float]) -> None:
    """All steps from the data to recommendations."""
    timed = Steps(found)
    planted = (options.items, options.users, options.length, options.blocks)
    timed("write the data", lambda: write(folder, *planted))
    checkpoint = train(options, folder, timed)
    found["epoch"] = found["train"] / options.epochs
    serve(options, checkpoint, folder, timed)
    found["peak MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(options: argparse.Namespace, folder: Path, timed: Steps) -> str:
    """Train and evaluate with RecBole; returns the checkpoint."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder),
        "state": "ERROR",
        "show_progress": False,
        "encoder": "mlp",
        "activation": "tanh",
        "kl_weighting": "none",
        "linear_branch": "none",
        "mlp_hidden_size": [options.hidden],
        "latent_dimension": options.latent,
        "loss_type": "MSE",
        "decoder": "closed_form",
        "decoder_hidden_size": [],
        "decoder_ridge": 1.0,
        "anneal_cap": 0.01,
        "train_batch_size": 250,
        "epochs": options.epochs,
        "topk": [10],
        "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
    }
    config = Config(model="VAESplit", dataset="planted", config_dict=settings)
    init_seed(config["seed"], True)
    data = timed("load", lambda: create_dataset(config))
    batches, _, test = timed("split", lambda: data_preparation(config, data))
    print(f"{data.user_num - 1:,} users, {data.item_num - 1:,} items, {data.inter_num:,} interactions")
    model = timed("model", lambda: get_model("VAESplit")(config, batches.dataset))
    trainer = get_trainer(config["MODEL_TYPE"], "VAESplit")(config, model)
    # without validation RecBole saves at every epoch
    timed("train", lambda: trainer.fit(batches, None, saved=False, verbose=False))
    timed("save", lambda: trainer._save_checkpoint(options.epochs - 1, verbose=False))
    trainer.eval_collector.data_collect(batches)
    result = timed("rank all items for each user", lambda: trainer.evaluate(test, load_best_model=False))
    timed.found |= {f"test {name}": float(value) for name, value in result.items()}
    return trainer.saved_model_file


def serve(options: argparse.Namespace, checkpoint: str, folder: Path, timed: Steps) -> None:
    """Convert the checkpoint to a bundle, and recommend to new users from it."""
    from recbole_vae_plugin.conversion import bundle_of
    from recbole_vae_plugin.serving.bundle import write_bundle
    from recbole_vae_plugin.serving.recommender import Recommender

    bundle = folder / "planted.zip"
    timed("bundle", lambda: write_bundle(bundle_of(checkpoint), bundle))
    recommender = timed("load the bundle", lambda: Recommender.load(bundle))
    random = np.random.default_rng(1)
    in_block = options.items // options.blocks
    blocks = random.integers(options.blocks, size=100)
    chosen = random.integers(in_block, size=(100, min(20, in_block)))
    histories = [[f"i{item * options.blocks + block}" for item in row] for row, block in zip(chosen, blocks)]
    recommender.recommend(histories[0])
    ranked = timed("recommend to 100 new users", lambda: [recommender.recommend(x, k=10) for x in histories])
    hits = [int(item[1:]) % options.blocks == block for items, block in zip(ranked, blocks) for item in items]
    timed.found["from own block"] = float(np.mean(hits))
    timed.found["bundle MiB"] = bundle.stat().st_size / 2**20


if __name__ == "__main__":
    main()
