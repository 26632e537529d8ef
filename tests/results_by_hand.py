"""A results folder written by hand: two methods whose figures are known."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import yaml

from recbole_vae_plugin.compare.experiment import Experiment


def write_results(
    folder: Path, datasets: tuple[str, ...] = ("toy",), methods: tuple[str, str] = ("good", "bad")
) -> Path:
    """Write what ``recbole-vae compare`` leaves after two methods on two seeds; on each further data set the
    second method is twice as good as on the one before."""
    good, bad = methods
    experiment = {
        "name": "by hand",
        "description": "",
        "method_seeds": {},
        "split_seeds": [1],
        "model_seeds": [1, 2],
        "checkpoints": False,
        "datasets": {
            name: {"dataset": name, "data_path": "/secret/place", "load_col": None} for name in datasets
        },
        "methods": {good: {"model": "VAESplit", "anneal_cap": 0.1}, bad: {"model": "Pop"}},
        "baseline": bad,
        "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "settings": {"epochs": 5},
    }
    folder.mkdir()
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    metrics = {"recall@10": 0.21, "mrr@10": 0.45, "ndcg@10": 0.28, "hit@10": 0.78, "precision@10": 0.2}
    for run in Experiment(**experiment).runs():
        factor = {good: 1, bad: 0.5 * 2 ** datasets.index(run.dataset)}[run.method]
        # seeds lie symmetrically around the mean
        noise = 0.001 * (-1) ** run.model_seed
        test = {name: value * factor + noise for name, value in metrics.items()}
        place = folder / "runs" / run.folder
        place.mkdir(parents=True)
        result = {
            **run.labels,
            "test": test,
            "valid": test,
            "valid_score": test["ndcg@10"],
            "best_epoch": 4,
            "epochs": 5,
            "train_seconds": 1.234,
            "eval_seconds": 0.5,
            "seconds": 9.0,
            "prepare_seconds": 1.0,
            "peak_memory": 512.0,
            "train_gpu_memory": 2048.0,
            "eval_gpu_memory": 0.0,
            "parameters": 1234567,
            "flops": 7654321.0,
            "environment": {},
        }
        (place / "config.yaml").write_text("{anneal_cap: 0.1, epochs: 5, latent_dimension: 200}")
        (place / "result.json").write_text(json.dumps(result))
        users = pd.DataFrame({"user": ["a", "b"], **{name: [v, v] for name, v in test.items()}})
        users.to_csv(place / "users.csv.gz", index=False)
        pd.DataFrame({"epoch": [0], "train_loss": [1.0]}).to_csv(place / "curve.csv", index=False)
    return folder
