"""Shared ground of the tests, on top of what the package has for authors of models."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.system.atomic import partial_of
from recbole_vae_plugin.system.processors import threads_for

pytest_plugins = ["recbole_vae_plugin.testing.fixtures"]

if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # threads of several workers that wait for one another make each of them slower
    threads = threads_for(WORKERS)
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@pytest.fixture(scope="session", autouse=True)
def each_yaml_text_is_parsed_once():
    """RecBole reads the same default files for every ``Config``, half of the time that a small run takes."""
    load, parsed = yaml.load, {}

    def load_once(stream, Loader):
        if not isinstance(stream, str):
            return load(stream, Loader)
        if (stream, Loader) not in parsed:
            parsed[stream, Loader] = load(stream, Loader)
        return copy.deepcopy(parsed[stream, Loader])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", load_once)
        yield


CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def first_on_path(folder: str) -> str:
    """``PYTHONPATH`` with a folder before what it names already, for processes that tests start."""
    return os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])


def shipped(name: str) -> dict:
    """The keys of a variant in ``configs/models`` that describe the model, without its name and width."""
    variant = yaml.safe_load((CONFIGS / "models" / f"{name}.yaml").read_text())
    run_keys = {"model", "mlp_hidden_size", "train_batch_size", "epochs", "eval_step", "stopping_step"}
    return {key: value for key, value in variant.items() if key not in run_keys}


def defaults(model: str) -> dict:
    """The defaults of a model that describe it, in a small width."""
    run_keys = {"latent_dimension", "train_batch_size", "epochs", "eval_step", "stopping_step", "enable_amp"}
    keys = {key.name: key.plain_default for key in MODELS[model].every_key() if key.name not in run_keys}
    return keys | {"mlp_hidden_size": [32, 32, 32]}


def leave_behind(path: Path) -> Path:
    """A folder with a file, not whole, as a process that is no more leaves it beside ``path``."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = partial_of(path, gone.pid)
    folder.mkdir(parents=True)
    (folder / "half").write_text("half")
    return folder
