"""Multi-VAE of other packages, measured where they are installed (``pip install cornac irspack jax
dm-haiku optax``): seconds of a training epoch with the widths and batches of the speed benchmark."""

from __future__ import annotations

import resource
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

HIDDEN, CODE, BATCH = 600, 200, 500


def histories(job: dict) -> tuple[csr_matrix, float]:
    """Users x items of ones, of the first batches only; how many times more users there are."""
    if path := job["settings"]["data_path"]:
        folder = Path(path)
    else:
        folder = Path(find_spec("recbole").origin).parent / "dataset_example"
    name = job["dataset"]
    table = pd.read_csv(
        folder / name / f"{name}.inter", sep="\t", usecols=["user_id:token", "item_id:token"], dtype=str
    )
    users, items = (pd.factorize(table[f"{field}:token"])[0] for field in ("user_id", "item_id"))
    matrix = csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)))
    matrix.data[:] = 1
    some = matrix[: job["batches"] * BATCH]
    return some, matrix.shape[0] / some.shape[0]


def cornac(matrix: csr_matrix):
    """cornac's VAECF; returns what trains one epoch."""
    from cornac.data import Dataset
    from cornac.models import VAECF

    users, items = matrix.nonzero()
    n_users, n_items = matrix.shape
    names = dict(enumerate(range(n_users))), dict(enumerate(range(n_items)))
    data = Dataset(n_users, n_items, *names, (users, items, np.ones(len(users))))
    model = VAECF(
        k=CODE,
        autoencoder_structure=[HIDDEN],
        act_fn="tanh",
        likelihood="mult",
        n_epochs=1,
        batch_size=BATCH,
    )
    return lambda: model.fit(data)


def irspack(matrix: csr_matrix):
    """irspack's MultVAE, which JAX compiles in the first epoch; returns what trains one epoch."""
    import jax
    from irspack.recommenders.multvae import MultVAETrainer

    trainer = MultVAETrainer(
        matrix,
        dim_z=CODE,
        enc_hidden_dim=HIDDEN,
        dec_hidden_dim=HIDDEN,
        dropout_p=0.5,
        l2_regularizer=0,
        kl_anneal_goal=0.2,
        anneal_end_epoch=10,
        minibatch_size=BATCH,
        learning_rate=1e-3,
    )

    def epoch():
        trainer.run_epoch()
        jax.block_until_ready(trainer.params)

    return epoch


PEERS = {"cornac": cornac, "irspack": irspack}
INSTALLED = [name for name in PEERS if find_spec(name)]


def measure(job: dict) -> dict:
    """One peer on one data set, in this process."""
    matrix, scale = histories(job)
    epoch = PEERS[job["settings"]["model"]](matrix)

    def seconds() -> float:
        begin = perf_counter()
        epoch()
        return perf_counter() - begin

    seconds()
    return {
        "train epoch": scale * median(seconds() for _ in range(3)),
        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
