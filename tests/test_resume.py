"""``run_recbole --resume``: a run that was killed goes on, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import attempts
import pytest
import torch
import yaml
from recbole.trainer import Trainer
from recbole.trainer.trainer import PretrainTrainer

from recbole_vae_plugin.cli.run_recbole import main

RUN = [
    sys.executable,
    "-m",
    "recbole_vae_plugin.cli.run_recbole",
    "--dataset=blocks",
    "--config_files=settings.yaml",
]

VARIANTS = {
    "split head": ["--model=VAESplit"],
    "twin head": ["--model=VAETwin", "--denoising=gaussian"],
    "deterministic": ["--model=DAE", "--loss_type=BCE"],
    "averaged weights and a linear branch": [
        "--model=VAESplit",
        "--linear_branch=ease",
        "--linear_reg_weight=5",
        "--ema_decay=0.9",
    ],
}


@pytest.fixture
def write_settings(settings):
    def write(**more) -> None:
        del settings["checkpoint_dir"]
        Path("settings.yaml").write_text(yaml.safe_dump({**settings, "epochs": 25, **more}))

    return write


def weights_in(folder: str) -> dict:
    (file,) = Path(folder).glob("*.pth")
    return torch.load(file, weights_only=False)


def newest_in(folder: str) -> dict:
    return torch.load(max(Path(folder).glob("*.pth"), key=os.path.getmtime), weights_only=False)


def assert_equal(one: dict, other: dict) -> None:
    assert one["epoch"] == other["epoch"] and one["best_valid_result"] == other["best_valid_result"]
    for (name, weight), (_, same) in zip(one["state_dict"].items(), other["state_dict"].items(), strict=True):
        assert torch.equal(weight, same), name


@pytest.fixture(scope="module")
def attempt():
    """Runs the command in a fork of one process, see ``attempts.py``, and returns its exit code."""
    with attempts.forks() as run:
        yield lambda *arguments, **options: run("run_recbole", *RUN[3:], *arguments, **options)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_killed_and_resumed_it_equals_the_uninterrupted_run(write_settings, attempt, variant):
    """Killed at a moment chosen by a seed, a step or a part of a write, after the first checkpoint."""
    write_settings(state="INFO", epochs=20, stopping_step=100, learning_rate=0.003)
    killed = [*variant, "--checkpoint_dir=killed"]
    moment = random.Random(str(variant)).randrange(20, 60)
    assert attempt(*killed, kill_at=moment) == -signal.SIGKILL, "it struck"
    assert attempt(*killed, "--resume=latest") == 0, Path("attempts.log").read_text()[-2000:]
    assert attempt(*variant, "--checkpoint_dir=straight") == 0
    assert_equal(weights_in("straight"), newest_in("killed"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_killed_five_times_it_equals_the_uninterrupted_run(write_settings, attempt, variant):
    """Twenty kills over the four variants, at moments chosen by a seed: steps, and parts of writes."""
    write_settings(state="INFO", epochs=20, stopping_step=100, learning_rate=0.003)
    assert attempt(*variant, "--checkpoint_dir=straight") == 0, Path("attempts.log").read_text()[-2000:]
    moments = random.Random(f"five {variant}")
    resume: list[str] = []
    for _ in range(5):
        # no more moments in all than there are steps, so that every kill strikes
        killed = attempt(*variant, "--checkpoint_dir=killed", *resume, kill_at=moments.randrange(1, 17))
        assert killed == -signal.SIGKILL, "it struck"
        if list(Path("killed").glob("*.pth")):
            resume = ["--resume=latest"]
    assert attempt(*variant, "--checkpoint_dir=killed", *resume) == 0
    assert resume, "at least one run went on"
    assert_equal(weights_in("straight"), newest_in("killed"))


@pytest.mark.slow
def test_a_model_of_recbole_goes_on(write_settings):
    write_settings()
    logs = []
    for epochs, more in ((2, []), (4, ["--resume=latest"])):
        arguments = ["--model=BPR", f"--epochs={epochs}", "--state=INFO", *more]
        done = subprocess.run([*RUN, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        logs.append(done.stderr)
    log = logs[-1]
    assert "Resume training from epoch" in log and "epoch 3 training" in log
    assert "epoch 0 training" not in log


@pytest.mark.parametrize("write", [Trainer._save_checkpoint, PretrainTrainer.save_pretrained_model])
def test_a_checkpoint_of_recbole_is_written_whole_or_not_at_all(prepare, monkeypatch, write):
    run = prepare("BPR", epochs=1)
    run.trainer.fit(run.train, run.valid, verbose=False)
    file = Path(run.trainer.saved_model_file)
    before = file.read_bytes()

    def write_half(state, place, **options):
        Path(place).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(KeyboardInterrupt):
        write(run.trainer, 1, saved_model_file=str(file))
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("resume", ["latest", "nowhere.pth", "saved"])
def test_what_is_not_there_is_refused(write_settings, resume, capsys):
    write_settings()
    Path("saved").mkdir()
    assert main([*RUN[3:], "--model=DAE", f"--resume={resume}"]) == 2
    assert f"resume: got '{resume}'" in capsys.readouterr().err


def test_another_model_is_refused(write_settings, capsys):
    write_settings()
    assert main([*RUN[3:], "--model=DAE", "--epochs=1"]) == 0
    (file,) = Path("saved").glob("*.pth")
    assert main([*RUN[3:], "--model=VAETwin", f"--resume={file}"]) == 1
    assert "cannot resume" in capsys.readouterr().err


def test_runs_that_start_in_the_same_second_have_checkpoints_of_their_own(prepare):
    files = {prepare("DAE").trainer.saved_model_file for _ in range(5)}
    files |= {prepare("BPR").trainer.saved_model_file for _ in range(2)}
    assert len(files) == 7
