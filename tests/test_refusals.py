"""Mistakes in what is typed and in files, each refused with one line before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from recbole.config import Config
from recbole.quick_start import load_data_and_model

from recbole_vae_plugin.cli import recbole_vae, run_recbole
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.runs.run import slug

#: What is typed -> what the one line must say.
WRONG = {
    "a sparse optimizer": (["--learner=sparse_adam"], ["learner", "sparse_adam", "adam, adamw, sgd"]),
    "a list longer than the catalogue": (
        ["--topk=[41]", "--valid_metric=NDCG@41"],
        ["topk", "[41]", "up to 40"],
    ),
    "labels with ranking metrics": (
        ["--eval_args={'mode':'labeled'}"],
        ["eval_args.mode", "labeled", "full"],
    ),
    "a data set with folders": (["--dataset=sub/blocks"], ["dataset", "'sub/blocks'", "dataset: blocks"]),
    "half a step": (["--eval_step=1.5"], ["eval_step", "1.5", "whole number"]),
    "a negative step": (["--eval_step=-1"], ["eval_step", "-1", "at least 0"]),
    "a norm without a name": (["--clip_grad_norm=5"], ["clip_grad_norm", "5", "{key: value}"]),
    "quotes that do not end": (["--config_files='a b"], ["config_files", "quotation"]),
}


@pytest.mark.parametrize("typed, said", WRONG.values(), ids=WRONG.keys())
def test_mistakes_get_one_line(settings, typed, said, capsys):
    Path("settings.yaml").write_text(yaml.safe_dump({**settings, "metrics": ["NDCG"]}))
    usual = {"--model": "DAE", "--dataset": "blocks", "--config_files": "settings.yaml"}
    usual |= dict(argument.split("=", 1) for argument in typed)
    code = run_recbole.main([f"{key}={value}" for key, value in usual.items()])
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if ": error: " in line]
    assert code in (1, 2) and "Traceback" not in error
    for part in said:
        assert part in line
    assert not list(Path().rglob("*.pth"))


def test_a_config_file_may_have_a_blank_in_its_name(settings):
    Path("my settings.yaml").write_text(yaml.safe_dump({**settings, "epochs": 1}))
    for names in ("my settings.yaml", "'my settings.yaml' dae"):
        assert run_recbole.main(["--model=DAE", "--dataset=blocks", f"--config_files={names}"]) == 0


def test_a_tilde_is_the_home_folder(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    keys = {"data_path": "~/data", "checkpoint_dir": "~/saved"}
    config = Config(model="DAE", dataset="blocks", config_dict=keys)
    assert config["data_path"] == str(tmp_path / "home/data/blocks")
    assert config["checkpoint_dir"] == str(tmp_path / "home/saved")


@pytest.mark.parametrize("more", [{"use_gpu": False}, {"use_gpu": "no"}, {"device": "cpu"}])
def test_no_gpu_means_no_gpu(more, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    config = Config(model="DAE", dataset="ml-100k", config_dict=more)
    assert config["device"] == torch.device("cpu") and config["gpu_id"] == ""


@pytest.mark.parametrize("more", [{"device": "cdua"}, {"device": "cuda:1"}, {"device": 0}])
def test_a_device_that_there_is_not_is_refused(more):
    with pytest.raises(ValueError, match="device: got .*; allowed: cpu, cuda"):
        Config(model="DAE", dataset="ml-100k", config_dict=more)


@pytest.mark.parametrize("gpus, gpu_id", [(0, "7"), (2, "0,7"), (1, "zero"), (1, (0, 1))])
def test_gpus_that_there_are_not_are_refused(monkeypatch, gpus, gpu_id):
    wanted = str(gpu_id).strip("()").replace(" ", "").split(",")
    visible = sum(one.isdecimal() and int(one) < gpus for one in wanted)
    monkeypatch.setattr("torch.cuda.device_count", lambda: visible)
    with pytest.raises(ValueError, match="gpu_id: got .*; allowed: numbers of GPUs of this machine"):
        Config(model="DAE", dataset="ml-100k", config_dict={"gpu_id": gpu_id})


@pytest.mark.parametrize("gpu_id", ["0", 0, "", "-1"])
def test_without_a_gpu_the_processor_trains(monkeypatch, gpu_id):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    config = Config(model="DAE", dataset="ml-100k", config_dict={"gpu_id": gpu_id})
    assert config["device"] == torch.device("cpu")


@pytest.mark.parametrize("key", ["nproc", "world_size", "port", "ip", "group_offset"])
def test_what_the_launcher_reads_is_refused_in_a_file(settings, key, capsys):
    Path("settings.yaml").write_text(yaml.safe_dump({**settings, key: 0}))
    assert run_recbole.main(["--model=DAE", "--dataset=blocks", "--config_files=settings.yaml"]) == 2
    error = capsys.readouterr().err
    assert f"settings.yaml: {key}: got 0; allowed: on the command line alone" in error


class TestFiles:
    """Experiments and search spaces."""

    def read(self, content: str) -> Experiment:
        Path("e.yaml").write_text(content)
        return Experiment.read("e.yaml")

    BASE = "datasets: [ml-100k]\nmethods: [Pop]\nbaseline: Pop\n"

    def test_the_split_has_a_default(self):
        assert self.read(self.BASE + "seeds: {model: [1, 2]}\n").split_seeds == [2020]

    @pytest.mark.parametrize(
        "content, said",
        [
            (BASE + "seeds: {model: 1}\nbaseline: EASE\n", "the key baseline is given twice, in lines 3 and"),
            (BASE + "seeds: {model: 1, model: 2}\n", "the key model is given twice, in lines 4 and 4"),
            ("methods: {1: {model: Pop}, '1': {model: EASE}}\n", "the key 1 is given twice"),
            (BASE + "seeds: {model: 1}\nname: /etc/owned\n", "name: got '/etc/owned'"),
            (BASE + "seeds: {model: 1}\nname: ../up\n", "name: got '../up'"),
            (BASE + "seeds: {model: 1}\nname: [a]\n", "name: got ['a']"),
            (BASE + "seeds: 7\n", "seeds: got 7"),
        ],
    )
    def test_mistakes_are_refused(self, content, said):
        with pytest.raises(ValueError) as refused:
            self.read(content)
        assert said in str(refused.value)

    def test_a_key_that_is_a_number_is_named(self, capsys):
        Path("e.yaml").write_text(self.BASE + "seeds: {model: 1}\nsettings: {0.5: 1}\n")
        assert recbole_vae.main(["compare", "e.yaml", "--dry-run"]) == 2
        assert "method Pop: 0.5: Pop has no such key" in capsys.readouterr().err

    def test_a_data_set_without_a_name_is_refused(self, capsys):
        Path("space.yaml").write_text("model: Pop\ndataset: {data_path: x}\nparameters: {epochs: [1]}\n")
        assert recbole_vae.main(["tune", "space.yaml"]) == 2
        assert "dataset.dataset: got None; allowed: the name of a data set" in capsys.readouterr().err

    def test_long_labels_are_folders_of_a_fit_length_and_stay_apart(self):
        one, other = "x" * 300, "x" * 299 + "y"
        assert max(len(slug(one)), len(slug(other))) < 100 and slug(one) != slug(other)
        assert slug("short") == "short"


class TestDamagedCheckpoints:
    @pytest.fixture(scope="class")
    def checkpoint(self, blocks_path, tmp_path_factory) -> bytes:
        from recbole_vae_plugin.testing.fixtures import prepared

        folder = tmp_path_factory.mktemp("checkpoint")
        keys = {
            "data_path": str(blocks_path),
            "checkpoint_dir": str(folder),
            "mlp_hidden_size": [16],
            "latent_dimension": 4,
            "epochs": 1,
            "topk": [3],
            "valid_metric": "NDCG@3",
            "state": "ERROR",
        }
        run = prepared("DAE", "blocks", keys)
        run.trainer.fit(run.train, verbose=False)
        return Path(run.trainer.saved_model_file).read_bytes()

    def test_a_flipped_bit_never_gives_another_model(self, checkpoint, capsys):
        """At random places: refused by name, or harmless because nothing that is read has changed."""
        Path("whole.pth").write_bytes(checkpoint)
        assert recbole_vae.main(["bundle", "whole.pth", "whole.vae"]) == 0
        random = np.random.default_rng(0)
        refused = 0
        for place in random.integers(0, len(checkpoint), 60):
            damaged = bytearray(checkpoint)
            damaged[place] ^= 1 << int(random.integers(8))
            Path("damaged.pth").write_bytes(damaged)
            Path("damaged.vae").unlink(missing_ok=True)
            if recbole_vae.main(["bundle", "damaged.pth", "damaged.vae"]) == 0:
                assert Path("damaged.vae").read_bytes() == Path("whole.vae").read_bytes()
            else:
                refused += 1
                assert "damaged.pth" in capsys.readouterr().err
        assert refused > 30

    @pytest.mark.parametrize("length", [0, 1, 100, 0.5, 0.99])
    def test_a_file_that_is_cut_off_is_told_by_name(self, checkpoint, prepare, length, capsys):
        cut = int(length * len(checkpoint)) if isinstance(length, float) else length
        Path("cut.pth").write_bytes(checkpoint[:cut])
        assert recbole_vae.main(["bundle", "cut.pth", "x.vae"]) == 2
        assert "cut.pth" in capsys.readouterr().err
        with pytest.raises(ValueError, match="cut.pth"):
            load_data_and_model("cut.pth")
        with pytest.raises(ValueError, match="cut.pth"):
            prepare("DAE").trainer.resume_checkpoint("cut.pth")


class TestErrorsFromWithin:
    """A mistake of the program's is not told as if it were the user's."""

    @pytest.fixture(params=[ValueError("cannot reshape"), KeyError("column"), TypeError("unhashable")])
    def problem(self, request) -> Exception:
        return request.param

    def check(self, code: int, error: str, problem: Exception):
        assert code == 1
        said, hint = error.splitlines()[-2:]
        assert f"error: {type(problem).__name__}: {problem.args[0]}" in said
        assert "--traceback shows where it was raised" in hint and "recbole-vae doctor" in hint

    def raising(self, problem: Exception):
        def fail(*_args, **_kwargs):
            raise problem

        return fail

    def test_in_recbole_vae(self, problem, monkeypatch, capsys):
        monkeypatch.setattr("recbole_vae_plugin.compare.runner.describe", self.raising(problem))
        self.check(
            recbole_vae.main(["compare", "ml-100k-quick", "--dry-run"]), capsys.readouterr().err, problem
        )

    def test_in_a_check_the_place_is_told_too(self, problem, monkeypatch, capsys):
        monkeypatch.setattr(
            "recbole_vae_plugin.integration.config.checks.check_config", self.raising(problem)
        )
        code = recbole_vae.main(["compare", "ml-100k-quick", "--dry-run"])
        error = capsys.readouterr().err
        self.check(code, error, problem)
        assert "(method Pop on ml-100k)" in error

    def test_in_run_recbole(self, problem, monkeypatch, capsys):
        monkeypatch.setattr(
            "recbole_vae_plugin.integration.config.checks.check_config", self.raising(problem)
        )
        code = run_recbole.main(["--model=Pop", "--dataset=ml-100k"])
        self.check(code, capsys.readouterr().err, problem)

    def test_what_recbole_refuses_is_the_users(self, monkeypatch, capsys):
        refuse = self.raising(NotImplementedError("no such thing"))
        monkeypatch.setattr("recbole.config.Config.__init__", refuse)
        assert run_recbole.main(["--model=Pop", "--dataset=ml-100k"]) == 2
        assert capsys.readouterr().err == "run_recbole: error: no such thing\n"
