"""Forked worker processes are as spawned ones would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.runs import starting
from recbole_vae_plugin.runs.worker import execute_runs
from recbole_vae_plugin.testing.fixtures import TEXTBOOK

SCRIPT = """
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site"))
from recbole_vae_plugin.cli.recbole_vae import main
if __name__ == "__main__":
    sys.exit(main(["compare", "one.yaml", "--results", "found"]))
"""


class NoRuns:
    """Stands for the connection of a worker that is given no run, and writes the variables that it has."""

    def __init__(self, file: str) -> None:
        self.file = file

    def recv(self):
        Path(self.file).write_text(json.dumps(dict(os.environ)))
        raise EOFError


linux = pytest.mark.skipif(not starting.CAN_FORK, reason="there is no fork server here")


@linux
class TestContext:
    @pytest.fixture(autouse=True)
    def server(self, monkeypatch):
        """As if it were running; none is started."""
        monkeypatch.setattr(starting, "start_server", lambda state: True)
        monkeypatch.setattr(starting, "state_of_server", cache(starting.state_of_server.__wrapped__))
        assert self.method() == "forkserver"

    def method(self) -> str:
        return starting.context().get_start_method()

    def test_what_no_import_reads_may_change(self, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
        monkeypatch.setenv("WANDB_MODE", "offline")
        assert self.method() == "forkserver"

    def test_where_another_path_would_be_searched_workers_are_spawned(self, monkeypatch):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(os.getcwd())
            assert self.method() == "spawn"
        assert self.method() == "forkserver"

    @pytest.mark.parametrize("name", ["PYTHONPATH", "OMP_NUM_THREADS", "TZ", "RECBOLE_VAE_PLUGIN_AUTOLOAD"])
    def test_where_an_import_would_read_another_variable_too(self, monkeypatch, name):
        monkeypatch.setenv(name, "7")
        assert self.method() == "spawn"

    def test_where_a_socket_cannot_have_its_name_too(self, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "数据" * 15)
        assert self.method() == "spawn"

    def test_where_there_are_no_sockets_too(self, monkeypatch):
        monkeypatch.setattr(starting, "start_server", lambda state: False)
        starting.state_of_server.cache_clear()
        assert self.method() == "spawn"


def test_a_worker_has_the_variables_that_were_set_since(monkeypatch):
    starting.context()
    monkeypatch.setenv("WANDB_PROJECT", "since")
    arguments = (NoRuns("variables.json"), dict(os.environ), Path(), None, 1, {})
    process = starting.context().Process(target=execute_runs, args=arguments)
    process.start()
    process.join()
    assert json.loads(Path("variables.json").read_text())["WANDB_PROJECT"] == "since"


def write_outside_model(folder: Path) -> None:
    """A package with a model, as pip installs one."""
    about = folder / "mine-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[recbole_vae_plugin.models]\nVAEMine = mine:VAEMine\n")
    (folder / "mine.py").write_text(
        "from recbole_vae_plugin import VAESplit\n\n\nclass VAEMine(VAESplit):\n    pass\n"
    )


def test_a_worker_imports_what_its_parent_would(blocks_path):
    """A model on a path that only a script has added, and no modules of the working directory, which may be a
    clone of RecBole."""
    write_outside_model(Path("command/site"))
    Path("command/command.py").write_text(SCRIPT)
    Path("yaml.py").write_text("raise RuntimeError('the wrong yaml')")
    Path("recbole").mkdir()
    Path("recbole/__init__.py").write_text("__version__ = 'the wrong RecBole'")
    content = {
        "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
        "methods": {"Pop": None, "VAEMine": {**TEXTBOOK, "mlp_hidden_size": [8], "latent_dimension": 4}},
        "baseline": "Pop",
        "seeds": {"split": 7, "model": 1},
        "settings": {"epochs": 1, "eval_step": 1},
        "topk": [3],
        "valid_metric": "NDCG@3",
    }
    Path("one.yaml").write_text(yaml.safe_dump(content))
    paths = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, os.path.join("command", "command.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for method in ("Pop", "VAEMine"):
        (result,) = Path("found").glob(f"runs/blocks/{method}/*/result.json")
        assert json.loads(result.read_text())["test"]["ndcg@3"] > 0
