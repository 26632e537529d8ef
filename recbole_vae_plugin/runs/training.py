"""One run of an experiment: trained, evaluated and written down as RecBole would run it."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import re
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from time import perf_counter

import numpy as np
import pandas as pd
import torch
import yaml

from recbole_vae_plugin.compare.experiment import Cell
from recbole_vae_plugin.integration.data.prepared import PreparedData
from recbole_vae_plugin.runs.files import (
    CHECKPOINT,
    CONFIG,
    CURVE,
    LOG,
    USERS,
    labels,
    write_result,
)
from recbole_vae_plugin.runs.machine import (
    environment,
    forget_peak_gpu_memory,
    forget_peak_memory,
    peak_gpu_memory,
    peak_memory,
)

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Stopped(Exception):
    """Raised from the report of an epoch to end a run that is not worth going on with."""


def run_cell(
    cell: Cell,
    folder: Path,
    data: PreparedData,
    tell: Callable[[dict], None],
    keep_checkpoint: bool = False,
    test: bool = True,
) -> dict:
    """Run a cell in the working directory ``folder`` and write its files there.

    A failure is a result, too: ``failed`` says why, and the log holds the traceback.

    Args:
        folder: exists and is empty; the process changes into it, since RecBole writes where it is.
        tell: called with what is known of each epoch; raises :class:`Stopped` to end the run.
        test: whether the test data may be looked at. Without, there are no ``users.csv.gz`` and no
            ``test`` in the result.

    Returns:
        What ``result.json`` holds.
    """
    os.chdir(folder)
    handler = logging.FileHandler(LOG, encoding="utf-8")
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger()
    logger.handlers, logger.level = [handler], logging.INFO
    result = labels(cell)
    begin = perf_counter()
    try:
        result |= train_and_evaluate(cell, data, tell, keep_checkpoint, test)
    except Stopped:
        result["stopped"] = True
    except Exception as problem:
        logger.error(traceback.format_exc())
        result["failed"] = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    finally:
        shutil.rmtree("saved", ignore_errors=True)
        handler.close()
        logger.handlers = []
        leave_no_trace()
    result |= {
        "seconds": perf_counter() - begin,
        "threads": torch.get_num_threads(),
        "environment": environment(),
    }
    return write_result(Path(), result)


def leave_no_trace() -> None:
    """A run's model and its precision are not the next one's."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.set_autocast_dtype("cuda", torch.float16)
    torch.set_autocast_dtype("cpu", torch.bfloat16)


class PlainFormatter(logging.Formatter):
    """RecBole colours its log for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return COLOURS.sub("", super().format(record))


def train_and_evaluate(cell: Cell, data: PreparedData, tell, keep_checkpoint: bool, test: bool) -> dict:
    """The steps of RecBole's quick start, with the two seeds apart."""
    from recbole.config import Config
    from recbole.data.transform import construct_transform
    from recbole.utils import get_flops, get_model, get_trainer, init_seed

    from recbole_vae_plugin.integration.training.recording import EpochRecorder

    settings = {
        **cell.settings,
        "seed": cell.model_seed,
        "checkpoint_dir": "saved",
        "show_progress": False,
    }
    model, dataset = settings["model"], settings["dataset"]
    config = Config(model=model, dataset=dataset, config_dict=settings)
    write_config(config)
    begin = perf_counter()
    dataset, (train, valid, held_out) = data.loaders(config, cell.split_seed)
    prepare_seconds = perf_counter() - begin
    init_seed(config["seed"], config["reproducibility"])
    forget_peak_memory()
    begin = perf_counter()
    network = get_model(config["model"])(config, train.dataset).to(config["device"])
    build_seconds = perf_counter() - begin
    logger = logging.getLogger()
    flops = get_flops(network, dataset, config["device"], logger, construct_transform(config))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    recorder = EpochRecorder(trainer, tell)
    # a checkpoint's seed is the one by which whoever opens it splits the data again
    config["seed"] = cell.split_seed
    valid_score, valid_result = trainer.fit(train, valid, show_progress=False)
    train_gpu_memory = peak_gpu_memory()
    forget_peak_gpu_memory()
    tested = {"test": evaluate_on_test(trainer, held_out)} if test else {}
    pd.DataFrame(recorder.epochs, columns=None if recorder.epochs else ["epoch"]).to_csv(CURVE, index=False)
    if keep_checkpoint:
        os.replace(trainer.saved_model_file, CHECKPOINT)
    return {
        "valid_score": float(valid_score) if math.isfinite(valid_score) else None,
        "valid": {metric: float(value) for metric, value in (valid_result or {}).items()},
        **tested,
        "epochs": len(recorder.epochs),
        "best_epoch": best_epoch(recorder.epochs, config),
        "prepare_seconds": prepare_seconds,
        "build_seconds": build_seconds,
        "train_seconds": seconds_of("train_seconds", recorder.epochs),
        "eval_seconds": seconds_of("valid_seconds", recorder.epochs),
        "peak_memory": peak_memory(),
        "train_gpu_memory": train_gpu_memory,
        "eval_gpu_memory": peak_gpu_memory(),
        "parameters": sum(weight.numel() for weight in network.parameters() if weight.requires_grad),
        "flops": float(flops),
    }


def evaluate_on_test(trainer, held_out) -> dict[str, float]:
    """Test metrics of the best weights; writes those of each user."""
    from recbole_vae_plugin.integration.training.recording import evaluated_users, values_of_users

    with values_of_users() as values:
        result = trainer.evaluate(held_out, show_progress=False)
    users = {"user": evaluated_users(held_out), **values} if values else {"user": []}
    pd.DataFrame(users).to_csv(USERS, index=False)
    # RecBole rounds what it reports; what averages over users is known exactly
    exact = {metric: float(np.mean(column)) for metric, column in values.items()}
    return {metric: exact.get(metric, float(value)) for metric, value in result.items()}


def seconds_of(what: str, epochs: list[dict]) -> float | None:
    """Mean seconds of an epoch."""
    seconds = [row[what] for row in epochs if what in row]
    return mean(seconds) if seconds else None


def best_epoch(epochs: list[dict], config) -> int | None:
    """The epoch whose weights were tested: the last of the best validated ones, as in RecBole."""
    metric = f"valid_{config['valid_metric'].lower()}"
    validated = [row for row in epochs if metric in row]
    if not validated:
        return None
    best = max if config["valid_metric_bigger"] else min
    return best(reversed(validated), key=lambda row: row[metric])["epoch"]


def write_config(config) -> None:
    """Every key as it was resolved; what YAML has no notation for as text."""
    plain = json.loads(json.dumps(config.final_config_dict, default=str, sort_keys=True))
    Path(CONFIG).write_text(yaml.safe_dump(plain, sort_keys=True), encoding="utf-8")
