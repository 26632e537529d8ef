"""Threads by what a process may use, not by what the machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.system.processors import threads_for, usable_processors

affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs an affinity mask that can be narrowed",
)

#: What starts a command on one processor of this machine.
ONE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.execvp(sys.argv[1], sys.argv[1:])
"""


def without(*names: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in names}


@affinity
@pytest.mark.slow
@pytest.mark.parametrize("limit", ["affinity", "quota"])
def test_compare_gives_a_run_the_threads_that_it_may_use(limit, blocks_path):
    Path("one.yaml").write_text(
        yaml.safe_dump(
            {
                "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
                "methods": ["Pop"],
                "baseline": "Pop",
                "seeds": {"split": 1, "model": 1},
            }
        )
    )
    command = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "compare", "one.yaml"]
    environment = without("OMP_NUM_THREADS")
    if limit == "affinity":
        command = [sys.executable, "-c", ONE, *command]
    else:
        # what a container's quota becomes in joblib
        environment["LOKY_MAX_CPU_COUNT"] = "1"
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (result,) = Path("results").rglob("result.json")
    found = json.loads(result.read_text())
    assert found["threads"] == 1
    assert found["environment"]["cores"] == 1


@affinity
def test_run_recbole_heeds_a_quota_that_torch_does_not_know():
    code = (
        "import sys, torch\n"
        "from types import SimpleNamespace\n"
        "import recbole.quick_start as quick_start\n"
        "quick_start.run = lambda **options: None\n"
        "from recbole_vae_plugin.integration.distributed.launch import launch\n"
        "options = {'model': 'Pop', 'dataset': 'x', 'nproc': 1, 'world_size': -1, 'ip': '', 'port': '1'}\n"
        "launch(SimpleNamespace(**options, group_offset=0), [])\n"
        "print(torch.get_num_threads())"
    )
    environment = {**without("OMP_NUM_THREADS"), "LOKY_MAX_CPU_COUNT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["1"], done.stderr


def test_slurm_and_omp_lower_the_number(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    assert (usable_processors(), threads_for(3), threads_for(100)) == (64, 21, 1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert (usable_processors(), threads_for(2)) == (8, 4)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "not a number")
    assert usable_processors() == 64
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (threads_for(1), threads_for(64)) == (2, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert threads_for(1) == 64


def test_what_workers_are_forked_from_has_not_used_a_gpu():
    """Else CUDA would refuse to work in any of them."""
    code = (
        "import torch\n"
        "def refuse(*args): raise AssertionError('CUDA was asked')\n"
        "torch._C._cuda_getDeviceCount = refuse\n"
        "for name in ('is_available', 'device_count', 'current_device', 'init', '_lazy_init'):\n"
        "    setattr(torch.cuda, name, refuse)\n"
        "import recbole_vae_plugin.runs.preload\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
