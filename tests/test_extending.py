"""Another package adds a head, a noise, a likelihood and a model, and everything knows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import attempts
import outside
import pytest
import yaml
from conftest import first_on_path
from torch import nn

from recbole_vae_plugin import Number, VariationalRecommender, register_model, setting
from recbole_vae_plugin.nn.heads import SplitHead
from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.registry import Registry


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    return outside.install(tmp_path_factory.mktemp("outside"))


@pytest.fixture(scope="module")
def forks(installed):
    with attempts.forks(PYTHONPATH=first_on_path(str(installed))) as forks:
        yield forks


@pytest.fixture
def run(forks):
    """Run a command in a process that has the package, and return what it prints."""

    def run(*command: str, code: int = 0) -> str:
        log = Path("attempts.log")
        log.unlink(missing_ok=True)
        assert forks(*command) == code, log.read_text()[-4000:]
        return log.read_text()

    return run


def in_python(installed: Path, *arguments: str) -> str:
    """Run a new Python that has the package."""
    environment = {**os.environ, "PYTHONPATH": first_on_path(str(installed))}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


CHOICES = {"denoising": "blackout", "blackout_prob": 0.2, "loss_type": "Poisson", "logvar_cap": 0.5}


class TestInstalled:
    def test_help_has_its_keys(self, run):
        said = run("run_recbole", "--help")
        assert "VAENarrow" in said and "blackout_prob [0.1]" in said and "'Poisson'" in said

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--model=VAENarrow"],
            ["--model=DAE", "--denoising=blackout"],
            ["--model=VAESplit", "--loss_type=Poisson"],
        ],
        ids=["a head", "a noise", "a likelihood"],
    )
    def test_one_component_is_one_class_or_function(self, run, settings, arguments):
        Path("settings.yaml").write_text(yaml.safe_dump({**settings, "epochs": 1, "state": "INFO"}))
        said = run("run_recbole", *arguments, "--dataset=blocks", "--config_files=settings.yaml")
        assert "test result" in said

    def test_it_trains_is_bundled_and_recommends(self, run, installed, settings):
        Path("settings.yaml").write_text(yaml.safe_dump({**settings, **CHOICES, "state": "INFO"}))
        said = run("run_recbole", "--model=VAENarrow", "--dataset=blocks", "--config_files=settings.yaml")
        assert "blackout_prob = 0.2" in said and "test result" in said
        (checkpoint,) = Path(settings["checkpoint_dir"]).glob("VAENarrow-*.pth")
        run("recbole-vae", "bundle", str(checkpoint), "narrow.vae")
        lines = run("recbole-vae", "recommend", "narrow.vae", "--items=i0,i1", "-k", "3")
        assert "i" in lines
        code = (
            "import sys; from recbole_vae_plugin import Recommender\n"
            "print(Recommender.load('narrow.vae').recommend(['i0', 'i1'], k=3)[0])\n"
            "assert 'recbole' not in sys.modules\n"
            f"from recbole.quick_start import load_data_and_model; load_data_and_model('{checkpoint}')"
        )
        in_python(installed, "-c", code)

    def test_bad_values_and_misspelt_names_are_refused(self, run, settings):
        Path("settings.yaml").write_text(yaml.safe_dump(settings))
        command = ("run_recbole", "--model=VAESplit", "--dataset=blocks", "--config_files=settings.yaml")
        assert "blackout_prob: got 1.5; allowed" in run(*command, "--blackout_prob=1.5", code=2)
        assert "did you mean Poisson?" in run(*command, "--loss_type=Poison", code=2)
        # a setting of a head is a key of the models that have the head
        assert "VAESplit has no such key" in run(*command, "--logvar_cap=1", code=2)

    def test_compare_knows_it(self, run, settings):
        own = {key: settings.pop(key) for key in ("data_path", "topk", "valid_metric")}
        settings.pop("checkpoint_dir")
        experiment = {
            "name": "outside",
            "datasets": {"blocks": {"dataset": "blocks", "data_path": own["data_path"]}},
            "methods": {"Pop": {"model": "Pop"}, "ours": {"model": "VAENarrow", **CHOICES}},
            "baseline": "Pop",
            "seeds": {"split": [1], "model": [1]},
            "metrics": ["NDCG"],
            "topk": own["topk"],
            "valid_metric": own["valid_metric"],
            "settings": {"epochs": 2, "train_batch_size": 16},
        }
        Path("outside.yaml").write_text(yaml.safe_dump(experiment))
        run("recbole-vae", "compare", "outside.yaml", "--results", "found")
        results = [json.loads(file.read_text()) for file in Path("found").rglob("result.json")]
        assert {result["model"] for result in results} == {"Pop", "VAENarrow"}
        assert not any("failed" in result for result in results)

    @pytest.mark.slow
    def test_it_inherits_the_contract(self, installed):
        tests = installed.parent / "outside-1.0" / "tests"
        assert " passed" in in_python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests))


class TestRegistry:
    def test_a_name_is_taken_once(self):
        registry = Registry("noise", key="denoising")
        registry.register("none")(nn.Identity)
        registry.register("none")(nn.Identity)  # as when a notebook's cell is run again
        with pytest.raises(ValueError, match="the noise none is already registered, by torch"):
            registry.register("none")(nn.Dropout)

    def test_a_key_means_one_thing(self):
        @dataclass(frozen=True)
        class Low:
            rate: float = setting(0.1, Number(0), "How often.")

        @dataclass(frozen=True)
        class High:
            rate: float = setting(0.9, Number(0), "How often.")

        registry = Registry("noise", key="denoising")
        registry.register("low", settings=Low)(nn.Identity)
        with pytest.raises(ValueError, match="high has a key rate, which the noise low declares"):
            registry.register("high", settings=High)(nn.Identity)

    @pytest.mark.parametrize("key", ["noise_std", "learning_rate", "anneal_cap"])
    def test_a_key_of_another_kind_of_component_of_recbole_or_of_the_model_is_refused(
        self, prepare, monkeypatch, key
    ):
        for kept in ("_components", "_settings"):
            monkeypatch.setattr(LIKELIHOODS, kept, dict(getattr(LIKELIHOODS, kept)))
        settings = make_dataclass(
            "S", [("it", float, setting(7.0, Number(0), "A clash.", key=key))], frozen=True
        )
        with pytest.raises(ValueError, match=f"{key}.*(the noise gaussian|RecBole|the model)"):
            LIKELIHOODS.register("clash", settings=settings)(lambda scores, counts: None)
            prepare("VAESplit")

    def test_a_component_that_is_not_there(self):
        registry = Registry("head", key="head")
        with pytest.raises(ValueError, match="is not a registered head"):
            registry.name_of(SplitHead)


def test_a_model_of_a_notebook(prepare, monkeypatch):
    monkeypatch.setattr(MODELS, "_references", dict(MODELS._references))

    @register_model
    class VAENotebook(VariationalRecommender):
        head = SplitHead

    run = prepare("VAENotebook")
    assert type(run.model) is VAENotebook and run.config["anneal_cap"] == 0.2
    with pytest.raises(ValueError, match="VAESplit is already registered"):
        register_model(type("VAESplit", (VariationalRecommender,), {"head": SplitHead}))
    with pytest.raises(ImportError, match="MultiVAE: the name is already taken by RecBole itself"):
        register_model(type("MultiVAE", (VariationalRecommender,), {"head": SplitHead}))
