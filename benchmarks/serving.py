"""Recommending to users as they come: `Recommender` with a bundle, beside RecBole's `full_sort_topk`.

    python benchmarks/serving.py                             ml-100k, and 20,000 items of generated data
    python benchmarks/serving.py --datasets ml-100k --calls 20 --batch 50                  to try it out

Both score with the same VAESplit of default size, with weights as they were drawn: speed does not depend
on them. Each is measured in a process of its own on the CPU, which loads what it needs and answers calls
for one user each, then for many users at once. Peak memory is that of the calls for one user. On a machine
with other work, compare the milliseconds of CPU: the others count waiting, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from shapes import SHAPES, write

PATHS = ("Recommender.recommend", "full_sort_topk")
#: Items recommended to each user.
K = 10
#: Calls that are not measured: the first ones fill caches.
WARM_UP = 20


def prepare(dataset: str, folder: Path) -> None:
    """Leave a checkpoint, a bundle and users' ids and training items in the folder."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    import recbole_vae_plugin  # noqa: F401  registers the models
    from recbole_vae_plugin.conversion import bundle_of
    from recbole_vae_plugin.serving.bundle import write_bundle

    settings = {
        "checkpoint_dir": str(folder),
        "state": "ERROR",
        "load_col": {"inter": ["user_id", "item_id"]},
    }
    if dataset in SHAPES:
        write(dataset, folder)
        settings["data_path"] = str(folder)
    sys.argv = sys.argv[:1]  # RecBole reads it
    config = Config(model="VAESplit", dataset=dataset, config_dict=settings)
    init_seed(config["seed"], True)
    data = create_dataset(config)
    train, *_ = data_preparation(config, data)
    trainer = get_trainer(config["MODEL_TYPE"], "VAESplit")(
        config, get_model("VAESplit")(config, train.dataset)
    )
    checkpoint = folder / "checkpoint.pth"
    trainer._save_checkpoint(0, verbose=False, saved_model_file=str(checkpoint))
    write_bundle(bundle_of(checkpoint), folder / "bundle.vae")

    users, items = (train.dataset.inter_feat[field].numpy() for field in (data.uid_field, data.iid_field))
    names = data.field2id_token[data.iid_field]
    drawn = np.random.default_rng(0).permutation(np.unique(users))
    histories = [names[items[users == user]].tolist() for user in drawn[:2000]]
    (folder / "users.json").write_text(json.dumps([drawn[:2000].tolist(), histories]))


def answering(path: str, folder: Path):
    """(a function that recommends to a list of users, those users) of one of the :data:`PATHS`."""
    users, histories = json.loads((folder / "users.json").read_text())
    if path == "Recommender.recommend":
        from recbole_vae_plugin import Recommender

        recommender = Recommender.load(folder / "bundle.vae")
        return lambda asked: recommender.recommend(asked, k=K), histories

    import torch
    from recbole.quick_start import load_data_and_model
    from recbole.utils.case_study import full_sort_topk

    _, model, _, _, _, test = load_data_and_model(str(folder / "checkpoint.pth"))

    @torch.no_grad()
    def answer(asked):
        return full_sort_topk(np.array(asked), model, test, k=K)[1].tolist()

    return answer, users


def peak_memory() -> float:
    """MiB that this process has held at most; the kernel's ``ru_maxrss`` would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(path: str, folder: Path, calls: int, batch: int, threads: int) -> dict[str, float]:
    """What a process finds that serves in one of the :data:`PATHS`."""
    import torch

    torch.set_num_threads(threads)
    begin = perf_counter()
    answer, users = answering(path, folder)
    loading = perf_counter() - begin
    spent, worked = [], []
    for call in range(WARM_UP + calls):
        user = users[call % len(users)]
        begin, begin_work = perf_counter(), process_time()
        answer([user])
        spent.append(1000 * (perf_counter() - begin))
        worked.append(1000 * (process_time() - begin_work))
    peak = peak_memory()
    many = [users[place % len(users)] for place in range(batch)]
    answer(many)
    begin = perf_counter()
    answer(many)
    speed = batch / (perf_counter() - begin)
    median, late = np.percentile(spent[WARM_UP:], [50, 99])
    return {
        "load, s": loading,
        "one user, median ms": float(median),
        "one user, p99 ms": float(late),
        "one user, median CPU ms": float(np.median(worked[WARM_UP:])),
        "batch, users/s": speed,
        "peak MiB": peak,
    }


def in_child(path: str, folder: Path, options) -> dict[str, float]:
    """:func:`measure` in a process of its own."""
    numbers = [str(number) for number in (options.calls, options.batch, options.threads)]
    command = [sys.executable, __file__, "--measure", path, str(folder), *numbers]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shapes = ", ".join(SHAPES)
    parser.add_argument(
        "--datasets", nargs="+", default=["ml-100k", "20,000 items"], help=f"ml-100k, or a shape: {shapes}"
    )
    parser.add_argument("--calls", type=int, default=500, help="for one user each (default 500)")
    parser.add_argument("--batch", type=int, default=1000, help="users at once (default 1000)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default 1)")
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        path, folder, *numbers = options.measure
        sys.argv = sys.argv[:1]  # RecBole reads it
        print(json.dumps(measure(path, Path(folder), *map(int, numbers))))
        return
    print(f"{platform.machine()}, torch {version('torch')}, {options.threads} thread(s)\n")
    found = {}
    for dataset in options.datasets:
        with tempfile.TemporaryDirectory() as folder:
            prepare(dataset, Path(folder))
            found[dataset] = {path: in_child(path, Path(folder), options) for path in PATHS}
        figures = list(found[dataset][PATHS[0]])
        print(f"| {dataset} | {' | '.join(figures)} |\n|{'---|' * (len(figures) + 1)}")
        for path, values in found[dataset].items():
            print(f"| {path} | {' | '.join(f'{value:.3g}' for value in values.values())} |")
        print(flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
