"""Data-parallel runs on two processes of this machine, with gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import ranks
import torch
from recbole.config import Config
from recbole.quick_start import load_data_and_model
from recbole.trainer import Trainer

from recbole_vae_plugin.cli.run_recbole import main
from recbole_vae_plugin.integration.distributed.launch import free_port
from recbole_vae_plugin.integration.distributed.parallel import check_gpus
from recbole_vae_plugin.integration.distributed.ranks import (
    LAUNCH_SETTINGS,
    ShardedBatches,
    single_process_config,
)
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.testing.fixtures import TEXTBOOK

RUN = [sys.executable, "-m", "recbole_vae_plugin.cli.run_recbole"]

#: 60 users: batches of 59 leave one user to two processes, batches of 16 leave 12
VARIANTS = {
    "a mean over users, no user left for a rank": (
        "DAE",
        {"denoising": "none", "train_batch_size": 59},
    ),
    "a sum over users, and a sparse linear branch": (
        "VAESplit",
        {
            "denoising": "none",
            "train_batch_size": 16,
            "kl_reduction": "sum",
            "anneal_cap": 0.3,
            "linear_branch": "sparse_ease",
            "linear_neighbors": 5,
            "linear_reg_weight": 1.0,
        },
    ),
    "averaged weights and a linear branch": (
        "DAE",
        {
            "denoising": "none",
            "train_batch_size": 16,
            "ema_decay": 0.9,
            "linear_branch": "ease",
            "linear_reg_weight": 1.0,
        },
    ),
    "a decoder in closed form": (
        "VAESplit",
        {
            "denoising": "none",
            "train_batch_size": 59,
            "loss_type": "MSE",
            "decoder": "closed_form",
            "decoder_hidden_size": [],
            "decoder_ridge": 1.0,
        },
    ),
    "a rank without a user to test": (
        "DAE",
        {"denoising": "none", "train_batch_size": 16, "eval_args": {"split": {"HO": [10, 1]}}},
    ),
    "a rank without a user to validate": (
        "DAE",
        {"denoising": "none", "train_batch_size": 16, "eval_args": {"split": {"HO": [1, 10]}}},
    ),
    "a model of RecBole": ("BPR", {"train_batch_size": 64, "embedding_size": 16}),
}


class TestShardedBatches:
    @pytest.mark.parametrize("batch_size", [1, 2, 7, 60, 100])
    def test_weighted_means_of_the_ranks_average_to_the_joint_mean(self, batch_size):
        values = np.random.default_rng(0).normal(size=60)
        joint_means = [values[i : i + batch_size].mean() for i in range(0, 60, batch_size)]
        parts = []
        for rank in range(3):
            shards = ShardedBatches(rank, 3, 60, batch_size)
            batches = [list(range(60))[i : i + batch_size] for i in range(0, 60, batch_size)]
            parts.append(
                [
                    weight * values[shards.shard(batch)].mean()
                    for batch, (joint, weight) in zip(batches, shards.weights(), strict=True)
                ]
            )
        np.testing.assert_allclose(np.mean(parts, axis=0), joint_means)


def test_a_folder_may_be_made_by_another_rank_first(monkeypatch):
    Path("saved").mkdir()
    monkeypatch.setattr(os.path, "exists", lambda path: False)  # as it was when this rank looked
    for module in ("recbole.trainer.trainer", "recbole.utils.logger"):
        sys.modules[module].ensure_dir("saved")


def test_nothing_of_a_rank_is_left_in_the_config_of_a_single_process(settings):
    config = Config(model="DAE", dataset="blocks", config_dict=settings)
    alone = {**config.final_config_dict, "device": torch.device("cuda")}
    launch = {"world_size": 4, "nproc": 2, "offset": 2, "ip": "localhost", "port": "1"}
    config.final_config_dict |= {"single_spec": False, "local_rank": 1, "device": torch.device("cuda", 1)}
    config.final_config_dict |= launch
    assert single_process_config(config).final_config_dict == alone
    assert config["local_rank"] == 1 and not config["single_spec"]


@pytest.fixture(scope="module")
def all_runs(tmp_path_factory, blocks_path) -> dict[str, SimpleNamespace]:
    """Each variant's run in two processes and in one, which draws no random numbers of other tests."""
    runs = {}
    for name, (model, overrides) in VARIANTS.items():
        folder = tmp_path_factory.mktemp("parallel")
        settings = {
            **(TEXTBOOK if model in MODELS else {}),
            "data_path": str(blocks_path),
            "checkpoint_dir": str(folder / "saved"),
            "eval_step": 1,
            "stopping_step": 10,
            "mlp_hidden_size": [32],
            "latent_dimension": 8,
            "epochs": 3,
            "topk": [3],
            "metrics": ["Recall", "NDCG", "GAUC", "ItemCoverage"],
            "valid_metric": "NDCG@3",
            "show_progress": False,
            "state": "ERROR",
            "enable_amp": False,
            **overrides,
        }
        runs[name] = (settings, model, folder)
    launch = {"nproc": 2, "world_size": 2, "offset": 0, "ip": "localhost"}
    joint = [({**settings, **launch, "port": free_port()}, *rest) for settings, *rest in runs.values()]
    torch.multiprocessing.spawn(ranks.train_rank, (joint,), nprocs=2)
    patterns = ("log/*/*.log", "log_tensorboard/*", "saved/*")
    left = {
        name: {pattern: len(list(folder.glob(pattern))) for pattern in patterns}
        for name, (_, _, folder) in runs.items()
    }
    torch.multiprocessing.spawn(ranks.train_alone, (list(runs.values()),), nprocs=1)
    return {
        name: SimpleNamespace(
            model=model,
            settings=settings,
            folder=folder,
            left=left[name],
            ranks=[torch.load(folder / f"rank{rank}.pt") for rank in range(2)],
            alone=torch.load(folder / "alone.pt"),
        )
        for name, (settings, model, folder) in runs.items()
    }


@pytest.fixture(params=VARIANTS)
def runs(request, all_runs) -> SimpleNamespace:
    return all_runs[request.param]


@pytest.fixture(params=[name for name, (model, _) in VARIANTS.items() if model in MODELS])
def our_runs(request, all_runs) -> SimpleNamespace:
    """Of a model of RecBole each rank draws negatives of its own, in batches of its own."""
    return all_runs[request.param]


class TestTwoProcesses:
    def test_the_ranks_agree_on_the_gradient(self, runs):
        for first, second in zip(*(rank["first_gradients"] for rank in runs.ranks), strict=True):
            torch.testing.assert_close(first, second)

    def test_it_is_the_gradient_of_one_process(self, our_runs):
        rank, alone = our_runs.ranks[0], our_runs.alone
        assert rank["steps"] == alone["steps"]
        for here, there in zip(rank["first_gradients"], alone["first_gradients"], strict=True):
            torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-6)

    def test_training_ends_with_equal_weights(self, runs):
        for first, second in zip(*(rank["weights"] for rank in runs.ranks), strict=True):
            torch.testing.assert_close(first, second, rtol=0, atol=0)

    def test_it_ends_as_in_one_process(self, our_runs):
        for here, there in zip(our_runs.ranks[0]["weights"], our_runs.alone["weights"], strict=True):
            torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)

    def test_the_loss_in_the_log_is_the_joint_one(self, our_runs):
        assert our_runs.ranks[0]["losses"] == pytest.approx(our_runs.alone["losses"], rel=1e-4)

    def test_metrics_equal_those_of_one_process_with_the_same_weights(self, runs, monkeypatch):
        assert runs.ranks[0]["test"] == runs.ranks[1]["test"]
        monkeypatch.chdir(runs.folder)
        config, model, _, train_data, valid_data, test_data = load_data_and_model(runs.ranks[0]["checkpoint"])
        assert config["single_spec"] and not set(LAUNCH_SETTINGS) & set(config.final_config_dict)
        trainer = Trainer(config, model)
        trainer.eval_collector.data_collect(train_data)
        assert trainer.evaluate(test_data, load_best_model=False) == runs.ranks[0]["test"]
        assert trainer.evaluate(valid_data, load_best_model=False) == runs.ranks[0]["valid"]

    def test_the_checkpoint_resumes_in_one_process(self, our_runs, prepare):
        more = prepare(our_runs.model, **our_runs.settings | {"epochs": 5})
        more.trainer.resume_checkpoint(our_runs.ranks[0]["checkpoint"])
        begin = more.trainer.start_epoch
        more.trainer.fit(more.train, more.valid, saved=False)
        assert begin > 0 and list(more.trainer.train_loss_dict) == list(range(begin, 5))

    def test_there_is_one_checkpoint_one_log_and_one_tensorboard(self, runs):
        files = [rank["checkpoint"] for rank in runs.ranks]
        assert files[0] == files[1]
        assert runs.left == {"log/*/*.log": 1, "log_tensorboard/*": 1, "saved/*": 1}


@pytest.fixture
def arguments(settings) -> list[str]:
    """A run of the command on ``blocks``."""
    settings = {**settings, "state": "INFO", "checkpoint_dir": "saved"}
    for key in ("epochs", "stopping_step", "anneal_cap", "kl_weighting"):
        del settings[key]
    return ["--model=VAESplit", "--dataset=blocks", *(f"--{key}={settings[key]}" for key in settings)]


def result_lines(output: str) -> list[str]:
    return [line.split("INFO")[1] for line in output.splitlines() if "test result" in line]


class TestCommand:
    @pytest.mark.slow
    def test_torchrun(self, arguments, tmp_path):
        run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command = [*run, "-m", "recbole_vae_plugin.cli.run_recbole", *arguments, "--epochs=2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        assert len(result_lines(done.stdout + done.stderr)) == 1
        assert len(list(tmp_path.glob("saved/*.pth"))) == 1
        assert len(list(tmp_path.glob("log/*/*.log"))) == 1

    @pytest.mark.slow
    def test_two_machines(self, arguments):
        """Each has its own folder, as machines have: the second never sees the checkpoint."""
        port = free_port()

        def machine(offset: int):
            os.makedirs(f"machine{offset}")
            flags = [f"--group_offset={offset}", "--world_size=2", f"--port={port}"]
            return subprocess.run(
                [*RUN, *arguments, "--epochs=2", *flags],
                cwd=f"machine{offset}",
                capture_output=True,
                text=True,
                timeout=240,
            )

        with ThreadPoolExecutor() as pool:
            first, second = pool.map(machine, [0, 1])
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert len(result_lines(first.stdout + first.stderr)) == 1
        assert not list(Path("machine1").glob("saved/*.pth"))

    @pytest.mark.slow
    @pytest.mark.parametrize("victim", [0, 1])
    def test_a_rank_that_is_killed_ends_the_run(self, arguments, victim):
        command = [*RUN, *arguments, "--nproc=2", "--epochs=100000", "--stopping_step=100000"]
        with open("output", "w") as output:
            run = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        begin = monotonic()
        while "epoch 1 " not in Path("output").read_text():
            assert run.poll() is None and monotonic() < begin + 240, Path("output").read_text()
            sleep(0.2)
        children = [
            child for child in psutil.Process(run.pid).children() if "spawn_main" in " ".join(child.cmdline())
        ]
        children[victim].kill()
        assert run.wait(timeout=60) == 1
        assert "SIGKILL" in Path("output").read_text() or "failed" in Path("output").read_text()
        psutil.wait_procs(children, timeout=30)
        assert not [child for child in children if child.is_running()]

    def test_a_rank_that_fails_says_why(self, arguments):
        command = [*RUN, *arguments, "--nproc=2", "--threshold={'no_field': 3}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 1
        assert "of 2 failed" in done.stderr and "no_field" in done.stderr


@pytest.mark.parametrize(
    "flags, words",
    {
        "fewer in all than here": (["--nproc=2", "--world_size=1"], ["world_size", "1", "at least 2"]),
        "an offset alone": (["--group_offset=2"], ["world_size", "group_offset"]),
        "none": (["--nproc=0"], ["nproc", "0", "at least 1"]),
        "a port by name": (["--nproc=2", "--port=http"], ["port", "'http'", "from 1 to 65535"]),
        "a port too high": (["--nproc=2", "--port=65536"], ["port", "'65536'", "from 1 to 65535"]),
    }.values(),
)
def test_numbers_of_processes_that_cannot_be(flags, words, capsys):
    assert main(["--model=VAESplit", "--dataset=ml-100k", *flags]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = {"device": torch.device("cuda"), "gpu_id": "0"}
    check_gpus(config, 1)
    check_gpus({**config, "device": torch.device("cpu")}, 2)
    with pytest.raises(ValueError, match="gpu_id: got '0'; allowed: 2 GPUs"):
        check_gpus(config, 2)
