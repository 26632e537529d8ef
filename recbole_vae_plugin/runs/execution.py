"""Execution of a run: trained and tested as RecBole would, with its files written."""

from __future__ import annotations

import gc
import logging
import math
import os
import re
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time

import pandas as pd
import torch
import yaml

from recbole_vae_plugin.integration.data.prepared import PreparedData
from recbole_vae_plugin.integration.training.quick_start import QuickStart
from recbole_vae_plugin.integration.training.tracking import TrackedRun, tracked_as
from recbole_vae_plugin.runs.energy import EnergyMeter, estimated_by
from recbole_vae_plugin.runs.files import (
    CHECKPOINT,
    CONFIG,
    CURVE,
    LOG,
    USERS,
    EpochRow,
    Figures,
    Result,
    write_result,
)
from recbole_vae_plugin.runs.machine import (
    environment,
    peak_gpu_memory,
    peak_memory,
    reset_peak_gpu_memory,
    reset_peak_memory,
)
from recbole_vae_plugin.runs.run import Run

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Stopped(Exception):
    """Raised by the callback of an epoch to stop a run early."""


def execute(
    run: Run,
    folder: Path,
    data: PreparedData,
    on_epoch: Callable[[EpochRow], None],
    keep_checkpoint: bool = False,
    test: bool = True,
    energy: bool = False,
    group: str = "",
    home: Path | None = None,
) -> Result:
    """Execute a run in the working directory ``folder`` and write its files there.

    A failure is a result, too: ``failed`` gives the reason, and the log has the traceback.

    Args:
        folder: an empty folder; the process changes into it, since RecBole writes to the working directory.
        on_epoch: called with a row after each training epoch and each validation; raises :class:`Stopped` to
            stop the run.
        test: whether to evaluate on the test data. If not, there is no ``users.csv.gz`` and no ``test``
            in the result.
        group: what the run belongs to, such as the experiment, for trackers.
        home: the folder for the trackers' local files; by default the working directory.
        energy: whether to have CodeCarbon estimate the energy from the built model to the test.

    Returns:
        The content of ``result.json``.
    """
    home = home or Path.cwd()
    os.chdir(folder)
    handler = logging.FileHandler(LOG, encoding="utf-8")
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger()
    logger.handlers, logger.level = [handler], logging.INFO
    figures: Figures = {}
    meter: EnergyMeter | None = None
    begin = perf_counter()
    try:
        if energy:
            meter = EnergyMeter()
        # what the meter needs to detect the hardware is not the run's
        begin = perf_counter()
        with tracked_as(named_for_trackers(run, group, home)):
            try:
                figures = train_and_test(run, data, on_epoch, keep_checkpoint, test, meter)
            except Stopped:
                figures["stopped"] = True
    except Exception as problem:
        logger.error(traceback.format_exc())
        figures["failed"] = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    finally:
        if meter:
            meter.close()
        shutil.rmtree("saved", ignore_errors=True)
        handler.close()
        logger.handlers = []
        release_memory()
    result: Result = {
        **run.labels,
        **figures,
        "seconds": perf_counter() - begin,
        "threads": torch.get_num_threads(),
        "environment": environment(),
    }
    return write_result(Path(), result)


def named_for_trackers(run: Run, group: str, home: Path) -> TrackedRun:
    """How a run is found in a tracker."""
    labels = {
        "dataset": run.dataset,
        "method": run.method,
        "split_seed": str(run.split_seed),
        "model_seed": str(run.model_seed),
    }
    return TrackedRun(name=str(run), group=group or run.dataset, labels=labels, folder=home)


def release_memory() -> None:
    """Free the model's memory, and reset the autocast precision for the next run."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.set_autocast_dtype("cuda", torch.float16)
    torch.set_autocast_dtype("cpu", torch.bfloat16)


class PlainFormatter(logging.Formatter):
    """Without the colours that RecBole adds for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return COLOURS.sub("", super().format(record))


def train_and_test(
    run: Run,
    data: PreparedData,
    on_epoch: Callable[[EpochRow], None],
    keep_checkpoint: bool,
    test: bool,
    meter: EnergyMeter | None,
) -> Figures:
    """Train, test and measure; write all files except the result."""
    steps = QuickStart({**run.settings, "checkpoint_dir": "saved"}, run.split_seed, run.model_seed)
    write_config(steps)
    prepare_seconds = seconds_of(lambda: steps.load(data))
    data_hash = steps.data_hash()
    # some keys are set from the data
    write_config(steps)
    reset_peak_memory()
    if meter:
        meter.start()
    cpu_begin = process_time()
    build_seconds = seconds_of(steps.build)
    flops = steps.flops()
    valid_score, valid, epochs = steps.fit(on_epoch)
    train_gpu_memory = peak_gpu_memory()
    reset_peak_gpu_memory()
    tested: Figures = {}
    if test:
        tested["test"], users = steps.test()
        pd.DataFrame(users).to_csv(USERS, index=False)
    cpu_seconds = process_time() - cpu_begin
    used: Figures = {"energy_wh": meter.stop(), "energy_by": estimated_by()} if meter else {}
    pd.DataFrame(epochs, columns=None if epochs else ["epoch"]).to_csv(CURVE, index=False)
    if keep_checkpoint:
        os.replace(steps.checkpoint, CHECKPOINT)
    return {
        "data_hash": data_hash,
        "valid_score": valid_score if math.isfinite(valid_score) else None,
        "valid": valid,
        **tested,
        "epochs": len(epochs),
        "best_epoch": steps.best_epoch(epochs),
        "cpu_seconds": cpu_seconds,
        **used,
        "prepare_seconds": prepare_seconds,
        "build_seconds": build_seconds,
        "train_seconds": mean_of("train_seconds", epochs),
        "eval_seconds": mean_of("valid_seconds", epochs),
        "peak_memory": peak_memory(),
        "train_gpu_memory": train_gpu_memory,
        "eval_gpu_memory": peak_gpu_memory(),
        "parameters": sum(weight.numel() for weight in steps.network.parameters() if weight.requires_grad),
        "flops": flops,
    }


def write_config(steps: QuickStart) -> None:
    """Write every key as it is resolved so far."""
    Path(CONFIG).write_text(yaml.safe_dump(steps.resolved(), sort_keys=True), encoding="utf-8")


def seconds_of(step: Callable[[], None]) -> float:
    """Call ``step``; returns the seconds it took."""
    begin = perf_counter()
    step()
    return perf_counter() - begin


def mean_of(column: str, epochs: list[EpochRow]) -> float | None:
    """Mean over the epochs that have a value."""
    values = [row[column] for row in epochs if column in row]
    return mean(values) if values else None
