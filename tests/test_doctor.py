"""``recbole-vae doctor``: facts for a bug report, and an exit code that tells."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from recbole_vae_plugin.cli import doctor
from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import PATCHES


def test_it_says_what_matters_and_that_nothing_is_wrong(capsys):
    Path("dataset/films").mkdir(parents=True)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for part in (
        f"torch {metadata.version('torch')}",
        "recbole 1.2.1",
        f"usable of {os.cpu_count()}",
        "bfloat16 instructions",
        "GPUs",
        "VAESplit: recbole_vae_plugin",
        "applied: train_on_ranks (recbole.trainer.trainer)",
        f"{Path('dataset').resolve()}: films",
        "GiB free",
        "no problems found",
    ):
        assert part in said, part
    assert all(f": {patch.name} (" in said for patch in PATCHES.values())


def test_a_fresh_process_applies_every_repair():
    done = subprocess.run(
        [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "doctor"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert "waiting: " not in done.stdout and "failed: " not in done.stdout
    assert done.stderr == ""


def test_a_repair_that_does_not_apply_is_named(capsys, monkeypatch):
    def mend_nothing(patch, module):
        raise AttributeError("no such function")

    def mend_what_is_not_there(patch, module):
        raise AssertionError

    failing = Patch("repair", "colorsys", mend_nothing)
    with pytest.raises(AttributeError):
        failing.apply(sys)
    waiting = Patch("repair", "recbole.no_such_module", mend_what_is_not_there)
    for name in list(PATCHES):
        monkeypatch.delitem(PATCHES, name)
    for patch in (failing, waiting):
        monkeypatch.setitem(PATCHES, patch.name, patch)
    monkeypatch.setattr("recbole_vae_plugin.register", lambda: None)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "waiting: mend_what_is_not_there (recbole.no_such_module) (ModuleNotFoundError" in said
    assert "failed: AttributeError: no such function: mend_nothing (colorsys)" in said
    assert "problems (1):\n  patches that could not be applied: mend_nothing, mend_what" in said


def test_a_patch_that_was_read_against_other_code_is_named(capsys, monkeypatch):
    patch = PATCHES["collect_popularity_counters"]
    monkeypatch.setitem(patch.replaces, "Collector.get_data_struct", "00000000")
    monkeypatch.setitem(patch.reads, "Collector.no_such", "00000000")
    assert main(["doctor"]) == 1
    problems = capsys.readouterr().out.rpartition("problems (1):")[2]
    assert "collect_popularity_counters: Collector.get_data_struct (is " in problems
    assert "Collector.no_such (does not exist)" in problems


@pytest.mark.parametrize(
    "what, broken, told",
    [
        ("missing", lambda: "training needs optuna; run: pip install it", "training needs optuna"),
        ("disk", lambda folder: type("Usage", (), {"free": 2**20}), "less than 1 GiB free"),
        ("register", lambda: 1 / 0, "registration with RecBole: ZeroDivisionError"),
    ],
)
def test_what_is_wrong_is_told_last_with_exit_code_1(what, broken, told, capsys, monkeypatch):
    name = {
        "missing": "recbole_vae_plugin.cli.doctor.what_to_run",
        "disk": "shutil.disk_usage",
        "register": "recbole_vae_plugin.register",
    }[what]
    monkeypatch.setattr(name, broken)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert told in said.rpartition("problems (")[2]
    assert all(title in said for title in doctor.SECTIONS), "the other sections are there all the same"
