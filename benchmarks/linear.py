"""The sparse linear branch on a catalogue that is generated: time, peak of memory, and density of the matrix.

    python benchmarks/linear.py                              1,000,000 items, 200,000 users, 30 items each
    python benchmarks/linear.py --shape 70000 25000 850000 --neighbors 50 100 200

Popularity of items and activity of users fall as power laws; single-threaded.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter

import torch
from shapes import draw

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.sparse_ease import SparseEASE
from recbole_vae_plugin.runs.machine import peak_memory, processor, reset_peak_memory

#: users scored at once
BATCH = 100


def measure(interactions: Interactions, settings: SparseEASE.Settings) -> dict[str, float]:
    """What fitting the branch costs, and scoring users with it."""
    n_items = interactions.n_items
    reset_peak_memory()
    branch = SparseEASE.build(n_items, settings)
    begin = perf_counter()
    branch.fit(interactions, settings)
    fitted = perf_counter()
    peak = peak_memory()
    nonzero = int(branch.offsets[-1])
    batches = torch.randint(len(interactions.offsets) - 1, (5, BATCH))
    scoring = perf_counter()
    for users in batches:
        branch(interactions.rows(users))
    return {
        "neighbors": settings.neighbors,
        "fit, s": fitted - begin,
        "peak, MiB": peak,
        "nonzero": nonzero,
        "density": nonzero / n_items**2,
        "stored, MiB": sum(buffer.nbytes for buffer in branch.buffers()) / 2**20,
        "scoring a user, ms": (perf_counter() - scoring) / batches.numel() * 1000,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shape = "USERS", "ITEMS", "INTERACTIONS"
    parser.add_argument("--shape", type=int, nargs=3, default=(200_000, 1_000_000, 6_000_000), metavar=shape)
    parser.add_argument("--neighbors", type=int, nargs="+", default=[100])
    parser.add_argument("--reg-weight", type=float, default=50.0)
    parser.add_argument("--json", help="also write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    n_users, n_items, n_interactions = args.shape
    users, items = map(torch.from_numpy, draw(n_users, n_items, n_interactions))
    interactions = Interactions(users, items, n_users, n_items)
    print(f"{n_users:,} users, {n_items:,} items, {n_interactions:,} interactions; {processor()}")
    found = []
    for neighbors in args.neighbors:
        settings = SparseEASE.Settings(neighbors=neighbors, reg_weight=args.reg_weight)
        figures = measure(interactions, settings)
        found.append(figures)
        print(" · ".join(f"{name} {value:,.6g}" for name, value in figures.items()), flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
