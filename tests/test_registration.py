"""After ``import recbole_vae_plugin`` RecBole takes the models everywhere it takes its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml

from recbole_vae_plugin.integration import registration
from recbole_vae_plugin.integration.config.default_files import default_file
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.testing.fixtures import users_of


def python(code: str, **environment) -> subprocess.CompletedProcess:
    """Run code in a fresh interpreter, in the test's own folder."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def result_of(code: str, **environment):
    """What a fresh interpreter prints last, as JSON."""
    done = python(code, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_config(settings, **more) -> str:
    with open("settings.yaml", "w") as file:
        yaml.safe_dump({**settings, **more}, file)
    return "settings.yaml"


class TestConfig:
    def test_each_model_has_its_defaults(self, settings):
        from recbole.config import Config

        for model in MODELS:
            config = Config(model=model, dataset="ml-100k")
            defaults = yaml.safe_load(default_file(model))
            assert config.model_class.__name__ == model
            for key in set(defaults) - {"train_neg_sample_args"}:
                assert config[key] == defaults[key], key

    def test_command_line_over_dict_over_file_over_defaults(self, monkeypatch):
        from recbole.config import Config

        file = write_config({"anneal_cap": 0.5, "dropout_prob": 0.4, "latent_dimension": 50})
        monkeypatch.setattr(sys, "argv", ["run", "--anneal_cap=0.7"])
        config = Config(
            model="VAESplit",
            dataset="ml-100k",
            config_file_list=[file],
            config_dict={"anneal_cap": 0.6, "dropout_prob": 0.3},
        )
        found = [config[key] for key in ("anneal_cap", "dropout_prob", "latent_dimension", "noise_std")]
        assert found == [0.7, 0.3, 50, 0.1]

    def test_data_set_defaults_come_after_ours(self):
        from recbole.config import Config

        assert Config(model="VAESplit", dataset="ml-100k")["load_col"] == {
            "inter": ["user_id", "item_id", "rating", "timestamp"]
        }

    def test_keys_of_our_models_stay_out_of_others(self):
        from recbole.config import Config

        assert Config(model="BPR", dataset="ml-100k")["train_batch_size"] == 2048


class TestQuickStart:
    def test_run_recbole_and_run(self, settings):
        from recbole.quick_start import run, run_recbole

        once = run_recbole(model="VAESplit", dataset="blocks", config_dict=dict(settings))
        again = run("VAESplit", "blocks", config_dict=dict(settings))
        assert once == again
        assert all(type(value) is float for value in once["test_result"].values())

    @pytest.mark.parametrize("algo, trials", [("exhaustive", 4), ("bayes", 3)])
    def test_hyper_tuning(self, settings, algo, trials):
        from recbole.quick_start import objective_function
        from recbole.trainer import HyperTuning

        space = {"choice": {"latent_dimension": [2, 4], "denoising": ["none", "dropout"]}}
        if algo == "bayes":
            space["uniform"] = {"anneal_cap": [0.1, 0.5]}
        tuning = HyperTuning(
            objective_function,
            algo=algo,
            max_evals=3,
            params_dict=space,
            fixed_config_file_list=[write_config(settings, model="VAETwin", dataset="blocks")],
        )
        tuning.run()
        assert len(tuning.params2result) == trials
        best = max(result["best_valid_score"] for result in tuning.params2result.values())
        assert tuning.best_score == best
        tuning.export_result("hyper.result")
        assert os.path.getsize("hyper.result") > 0

    def test_case_study(self, prepare):
        from recbole.utils.case_study import full_sort_scores, full_sort_topk

        run = prepare("DAE")
        users = users_of(run).numpy()
        scores = full_sort_scores(users, run.model, run.test)
        top_scores, top_items = full_sort_topk(users, run.model, run.test, k=3)
        assert scores.shape == (len(users), run.dataset.item_num)
        expected = np.sort(scores.numpy(), axis=1)[:, :-4:-1]
        np.testing.assert_array_equal(top_scores.numpy(), expected)
        np.testing.assert_array_equal(np.take_along_axis(scores.numpy(), top_items.numpy(), 1), expected)

    def test_saved_dataset_and_dataloaders_change_nothing(self, settings):
        from recbole.quick_start import run_recbole

        plain = run_recbole("VAESplit", "blocks", config_dict=dict(settings))
        saving = {**settings, "save_dataset": True, "save_dataloaders": True}
        assert run_recbole("VAESplit", "blocks", config_dict=dict(saving)) == plain
        files = {
            "dataset_save_path": "saved/blocks-Dataset.pth",
            "dataloaders_save_path": "saved/blocks-for-VAESplit-dataloader.pth",
        }
        assert all(map(os.path.isfile, files.values()))
        assert run_recbole("VAESplit", "blocks", config_dict={**settings, **files}) == plain

    @pytest.mark.parametrize("mode", ["full", "uni20", "pop20"])
    def test_evaluation_modes(self, settings, mode):
        from recbole.quick_start import run_recbole

        result = run_recbole("VAESplit", "blocks", config_dict={**settings, "eval_args": {"mode": mode}})
        assert 0 <= result["test_result"]["ndcg@3"] <= 1

    def test_batch_sizes_of_evaluation_do_not_change_metrics(self, prepare):
        run = prepare("VAESplit")
        assert run.valid.step == 4096
        assert len(run.valid) == 1
        results = []
        for size in (1, 7, 4096):
            run = prepare("VAESplit", eval_batch_size=size)
            assert run.valid.step == size
            results.append(run.trainer.evaluate(run.test, load_best_model=False))
        assert results[0] == results[1] == results[2]


class TestOtherProcesses:
    SCRIPT = """
import json
from recbole.quick_start import run_recbole
print(json.dumps(run_recbole("VAESplit", "blocks", ["settings.yaml"])["test_result"]))
"""

    def test_a_process_that_imports_only_recbole_opens_a_checkpoint(self, prepare):
        run = prepare("VAESplit")
        run.trainer.fit(run.train, run.valid, verbose=False)
        expected = run.trainer.evaluate(run.test)
        code = f"""
import json
from recbole.quick_start import load_data_and_model
from recbole.utils import get_trainer
config, model, dataset, train, valid, test = load_data_and_model({run.trainer.saved_model_file!r})
trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
trainer.eval_collector.data_collect(train)
print(json.dumps(trainer.evaluate(test, load_best_model=False)))
"""
        assert result_of(code) == expected

    @pytest.mark.parametrize(
        "first_import",
        [
            "import recbole_vae_plugin, recbole",
            "from recbole.config import Config",
            *(
                pytest.param(first, marks=pytest.mark.slow)
                for first in (
                    "import recbole.data.utils, recbole_vae_plugin",
                    "from recbole.data import create_dataset",
                    "from recbole.trainer import Trainer",
                    "import recbole_vae_plugin.integration.training.trainer",
                )
            ),
        ],
    )
    def test_the_order_of_imports_does_not_matter(self, settings, first_import):
        from recbole.quick_start import run_recbole

        # metrics that need the repairs, in the order of imports that half-made modules make hard
        metrics = ["NDCG", "ItemCoverage"]
        write_config(settings, metrics=metrics)
        expected = run_recbole("VAESplit", "blocks", ["settings.yaml"])["test_result"]
        assert result_of(f"{first_import}\n{self.SCRIPT}") == expected

    def test_a_spawned_child(self, settings):
        from recbole.quick_start import run_recbole

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            child = pool.apply(run_recbole, ("VAESplit", "blocks", None, dict(settings)))
        assert child == run_recbole("VAESplit", "blocks", None, dict(settings))

    def test_a_ray_worker(self, settings):
        ray = pytest.importorskip("ray", reason="the extra ray is not installed")
        from recbole.quick_start import run_recbole

        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
        try:
            worker = ray.get(ray.remote(run_recbole).remote("VAESplit", "blocks", None, dict(settings)))
        finally:
            ray.shutdown()
        assert worker["test_result"] == run_recbole("VAESplit", "blocks", None, dict(settings))["test_result"]


class TestTraining:
    @pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
    def test_each_learner_takes_its_own_steps(self, prepare, learner):
        """A fused step is the plain one: against the same optimizer without the flag."""
        runs = [prepare("DAE", denoising="none", learner=learner, weight_decay=0.01) for _ in range(2)]
        groups = runs[0].trainer.optimizer.param_groups
        assert bool(groups[0].get("fused")) == (learner in ("adam", "adamw", "sgd"))
        for group in runs[1].trainer.optimizer.param_groups:
            group.update({"fused": False} if "fused" in group else {})
        for run in runs:
            run.trainer.fit(run.train, verbose=False, saved=False)
        for ours, plain in zip(runs[0].model.parameters(), runs[1].model.parameters()):
            torch.testing.assert_close(ours, plain)

    def test_mixed_precision_learns_the_same(self, prepare):
        losses = []
        for enable_amp in (False, True):
            run = prepare("VAESplit", denoising="none", enable_amp=enable_amp, epochs=10, learning_rate=0.01)
            torch.manual_seed(0)
            run.trainer.fit(run.train, verbose=False, saved=False)
            losses.append(run.trainer.train_loss_dict[9])
        assert losses[0] == pytest.approx(losses[1], rel=0.05)
        assert losses[0] != losses[1], "the second run really computed in bfloat16"

    def test_sampled_validation_resumes_too(self, prepare):
        uni = {"eval_args": {"mode": "uni5"}, "seed": 3}
        straight, stopped, resumed = (prepare("DAE", **uni) for _ in range(3))
        scores = []
        for run, epochs in ((straight, 6), (stopped, 2)):
            torch.manual_seed(0)
            np.random.seed(0)
            run.trainer.epochs = epochs
            scores.append(run.trainer.fit(run.train, run.valid, verbose=False))
        resumed.trainer.epochs = 6
        resumed.trainer.resume_checkpoint(stopped.trainer.saved_model_file)
        assert resumed.trainer.fit(resumed.train, resumed.valid, verbose=False) == scores[0]

    def test_options_of_recboles_loaders(self, settings):
        from recbole.quick_start import run_recbole

        dynamic = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 2}
        plain = run_recbole("DAE", "blocks", config_dict=dict(settings))
        for more in ({"train_neg_sample_args": dynamic}, {"worker": 1}):
            assert run_recbole("DAE", "blocks", config_dict={**settings, **more}) == plain
        ordered = run_recbole("DAE", "blocks", config_dict={**settings, "shuffle": False})
        assert ordered != plain

    @pytest.mark.parametrize(
        "more",
        [
            {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "uni5"}},
            {"eval_args": {"mode": {"valid": "uni5", "test": "full"}}},
            {"eval_args": {"mode": {"valid": "full", "test": "pop5"}}},
        ],
    )
    def test_other_evaluations(self, settings, more):
        from recbole.quick_start import run_recbole

        result = run_recbole("VAESplit", "blocks", config_dict={**settings, "epochs": 20, **more})
        assert result["test_result"][more.get("valid_metric", "ndcg@3").lower()] > 0.2

    def test_users_without_training_items(self, prepare, tmp_path):
        """Pre-split files: user c is only in the test part."""
        folder = tmp_path / "split"
        folder.mkdir()
        header = "user_id:token\titem_id:token\n"
        parts = {"train": ["a 1", "a 2", "b 2", "b 4"], "valid": ["a 3"], "test": ["b 1", "c 2"]}
        for part, pairs in parts.items():
            text = header + "".join(pair.replace(" ", "\t") + "\n" for pair in pairs)
            (folder / f"split.{part}.inter").write_text(text)
        run = prepare(
            "VAESplit", dataset="split", data_path=str(tmp_path), benchmark_filename=list(parts), topk=[1]
        )
        (batch,) = run.train
        names = run.dataset.id2token("user_id", batch["user_id"])
        assert sorted(names) == ["a", "b"]
        run.trainer.fit(run.train, verbose=False)
        result = run.trainer.evaluate(run.test)
        assert all(0 <= value <= 1 for value in result.values())


class TestManners:
    def test_importing_is_light_and_twice_is_harmless(self):
        loaded = result_of(
            "import sys, json, importlib, recbole_vae_plugin as plugin\n"
            "importlib.reload(plugin)\n"
            "plugin.register()\n"
            "heavy = ('torch', 'recbole', 'pandas', 'ray')\n"
            "print(json.dumps([name for name in heavy if name in sys.modules]))"
        )
        assert loaded == []

    def test_importing_twice_patches_once(self):
        code = (
            "import importlib, json, recbole_vae_plugin as plugin, recbole.config, torch\n"
            "importlib.reload(plugin)\n"
            "plugin.register()\n"
            "from recbole.config import Config\n"
            "wrapped = [Config._update_internal_config_dict, torch.load]\n"
            "print(json.dumps([hasattr(function.__wrapped__, '__wrapped__') for function in wrapped]))"
        )
        assert result_of(code) == [False, False]

    def test_a_patch_outlives_a_failed_import(self, monkeypatch):
        from recbole_vae_plugin.integration.patching import applying as patching
        from recbole_vae_plugin.integration.patching.patch import WAITING, Patch

        patch = Patch("repair", "colorsys_that_failed", lambda patch, module: None)
        monkeypatch.setattr(patching, "_postponed", [patch])
        patching.apply_postponed()
        assert patch.state == WAITING and patching._postponed == []

    def test_an_unsupported_recbole_is_refused(self):
        for version in ("1.1.1", "1.2.0", "1.3.0a1", "1.3.0", "2.0", "unknown"):
            with pytest.raises(ImportError, match=rf"supports RecBole 1.2.1 .* found {version}"):
                registration.check_version(version)
        assert registration.check_version("1.2.1")

    def test_a_recbole_that_was_not_tested_is_a_warning(self):
        for version in ("1.2.2", "1.2.2rc1", "1.2.10"):
            with pytest.warns(UserWarning, match=rf"tested with RecBole 1.2.1, not with {version}"):
                assert not registration.check_version(version)

    def test_a_name_that_recbole_has_is_refused(self, monkeypatch):
        monkeypatch.setitem(MODELS._references, "MultiVAE", "somewhere:MultiVAE")
        with pytest.raises(ImportError, match="MultiVAE.*already taken by RecBole itself"):
            registration.register()

    def test_a_name_that_another_plugin_has_is_refused(self, monkeypatch):
        name = registration.lookup_module("DAE")
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        with pytest.raises(ImportError, match="DAE.*already taken by another package"):
            registration.register()

    def test_public_names(self):
        from recbole.utils import get_model

        import recbole_vae_plugin

        assert recbole_vae_plugin.VAESplit is get_model("VAESplit")
        assert not hasattr(recbole_vae_plugin, "VAEMissing")

    def test_only_recbole_may_unpickle_objects(self, prepare):
        run = prepare("DAE")
        run.trainer.fit(run.train, verbose=False)
        with pytest.raises(Exception, match="Weights only load failed"):
            torch.load(run.trainer.saved_model_file)
        torch.save({"weights": torch.ones(2)}, "plain.pth")
        assert torch.equal(torch.load("plain.pth")["weights"], torch.ones(2))
