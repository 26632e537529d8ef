"""``recbole-vae compare``: the plan, the runs, and what interruption and failure leave."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import pandas as pd
import pytest
import yaml
from conftest import CONFIGS, first_on_path, leave_behind

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.runner import Plan
from recbole_vae_plugin.testing.fixtures import TEXTBOOK

SETTINGS = {
    **TEXTBOOK,
    "epochs": 2,
    "eval_step": 1,
    "mlp_hidden_size": [16],
    "latent_dimension": 4,
    "train_batch_size": 16,
}


@pytest.fixture
def experiment(blocks_path):
    """Write an experiment on the planted data; returns its file."""

    def write(**changes) -> Path:
        content = {
            "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
            "methods": {"Pop": None, "VAE": {"model": "VAESplit", **SETTINGS}},
            "baseline": "Pop",
            "seeds": {"split": 7, "model": [1, 2]},
            "metrics": ["NDCG", "Recall"],
            "topk": [3],
            "valid_metric": "NDCG@3",
        }
        content = {key: value for key, value in {**content, **changes}.items() if value is not ...}
        file = Path("small.yaml")
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file

    return write


@pytest.fixture(scope="module")
def finished(blocks_path, tmp_path_factory):
    """An experiment that ran once for several tests, with a method that fails."""
    folder = tmp_path_factory.mktemp("finished")
    content = {
        "name": "finished",
        "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
        "methods": {
            "EASE": None,
            "VAE": {"model": "VAESplit", **SETTINGS},
            "broken": {"model": "NeuMF", "epochs": 1, "use_pretrain": True, "mf_pretrain_path": "nowhere"},
        },
        "baseline": "EASE",
        "seeds": {"split": [7, 8], "model": [1, 2]},
        "metrics": ["NDCG", "Recall", "ItemCoverage"],
        "topk": [3],
        "valid_metric": "NDCG@3",
        "checkpoints": True,
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = main(["compare", str(file), "--results", str(folder / "results")])
    return file, folder / "results", code


def values_of(folder: Path) -> pd.DataFrame:
    """Every user's metrics, in an order of their own."""
    return Results.read(folder).users.sort_values(["method", "split_seed", "model_seed", "user"])


class TestRuns:
    def test_a_failure_is_said_and_the_others_go_on(self, finished):
        _, folder, code = finished
        runs = Results.read(folder).runs
        assert code == 1
        assert runs["failed"].isna().groupby(runs["method"]).all().to_dict() == {
            "EASE": True,
            "VAE": True,
            "broken": False,
        }
        log = next(folder.glob("runs/blocks/broken/*/log.txt")).read_text()
        assert "Traceback" in log
        assert "broken | failed: " in (folder / "table.md").read_text()

    def test_each_run_leaves_what_it_found(self, finished):
        _, folder, _ = finished
        run = folder / "runs/blocks/VAE/split-7-model-1"
        names = {file.name for file in run.iterdir()}
        assert names >= {"result.json", "users.csv.gz", "curve.csv", "config.yaml", "log.txt"}
        assert "checkpoint.pth" in names
        result = json.loads((run / "result.json").read_text())
        users = pd.read_csv(run / "users.csv.gz", dtype={"user": str})
        assert users["user"].str.fullmatch(r"u\d+").all()
        assert users["ndcg@3"].mean() == pytest.approx(result["test"]["ndcg@3"])
        assert 0 < result["test"]["itemcoverage@3"] <= 1
        assert result["environment"]["torch"] and result["parameters"] > 0 and result["flops"] > 0
        assert (
            result["cpu_seconds"] > 0
            and result["peak_memory"] > 50
            and result["train_seconds"] > 0
            and result["eval_seconds"] > 0
        )
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert (config["seed"], config["latent_dimension"], config["epochs"]) == (1, 4, 2)

    def test_a_run_equals_run_recbole_where_the_seeds_are_one(self, blocks_path):
        from recbole.quick_start import run_recbole

        shared = {"metrics": ["NDCG", "Recall"], "topk": [3], "valid_metric": "NDCG@3"}
        methods = {"VAE": {"model": "VAESplit", **SETTINGS}, "BPR": {"model": "BPR", "epochs": 2}}
        content = {
            "datasets": {"blocks": {"data_path": str(blocks_path)}},
            "methods": methods,
            "baseline": "VAE",
            "seeds": {"split": 7, "model": 7},
            **shared,
        }
        Path("same.yaml").write_text(yaml.safe_dump(content))
        assert main(["compare", "same.yaml", "--results", "same"]) == 0
        runs = Results.read("same").runs.set_index("method")
        for label, keys in methods.items():
            settings = {**shared, **keys, "seed": 7, "data_path": str(blocks_path)}
            quiet = {"show_progress": False, "state": "ERROR"}
            expected = run_recbole(dataset="blocks", config_dict={**settings, **quiet})["test_result"]
            for metric, value in expected.items():
                assert round(runs.loc[label, f"test_{metric}"], 4) == value, (label, metric)

    def test_the_split_is_the_split_seeds_and_the_weights_the_model_seeds(self, finished):
        _, folder, _ = finished
        users = Results.read(folder).users.set_index(["method", "split_seed", "model_seed", "user"])
        values = users["ndcg@3"].unstack(["method", "split_seed", "model_seed"])
        assert values["EASE", 7, 1].equals(values["EASE", 7, 2])
        assert not values["EASE", 7, 1].equals(values["EASE", 8, 1])
        assert not values["VAE", 7, 1].equals(values["VAE", 7, 2])

    def test_the_checkpoint_opens_on_the_split_that_it_was_trained_on(self, finished):
        from recbole.quick_start import load_data_and_model
        from recbole.utils import get_trainer

        _, folder, _ = finished
        run = folder / "runs/blocks/VAE/split-7-model-1"
        config, model, _, train, _, test = load_data_and_model(str(run / "checkpoint.pth"))
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
        trainer.eval_collector.data_collect(train)
        found = trainer.evaluate(test, load_best_model=False, show_progress=False)
        expected = json.loads((run / "result.json").read_text())["test"]
        assert found["ndcg@3"] == round(expected["ndcg@3"], 4)

    def test_the_config_has_what_was_set_from_the_data(self, finished):
        _, folder, _ = finished
        file = Results.read(folder).config_of("blocks", "VAE")
        assert yaml.safe_load(file.read_text())["stopping_step"] == 100

    def test_curves_tell_what_goes_on_inside(self, finished):
        _, folder, _ = finished
        curves = Results.read(folder).curves
        ours = curves[curves["method"] == "VAE"]
        assert set(ours["epoch"]) == {0, 1}
        assert (ours[["reconstruction", "kl", "train_seconds", "valid_ndcg@3"]] > 0).all(axis=None)
        assert ours["active_units"].between(0, 4).all()

    def test_side_by_side_finds_the_same(self, finished):
        file, folder, _ = finished
        assert main(["compare", str(file), "--results", "parallel", "--jobs", "2"]) == 1
        pd.testing.assert_frame_equal(
            values_of(folder).reset_index(drop=True), values_of(Path("parallel")).reset_index(drop=True)
        )


class TestInterruption:
    def test_killed_at_a_random_moment_it_goes_on_to_the_same_results(self, experiment):
        file = experiment(seeds={"split": 7, "model": [1, 2, 3]})
        assert main(["compare", str(file), "--results", "whole"]) == 0
        # of six runs so many have finished, and another one has begun
        moment = random.Random("killed").randrange(1, 5)
        command = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "compare", str(file)]
        process = subprocess.Popen([*command, "--results", "killed"], start_new_session=True)
        end = monotonic() + 120
        while len(list(Path("killed").glob("runs/*/*/split-*-model-?/result.json"))) < moment or not list(
            Path("killed").glob("runs/*/*/*.partial")
        ):
            assert monotonic() < end and process.poll() is None
            sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it struck"
        finished = {
            path: path.stat().st_mtime_ns
            for path in Path("killed").glob("runs/*/*/split-*-model-?/result.json")
        }
        assert moment <= len(finished) < 6
        assert main(["compare", str(file), "--results", "killed"]) == 0
        pd.testing.assert_frame_equal(values_of(Path("whole")), values_of(Path("killed")))
        assert all(path.stat().st_mtime_ns == time for path, time in finished.items()), moment

    def test_what_a_killed_run_left_is_removed_whoever_is_asked_for(self, experiment):
        left = [leave_behind(Path(f"some/runs/blocks/{name}/split-7-model-1")) for name in ("Pop", "gone")]
        Path("some/experiment.yaml").write_text("name: small")
        file = str(experiment(seeds={"split": 7, "model": 1}))
        assert main(["compare", file, "--results", "some", "--only", "Pop"]) == 0
        assert not any(folder.exists() for folder in left)
        assert not list(Path("some").glob("**/*.partial"))

    @pytest.mark.slow
    def test_workers_do_not_outlive_a_runner_that_is_killed(self, experiment):
        import psutil

        endless = {"model": "VAESplit", **SETTINGS, "epochs": 10**6, "stopping_step": 10**6}
        file = experiment(methods={"VAE": endless}, baseline="VAE")
        command = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "compare", str(file)]
        process = subprocess.Popen([*command, "--results", "killed"])
        end = monotonic() + 60
        while not list(Path("killed").glob("runs/*/*/*.partial/config.yaml")):
            assert monotonic() < end and process.poll() is None
            sleep(0.2)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert workers and not alive

    def test_what_failed_is_tried_again_and_what_succeeded_is_not(self, finished, capsys):
        file, folder, _ = finished
        plan = Plan(Experiment.read(str(file)), folder)
        assert {run.method for run in plan.to_run} == {"broken"} and len(plan.done) == 8

    def test_an_experiment_may_grow(self, experiment):
        assert main(["compare", str(experiment()), "--results", "grown"]) == 0
        file = experiment(
            methods={"Pop": None, "VAE": {"model": "VAESplit", **SETTINGS}, "EASE": None},
            seeds={"split": 7, "model": [1, 2, 3]},
        )
        plan = Plan(Experiment.read(str(file)), Path("grown"))
        assert (len(plan.done), len(plan.to_run)) == (4, 5)

    def test_what_the_experiment_no_longer_asks_for_is_not_counted(self, experiment):
        assert main(["compare", str(experiment()), "--results", "less"]) == 0
        assert main(["compare", str(experiment(seeds={"split": 7, "model": 2})), "--results", "less"]) == 0
        assert set(Results.read("less").runs["model_seed"]) == {2}

    def test_what_has_run_must_stay_as_it_was(self, experiment, capsys):
        assert main(["compare", str(experiment(seeds={"split": 7, "model": 1})), "--results", "kept"]) == 0
        file = experiment(methods={"Pop": None, "VAE": {"model": "VAESplit", **SETTINGS, "epochs": 3}})
        assert main(["compare", str(file), "--results", "kept"]) == 2
        assert "has run with other settings" in capsys.readouterr().err

    @pytest.mark.slow
    def test_a_worker_that_dies_is_a_failure_of_its_run_alone(self, experiment, monkeypatch):
        file = experiment(seeds={"split": 7, "model": 1})
        Path("sitecustomize.py").write_text(
            "import recbole.model.general_recommender.pop as pop, os, signal\n"
            "pop.Pop.__init__ = lambda self, config, dataset: os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        monkeypatch.setenv("PYTHONPATH", first_on_path(os.getcwd()))
        for _ in range(2):  # the second attempt takes the place of the first
            assert main(["compare", str(file), "--results", "died"]) == 1
            runs = Results.read("died").runs.set_index("method")
            assert "signal 9" in runs.loc["Pop", "failed"] and pd.isna(runs.loc["VAE", "failed"])


class TestPlan:
    def test_dry_run_trains_nothing(self, experiment, capsys):
        assert main(["compare", str(experiment()), "--results", "none", "--dry-run"]) == 0
        assert "0 done, 4 to run" in capsys.readouterr().out
        assert not Path("none").exists()

    def test_some_methods_can_run_first(self, experiment, capsys):
        file = str(experiment(seeds={"split": 7, "model": 1}))
        assert main(["compare", file, "--results", "some", "--only", "Pop"]) == 0
        assert "| VAE | not run yet |" in capsys.readouterr().out
        assert main(["compare", file, "--results", "some", "--only", "VEA"]) == 2
        assert "did you mean VAE" in capsys.readouterr().err
        assert main(["compare", file, "--results", "some", "--dry-run"]) == 0
        assert "1 done, 1 to run" in capsys.readouterr().out

    @pytest.mark.parametrize("file", sorted(CONFIGS.glob("experiments/*.yaml")), ids=lambda file: file.stem)
    def test_shipped_experiments_are_in_order(self, file, blocks_path, monkeypatch):
        experiment = Experiment.read(str(file))
        for keys in experiment.datasets.values():
            if keys["dataset"] != "ml-100k":
                # only the data may be missing here
                keys |= {"dataset": "blocks", "data_path": str(blocks_path), "load_col": None}
                keys |= {"unused_col": None, "val_interval": None}
        experiment.check()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"methods": {"Pop": None, "x": {"model": "VAESplitt"}}}, ["method x", "VAESplit"]),
            ({"methods": {"Pop": None, "VAESplit": {"anneal_capp": 1}}}, ["VAESplit", "anneal_cap"]),
            ({"methods": {"Pop": None, "VAESplit": {"anneal_cap": -1}}}, ["anneal_cap", "-1"]),
            ({"methods": {"Pop": None, "VAESplit": {"learning_rate": "fast"}}}, ["learning_rate"]),
            ({"methods": {"Pop": None, "VAESplit": {"config": "no.yaml"}}}, ["no.yaml", "existing"]),
            ({"methods": {"Pop": None, "BPR": {"topk": [5]}}}, ["topk", "the same for all"]),
            ({"methods": {"Pop": None, "BPR": {"val_interval": 1}}}, ["val_interval", "data set"]),
            ({"methods": {}}, ["methods"]),
            ({"baseline": "EASE"}, ["baseline", "EASE", "Pop"]),
            ({"metrics": ["NDGC"]}, ["metrics", "ndcg"]),
            ({"valid_metric": "MRR@3"}, ["valid_metric", "MRR@3", "NDCG@3"]),
            ({"topk": [0]}, ["topk", "0"]),
            ({"seeds": 3}, ["seeds", "split and model"]),
            ({"seeds": {"split": [], "model": 1}}, ["seeds.split"]),
            ({"seeds": {"split": 1, "model": [1, 1]}}, ["seeds.model", "repetitions"]),
            ({"seeds": {"split": 1, "modell": 1}}, ["seeds", "modell"]),
            ({"seed": 1}, ["seed", "did you mean seeds"]),
            ({"settings": {"seed": 1}}, ["seed", "experiment"]),
            ({"checkpoints": "some"}, ["checkpoints", "true or false"]),
            ({"datasets": {"gone": {"dataset": "gone", "data_path": "nowhere"}}}, ["gone"]),
            ({"datasets": ["no.yaml"]}, ["no.yaml"]),
            ({"datasets": ...}, ["datasets"]),
            ({"datasets": {"blocks": {"eval_arg": 1}}}, ["data set blocks", "did you mean eval_args"]),
            ({"metrics": ["NDCG", "ndcg"]}, ["metrics", "repetitions"]),
            ({"topk": []}, ["topk"]),
            ({"metrics": ["RMSE", "NDCG"]}, ["method Pop on blocks"]),
        ],
    )
    def test_bad_files_get_one_message_before_anything_runs(self, experiment, changes, words, capsys):
        assert main(["compare", str(experiment(**changes)), "--results", "none"]) == 2
        message = capsys.readouterr().err.strip()
        assert message.startswith("recbole-vae: error: ") and "\n" not in message
        for word in words:
            assert word in message
        assert not Path("none").exists()

    def test_methods_that_would_be_split_differently_are_refused(self, experiment, capsys):
        # RecBole's sequential models leave out the last item of each user by default
        file = experiment(methods={"Pop": None, "SASRec": {"train_neg_sample_args": None}})
        assert main(["compare", str(file), "--results", "none"]) == 2
        message = capsys.readouterr().err
        assert "method SASRec on blocks: eval_args" in message and "set eval_args in the data" in message

    def test_results_of_something_else_are_left_alone(self, experiment, capsys):
        Path("mine").mkdir()
        Path("mine/thesis.txt").write_text("all of it")
        assert main(["compare", str(experiment()), "--results", "mine"]) == 2
        assert "new or empty folder" in capsys.readouterr().err
        Path("other").mkdir()
        Path("other/experiment.yaml").write_text("name: another")
        assert main(["compare", str(experiment()), "--results", "other"]) == 2
        assert "it has results of the experiment another" in capsys.readouterr().err

    def test_two_runners_cannot_share_a_folder(self, experiment, capsys):
        from recbole_vae_plugin.compare.runner import locked

        Path("busy").mkdir()
        Path("busy/experiment.yaml").write_text("name: small")
        with locked(Path("busy")):
            assert main(["compare", str(experiment()), "--results", "busy"]) == 1
        assert "another process" in capsys.readouterr().err


class TestTables:
    def test_a_metric_that_users_have_no_value_of_is_tested_over_runs(self, experiment):
        file = experiment(metrics=["NDCG", "ItemCoverage"], valid_metric="ItemCoverage@3")
        assert main(["compare", str(file), "--results", "coverage"]) == 0
        assert main(["report", "coverage"]) == 0
        text = Path("coverage/table.md").read_text()
        assert "| method | ndcg@3 ↑ | itemcoverage@3 ↑ |" in text
        verdict = re.search("VAE against Pop on blocks, itemcoverage@3: .*", text)[0]
        assert "of 2 pairs of runs" in verdict and "interval over users" not in verdict

    def test_markdown_has_best_second_and_verdicts(self, finished, capsys):
        _, folder, _ = finished
        assert main(["table", str(folder)]) == 0
        text = capsys.readouterr().out
        assert "**" in text and "<u>" in text and "VAE against EASE on blocks, ndcg@3: " in text
        assert "± 0." in text and "## Failures" in text

    def test_latex_is_a_booktabs_table(self, finished, capsys):
        _, folder, _ = finished
        assert main(["table", str(folder), "--format", "latex"]) == 0
        text = capsys.readouterr().out
        assert text.count("\\toprule") == 1 and "\\textbf{" in text and "\\underline{" in text

    def test_csv_and_json_hold_every_figure(self, finished, capsys):
        import io

        _, folder, _ = finished
        assert main(["table", str(folder), "--format", "csv"]) == 0
        table = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert set(table["metric"]) == {"ndcg@3", "recall@3", "itemcoverage@3"} and len(table) == 6
        assert main(["table", str(folder), "--format", "json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert len(content["results"]) == 6 and len(content["failures"]) == 4

    def test_a_folder_without_results_is_refused(self, capsys):
        assert main(["table", "nowhere"]) == 2
        assert "nowhere" in capsys.readouterr().err
