"""``recbole-vae tune``: the space, the search, and what interruption and failure leave."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import gettempdir
from time import monotonic, sleep

import optuna
import pandas as pd
import pytest
import yaml
from conftest import CONFIGS, first_on_path, leave_behind

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.runs.pool import Pool
from recbole_vae_plugin.testing.fixtures import TEXTBOOK
from recbole_vae_plugin.tune import heartbeat
from recbole_vae_plugin.tune.space import Parameter, Space, read_hyper_test
from recbole_vae_plugin.tune.study import open_study

SETTINGS = {
    **TEXTBOOK,
    "epochs": 3,
    "eval_step": 1,
    "mlp_hidden_size": [16],
    "latent_dimension": 4,
    "train_batch_size": 16,
}
COMMAND = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "tune", "small.yaml"]


@pytest.fixture
def space(blocks_path):
    """Write a space on the planted data; returns its file."""

    def write(**changes) -> str:
        content = {
            "model": "VAESplit",
            "dataset": {"dataset": "blocks", "data_path": str(blocks_path)},
            "settings": SETTINGS,
            "parameters": {"learning_rate": {"loguniform": [0.001, 0.1]}, "dropout_prob": [0.1, 0.5]},
            "trials": 4,
            "seeds": {"split": 7, "model": 7},
            "topk": [3],
            "valid_metric": "NDCG@3",
        }
        content = {key: value for key, value in {**content, **changes}.items() if value is not ...}
        Path("small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return "small.yaml"

    return write


def trials(folder: str) -> pd.DataFrame:
    return pd.read_csv(Path(folder, "trials.csv"))


def values_of_trials(*states: str) -> list[dict]:
    """What the study in ``found`` has tried, by states."""
    study = optuna.load_study(study_name="small", storage="sqlite:///found/study.db")
    return [trial.params for trial in study.trials if trial.state.name in states]


def raise_interrupt(*args, **kwargs):
    raise KeyboardInterrupt


class TestSearch:
    def test_it_leaves_what_a_reader_needs(self, space, capsys):
        assert main(["tune", space(), "--results", "found"]) == 0
        table = trials("found")
        assert (table["state"] == "COMPLETE").sum() == 4 and table["valid"].notna().all()
        assert table["startup_seconds"].between(0, table["seconds"], inclusive="neither").all()
        best = yaml.safe_load(Path("found/best.yaml").read_text())
        assert best["learning_rate"] == pytest.approx(
            table.loc[table["valid"].idxmax(), "value_learning_rate"]
        )
        page = Path("found/search.html").read_text()
        assert "History" in page and "Slices" in page and page.count("plotly-graph-div") >= 3
        page = Path("found/hyperparameters.md").read_text()
        assert "learning_rate loguniform -6.90776,-2.30259" in page
        assert "dropout_prob choice [0.1, 0.5]" in page and "test ndcg@3" in page

    def test_best_yaml_runs_as_it_is_and_finds_the_same(self, space):
        from recbole.quick_start import run_recbole

        assert main(["tune", space(trials=2), "--results", "found"]) == 0
        (file,) = Path("found/best").glob("**/result.json")
        expected = json.loads(file.read_text())["test"]
        quiet = {"show_progress": False, "state": "ERROR"}
        found = run_recbole(config_file_list=["found/best.yaml"], config_dict=quiet)["test_result"]
        assert found == {metric: round(value, 4) for metric, value in expected.items()}

    def test_no_test_data_is_looked_at_before_the_search_is_over(self, space, monkeypatch):
        # any look at test data in a trial's process ends it
        Path("sitecustomize.py").write_text(
            "import recbole_vae_plugin.integration.data.loaders as data, os, pathlib\n"
            "collate = data.UserFullSortEvalDataLoader.collate_fn\n"
            "def watched(self, index):\n"
            "    if self._sampler.phase == 'test' and 'trials' in os.getcwd():\n"
            "        raise AssertionError('test data was read')\n"
            "    if self._sampler.phase == 'test':\n"
            "        pathlib.Path('was-tested').touch()\n"
            "    return collate(self, index)\n"
            "data.UserFullSortEvalDataLoader.collate_fn = watched\n"
        )
        monkeypatch.setenv("PYTHONPATH", first_on_path(os.getcwd()))
        assert main(["tune", space(trials=2), "--results", "found"]) == 0
        assert (trials("found")["state"] == "COMPLETE").all()
        assert list(Path("found/best").glob("**/was-tested")), "the watch works"
        for file in Path("found/trials").glob("**/*"):
            assert file.name != "users.csv.gz"
            if file.name == "result.json":
                assert "test" not in json.loads(file.read_text())

    def test_a_failing_trial_is_recorded_and_the_search_goes_on(self, space):
        # so large a rate makes the loss overflow
        file = space(
            parameters={"learning_rate": [0.01, 1e18]}, trials=5, settings={**SETTINGS, "loss_type": "MSE"}
        )
        assert main(["tune", file, "--results", "found"]) == 0
        table = trials("found").set_index("value_learning_rate")
        assert len(table) == 2, "there are but two configurations"
        assert table.loc[0.01, "state"] == "COMPLETE" and table.loc[1e18, "state"] == "FAIL"
        assert "nan" in table.loc[1e18, "failed"]

    def test_several_seeds_a_trial_are_averaged(self, space):
        file = space(parameters={"dropout_prob": [0.3]}, seeds={"split": 7, "model": [1, 2]})
        assert main(["tune", file, "--results", "found"]) == 0
        scores = [
            json.loads(run.read_text())["valid_score"] for run in Path("found/trials").glob("**/result.json")
        ]
        assert len(scores) == 2
        assert trials("found")["valid"].tolist() == [pytest.approx(sum(scores) / 2)]

    @pytest.mark.slow
    def test_pruning_saves_epochs_and_keeps_the_best(self, space):
        # one configuration after the other, ten that cannot learn among them
        rates = [0.03, 0.02, 0.04, 0.05, 0.01, *(1e-7 * step for step in range(1, 11))]
        settings = {**SETTINGS, "epochs": 15, "stopping_step": 100}
        file = space(parameters={"learning_rate": rates}, settings=settings, trials=15)
        assert main(["tune", file, "--results", "found"]) == 0
        table = trials("found").set_index("value_learning_rate")
        pruned = table[table["state"] == "PRUNED"]
        assert len(pruned) >= 5 and pruned["epochs"].between(5, 14).all()
        assert table["epochs"].sum() < 0.8 * 15 * 15
        assert set(pruned.index).isdisjoint(rates[:3]) and table["valid"].idxmax() in rates[:5]

    def test_no_trial_is_stopped_while_it_warms_up(self, space):
        rates = [0.03, 0.02, 0.04, 0.05, 0.01, 1e-7, 2e-7, 3e-7]
        settings = {**SETTINGS, "epochs": 8, "stopping_step": 100}
        file = space(parameters={"learning_rate": rates}, settings=settings, trials=8, warm_up_epochs=8)
        assert main(["tune", file, "--results", "found"]) == 0
        assert (trials("found")["epochs"] == 8).all()


class TestInterruption:
    @pytest.mark.slow
    def test_killed_it_goes_on_and_repeats_nothing(self, space, monkeypatch):
        space(trials=6, settings={**SETTINGS, "epochs": 30})
        process = subprocess.Popen([*COMMAND, "--results", "found"], start_new_session=True)
        end = monotonic() + 120
        while len(list(Path("found/trials").glob("**/result.json"))) < 2 or not values_of_trials("RUNNING"):
            assert monotonic() < end and process.poll() is None
            sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        monkeypatch.setattr(heartbeat, "GRACE_SECONDS", 5)
        monkeypatch.setattr(heartbeat, "INTERVAL_SECONDS", 1)
        before = {file: file.stat().st_mtime_ns for file in Path("found/trials").glob("**/result.json")}
        abandoned = values_of_trials("RUNNING")
        assert main(["tune", "small.yaml", "--results", "found"]) == 0
        table = trials("found")
        assert table["state"].isin(["COMPLETE", "PRUNED"]).sum() == 6
        assert abandoned and all(values in values_of_trials("COMPLETE", "PRUNED") for values in abandoned)
        assert all(file.stat().st_mtime_ns == time for file, time in before.items())

    @pytest.mark.slow
    def test_a_process_whose_clock_is_wrong_keeps_its_trial(self, space):
        space(trials=2, settings={**SETTINGS, "epochs": 60, "stopping_step": 60}, warm_up_epochs=60)
        Path("late").mkdir()
        Path("late/sitecustomize.py").write_text(
            "import time\nright = time.time\ntime.time = lambda: right() - 3600\n"
        )
        late = {**os.environ, "PYTHONPATH": first_on_path(os.path.abspath("late"))}
        process = subprocess.Popen([*COMMAND, "--results", "found"], env=late)
        end = monotonic() + 120
        while not list(Path("found/trials").glob("**/*.partial/config.yaml")):
            assert monotonic() < end and process.poll() is None
            sleep(0.05)
        assert main(["tune", "small.yaml", "--results", "found"]) == 0
        assert process.wait(timeout=240) == 0
        assert trials("found")["state"].tolist() == ["COMPLETE", "COMPLETE"]

    def test_a_trial_that_an_older_version_left_is_run_again(self, space, monkeypatch):
        monkeypatch.setattr(heartbeat, "GRACE_SECONDS", 3)
        monkeypatch.setattr(heartbeat, "INTERVAL_SECONDS", 1)
        file = space(trials=2)
        Path("found").mkdir()
        study = optuna.create_study(
            study_name="small", storage="sqlite:///found/study.db", direction="maximize"
        )
        left = study.ask()
        Space.read(file).suggest(left)
        assert main(["tune", file, "--results", "found"]) == 0
        assert values_of_trials("FAIL") == [left.params]
        assert len(values_of_trials("COMPLETE")) == 2 and left.params in values_of_trials("COMPLETE")

    def test_an_interrupted_trial_is_run_again(self, space, monkeypatch):
        file = space(trials=2)
        with monkeypatch.context() as patch:
            patch.setattr(Pool, "poll", raise_interrupt)
            assert main(["tune", file, "--results", "found"]) == 130
        (interrupted,) = values_of_trials("FAIL")
        assert main(["tune", file, "--results", "found"]) == 0
        assert len(values_of_trials("COMPLETE")) == 2 and interrupted in values_of_trials("COMPLETE")

    @pytest.mark.slow
    def test_two_processes_share_the_trials_without_repeats(self, space):
        space(trials=6, parameters={"dropout_prob": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]})
        processes = [subprocess.Popen([*COMMAND, "--results", "found"]) for _ in range(2)]
        assert [process.wait(timeout=240) for process in processes] == [0, 0]
        table = trials("found")
        done = table[table["state"].isin(["COMPLETE", "PRUNED"]) & table["repeats"].isna()]
        assert sorted(done["value_dropout_prob"]) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]

    def test_a_longer_search_goes_on_where_the_shorter_ended(self, space):
        assert main(["tune", space(), "--results", "found", "--trials", "2"]) == 0
        first = trials("found")
        assert main(["tune", space(), "--results", "found", "--trials", "3", "--jobs", "2"]) == 0
        second = trials("found")
        assert len(second) >= 3 and second["valid"][:2].tolist() == first["valid"].tolist()

    @pytest.mark.parametrize("storage", ["nonsense", "sqlite:////no/such/folder/study.db"])
    def test_a_storage_that_cannot_be_opened_is_named(self, space, storage, capsys):
        assert main(["tune", str(space()), "--storage", storage]) == 2
        message = capsys.readouterr().err
        assert f"--storage: got '{storage}'; allowed: the address of a database, such as" in message

    @pytest.fixture
    def searched(self, space):
        """A folder ``found`` as a search of two trials leaves it, which nothing was trained for."""
        Path("found").mkdir()
        study = open_study(Space.read(space()), Path("found"), None)
        for number in range(2):
            study.tell(study.ask(), 0.5)
            Path(f"found/trials/blocks/trial-{number:04}").mkdir(parents=True)
        return ["tune", "small.yaml", "--results", "found"]

    def test_a_study_that_was_lost_or_damaged_is_refused_by_name(self, searched, capsys):
        study = Path("found/study.db")
        whole = study.read_bytes()
        damages = {
            "emptied": b"",
            "missing": None,
            "zeros": bytes(5000),
            "text": b"no database" * 500,
            "cut off": whole[: len(whole) // 2],
            "a page overwritten": whole[:8192] + os.urandom(16384) + whole[24576:],
        }
        for name, damage in damages.items():
            study.unlink() if damage is None else study.write_bytes(damage)
            for _ in range(2):
                assert main(searched) == 2, name
                message = capsys.readouterr().err.strip()
                said = "emptied or lost: it knows 0 trials" if not damage else "found/study.db is damaged"
                assert said in message and "study.db" in message and "another folder" in message, name
                assert "\n" not in message and "--storage" not in message, name
        study.write_bytes(whole)
        assert len(open_study(Space.read("small.yaml"), Path("found"), None).trials) == 2

    def test_a_study_of_before_the_last_trials_is_refused(self, searched, capsys):
        Path("found/trials/blocks/trial-0002").mkdir()
        assert main(searched) == 2
        assert "it knows 2 trials" in capsys.readouterr().err

    @pytest.mark.parametrize("damage", [b"", b"name: [", b"[1, 2]", b"\xff\xfe"])
    def test_a_damaged_space_is_told_by_name(self, searched, damage, capsys):
        Path("found/space.yaml").write_bytes(damage)
        assert main(searched) == 2
        assert "found/space.yaml is damaged" in capsys.readouterr().err
        Path("found/space.yaml").unlink()
        open_study(Space.read("small.yaml"), Path("found"), None)
        assert yaml.safe_load(Path("found/space.yaml").read_text())["name"] == "small"

    def test_what_a_killed_search_left_is_removed(self, searched):
        left = leave_behind(Path("found/trials/blocks/trial-0000/split-7-model-7"))
        elsewhere = leave_behind(Path(gettempdir(), "recbole-vae"))
        assert main([*searched, "--trials", "3"]) == 0
        assert not left.exists() and not elsewhere.exists()
        assert not list(Path("found").glob("**/*.partial"))

    def test_another_search_is_refused(self, space, capsys):
        assert main(["tune", space(), "--results", "found", "--trials", "1"]) == 0
        file = space(settings={**SETTINGS, "epochs": 4})
        assert main(["tune", file, "--results", "found", "--trials", "1"]) == 2
        assert "other settings" in capsys.readouterr().err


class TestSpace:
    @pytest.mark.parametrize("file", sorted(CONFIGS.glob("search/*.yaml")), ids=lambda file: file.stem)
    def test_shipped_spaces_are_in_order(self, file):
        not_downloaded = Path("dataset/amazon-book-kgat/amazon-book-kgat.inter")
        not_downloaded.parent.mkdir(parents=True)
        not_downloaded.write_text("user_id:token\titem_id:token\n1\t1\n")
        Space.read(str(file)).check()

    def test_values_come_as_they_were_written(self):
        study = optuna.create_study()
        parameter = Parameter.read("mlp_hidden_size", {"choice": [[600], [600, 200], None]})
        seen = [parameter.suggest(study.ask()) for _ in range(30)]
        assert all(value in ([600], [600, 200], None) for value in seen)
        assert isinstance(Parameter.read("n", {"integer": [1, 5]}).suggest(study.ask()), int)

    def test_a_parameter_may_hang_on_another(self, space):
        file = space(
            parameters={
                "denoising": ["dropout", "none"],
                "dropout_prob": {"uniform": [0.1, 0.5], "when": {"denoising": "dropout"}},
            }
        )
        study, found = optuna.create_study(), Space.read(file)
        drawn = [found.suggest(study.ask()) for _ in range(30)]
        assert all(("dropout_prob" in values) == (values["denoising"] == "dropout") for values in drawn)
        assert {values["denoising"] for values in drawn} == {"dropout", "none"}

    def test_recboles_own_files_are_understood(self):
        Path("hyper.test").write_text(
            "learning_rate loguniform -8,-4\nmlp_hidden_size choice ['[64]','[128]']\n\nk quniform 1,9,2\n"
        )
        rate, hidden, k = read_hyper_test(Path("hyper.test"))
        assert rate.values == (pytest.approx(math.exp(-8)), pytest.approx(math.exp(-4)))
        assert hidden.values == ([64], [128])
        assert (k.kind, k.values) == ("quniform", (1, 9, 2))
        assert rate.hyper_test_line == "learning_rate loguniform -8,-4"

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"model": "VAESplitt"}, ["VAESplit"]),
            ({"parameters": ...}, ["parameters"]),
            ({"parameters": {"anneal_capp": [1]}}, ["anneal_capp", "anneal_cap"]),
            ({"parameters": {"anneal_cap": {"loguniform": [0, 1]}}}, ["anneal_cap", "above 0"]),
            ({"parameters": {"anneal_cap": {"uniform": [2, 1]}}}, ["anneal_cap", "ascend"]),
            ({"parameters": {"anneal_cap": {"unifrom": [0, 1]}}}, ["unifrom", "uniform"]),
            ({"parameters": {"dropout_prob": {"uniform": [0, 2]}}}, ["dropout_prob", "below 1"]),
            ({"parameters": {"anneal_cap": {"uniform": [0, 1], "when": {"x": 1}}}}, ["when", "x"]),
            ({"parameters": {"topk": [5]}}, ["topk", "same for all"]),
            ({"parameters": "none.test"}, ["none.test"]),
            ({"trials": 0}, ["trials", "0"]),
            ({"seeds": {"split": [1, 2], "model": 1}}, ["seeds.split", "one seed"]),
            ({"valid_metric": "MRR@7"}, ["valid_metric"]),
            (
                {"metrics": ["GiniIndex"], "valid_metric": "GiniIndex@3"},
                ["valid_metric", "higher values are better"],
            ),
            ({"trails": 3}, ["trails", "trials"]),
        ],
    )
    def test_bad_files_get_one_message_before_anything_runs(self, space, changes, words, capsys):
        assert main(["tune", space(**changes), "--results", "none"]) == 2
        message = capsys.readouterr().err.strip()
        assert message.startswith("recbole-vae: error: ") and "\n" not in message
        assert all(word in message for word in words), message
        assert not Path("none").exists()
