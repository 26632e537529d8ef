"""Weights & Biases, MLflow and TensorBoard, the real libraries without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.integration.training import tracking
from recbole_vae_plugin.integration.training.tracking import TrackedRun, tracked_as
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.system import installation


def write_experiment(blocks_path, **settings) -> str:
    """An experiment of two runs on the planted data."""
    content = {
        "name": "tracked",
        "datasets": {"blocks": {"data_path": str(blocks_path)}},
        "methods": {"Pop": None, "mf": {"model": "BPR", "epochs": 3}},
        "baseline": "Pop",
        "seeds": {"split": 7, "model": 1},
        "topk": [3],
        "settings": settings,
    }
    Path("tracked.yaml").write_text(yaml.safe_dump(content))
    return "tracked.yaml"


@pytest.fixture
def wandb(monkeypatch):
    """Weights & Biases, offline."""
    library = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    return library


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory) -> Path:
    """A database made by a first run, which takes MLflow half a minute, for all tests."""
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with tracked_as(TrackedRun("first", "made before", {}, folder)):
            tracking.start_mlflow_run({})
    return folder / "mlflow.db"


@pytest.fixture
def mlflow(monkeypatch, mlflow_database):
    """MLflow, with no server set and an empty database in the working directory."""
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(mlflow_database, "mlflow.db")
    yield mlflow
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


def content_of(run: Path) -> bytes:
    """What an offline run of Weights & Biases has recorded."""
    (file,) = run.glob("run-*.wandb")
    return file.read_bytes()


def test_both_trackers_find_the_runs_of_a_comparison(blocks_path, wandb, mlflow):
    file = write_experiment(blocks_path, log_wandb=True, log_mlflow=True)
    assert main(["compare", file, "--results", "results", "--jobs", "2"]) == 0

    offline = [content_of(run) for run in Path("wandb").glob("offline-run-*")]
    assert len(offline) == 2
    for method in ("mf", "Pop"):
        name = f"{method} on blocks, split 7, seed 1".encode()
        (own,) = [content for content in offline if name in content]
        assert b"tracked" in own and b"ndcg@3" in own
    # the trackers' files are not with the results, which are renamed
    assert not list(Path("results").rglob("wandb")) and not list(Path("results").rglob("mlruns"))

    uri = f"sqlite:///{Path('mlflow.db').resolve()}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tracked")
    assert experiment.artifact_location == Path("mlruns").resolve().as_uri()
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"mf on blocks, split 7, seed 1", "Pop on blocks, split 7, seed 1"}
    run = runs["mf on blocks, split 7, seed 1"]
    assert run.info.status == "FINISHED" and run.data.tags["method"] == "mf"
    assert run.data.params["epochs"] == "3" and run.data.params["model"] == "BPR"
    losses = client.get_metric_history(run.info.run_id, "train/train_loss")
    assert [each.step for each in losses] == [0, 1, 2]
    assert 0 <= run.data.metrics["eval/ndcg_at_3"] <= 1


def test_tensorboard_has_every_epoch_under_the_runs_name(blocks_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["compare", write_experiment(blocks_path), "--results", "results"]) == 0
    folder = Path("results/runs/blocks/mf/split-7-model-1/log_tensorboard/log")
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [event.step for event in events.Scalars("Loss/Train")] == [0, 1, 2]


def test_what_is_logged_does_not_change_what_a_run_is():
    settings = {"model": "Pop", "dataset": "blocks"}
    plain, logged = (
        Run("blocks", "Pop", 1, 2, {**settings, **more})
        for more in ({}, {"log_wandb": True, "log_mlflow": True})
    )
    assert plain.fingerprint == logged.fingerprint


@pytest.mark.parametrize(("key", "library"), [("log_wandb", "wandb"), ("log_mlflow", "mlflow")])
def test_without_the_library_it_is_refused_before_any_run(blocks_path, monkeypatch, capsys, key, library):
    find_spec = installation.util.find_spec
    monkeypatch.setattr(
        installation.util,
        "find_spec",
        lambda name, *rest: None if name == library else find_spec(name, *rest),
    )
    assert main(["compare", write_experiment(blocks_path, **{key: True}), "--results", "no"]) == 2
    message = capsys.readouterr().err
    assert key in message and f'pip install "recbole-vae-plugin[{library}]"' in message
    assert not Path("no").exists()


def test_a_tracker_is_on_or_off(blocks_path, capsys):
    assert main(["compare", write_experiment(blocks_path, log_mlflow="maybe"), "--results", "no"]) == 2
    assert "log_mlflow: got 'maybe'; allowed: true or false" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_names_its_trials(blocks_path, mlflow):
    space = {
        "name": "searched",
        "model": "BPR",
        "dataset": {"dataset": "blocks", "data_path": str(blocks_path)},
        "settings": {"epochs": 1, "log_mlflow": True},
        "parameters": {"embedding_size": [4, 8]},
        "trials": 2,
        "seeds": {"split": 7, "model": 1},
        "topk": [3],
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    assert main(["tune", "space.yaml", "--results", "results"]) == 0
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{Path('mlflow.db').resolve()}")
    found = client.search_runs([client.get_experiment_by_name("searched").experiment_id])
    names = {run.info.run_name.partition(" ")[0] for run in found}
    assert names == {"trial-0000", "trial-0001", "best"}


def test_run_recbole_logs_the_keys_and_each_training_to_a_run_of_its_own(prepare, wandb):
    configs = []
    for epochs in (1, 2):
        run = prepare("BPR", epochs=epochs, log_wandb=True)
        configs.append((wandb.run.id, dict(wandb.run.config)))
        run.trainer.fit(run.train, run.valid, verbose=False, show_progress=False)
    wandb.finish()
    tracking.tracking.end.clear()
    (first, keys), (second, others) = configs
    assert first != second
    # the keys, and not the internals of RecBole's Config
    assert (keys["epochs"], others["epochs"]) == (1, 2) and "final_config_dict" not in keys


def test_a_run_of_the_callers_stays_open(prepare, wandb):
    own = wandb.init(project="sweep")
    prepare("BPR", log_wandb=True)
    assert wandb.run is own and not tracking.tracking.end
    own.finish()


def test_a_failed_training_fails_in_the_tracker(mlflow, tmp_path):
    run = TrackedRun("a run", "a group", {"method": "BPR"}, tmp_path)
    with pytest.raises(RuntimeError), tracked_as(run):
        tracking.start_mlflow_run({"epochs": 1})
        tracking.log_numbers("train", {"train_loss": (1.0, 2.0), "train_step": 4})
        raise RuntimeError
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("a group").experiment_id])
    assert found.info.status == "FAILED" and found.data.metrics == {"train/train_loss": 3.0}
    assert mlflow.active_run() is None


def test_trackers_are_not_imported_unless_asked_for():
    code = "import sys, recbole.quick_start; print({'wandb', 'mlflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.strip() == "set()", done.stderr
