"""A model that has diverged is not ranked, saved as the best, tuned to or bundled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from recbole.trainer import Trainer

from recbole_vae_plugin.cli.recbole_vae import main as recbole_vae
from recbole_vae_plugin.nn.finite import Diverged, check_highest


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(bad):
    scores = torch.zeros(3, 5)
    scores[:, 0] = -torch.inf
    check_highest(scores)
    check_highest(torch.empty(0, 5))
    scores[1, 3] = bad
    with pytest.raises(Diverged, match="training has diverged"):
        check_highest(scores)


@pytest.mark.parametrize("model", ["VAESplit", "DAE", "BPR", "MultiVAE"])
@pytest.mark.parametrize("metrics", [["NDCG"], ["GAUC"], ["ItemCoverage"]])
def test_a_ranking_of_nan_is_refused_in_every_model(prepare, settings, model, metrics):
    valid = "GAUC" if "GAUC" in metrics else f"{metrics[0]}@3"
    more = {} if model in ("VAESplit", "DAE") else {"mlp_hidden_size": [8], "latent_dimension": 8}
    run = prepare(model, metrics=metrics, valid_metric=valid, **more)
    with torch.no_grad():
        for weight in run.model.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(Diverged):
        run.trainer.evaluate(run.valid, load_best_model=False)


def test_weights_that_diverge_end_the_training_and_the_best_checkpoint_stays(prepare):
    run = prepare("VAESplit", epochs=2)
    run.trainer.fit(run.train, run.valid, verbose=False)
    before = Path(run.trainer.saved_model_file).read_bytes()
    run.trainer.epochs, run.trainer.start_epoch = 4, 2
    spoil = run.model.end_phase

    def end_phase(part):
        with torch.no_grad():
            next(run.model.parameters())[0, 0] = torch.inf
        spoil(part)

    run.model.end_phase = end_phase
    with pytest.raises(Diverged, match="the weights network.*NaN or infinity.*smaller learning_rate"):
        run.trainer.fit(run.train, run.valid, verbose=False)
    assert Path(run.trainer.saved_model_file).read_bytes() == before


def test_a_bundle_of_a_diverged_model_is_refused(prepare, capsys):
    run = prepare("DAE")
    run.trainer.fit(run.train, run.valid, verbose=False)
    checkpoint = torch.load(run.trainer.saved_model_file, weights_only=False)
    checkpoint["state_dict"]["network.output.bias"][3] = torch.nan
    torch.save(checkpoint, "bad.pth", pickle_protocol=4)
    assert recbole_vae(["bundle", "bad.pth", "bad.vae"]) == 2
    assert "output.bias contain NaN" in capsys.readouterr().err
    assert not Path("bad.vae").exists()


def test_a_search_passes_over_configurations_that_diverge(blocks_path, capsys):
    """A learning rate of 1e18 is finite and of no use."""
    space = {
        "model": "VAESplit",
        "dataset": {"dataset": "blocks", "data_path": str(blocks_path)},
        "settings": {
            "epochs": 2,
            "mlp_hidden_size": [8],
            "latent_dimension": 4,
            "enable_amp": False,
            "loss_type": "MSE",
        },
        "parameters": {"learning_rate": [1e18, 0.01]},
        "trials": 2,
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    assert recbole_vae(["tune", "space.yaml", "--results", "found"]) == 0, capsys.readouterr().err
    assert yaml.safe_load(Path("found/best.yaml").read_text())["learning_rate"] == 0.01
    (result,) = Path("found/best").rglob("result.json")
    assert 0 <= json.loads(result.read_text())["valid_score"] <= 1
    trials = Path("found/trials.csv").read_text()
    assert "FAIL" in trials and ("diverged" in trials or "nan" in trials)


def test_a_search_without_a_score_says_so(blocks_path, capsys):
    space = {
        "model": "VAESplit",
        "dataset": {"dataset": "blocks", "data_path": str(blocks_path)},
        "settings": {
            "epochs": 1,
            "mlp_hidden_size": [8],
            "latent_dimension": 4,
            "enable_amp": False,
            "loss_type": "MSE",
        },
        "parameters": {"learning_rate": [1e19, 1e20]},
        "trials": 2,
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    assert recbole_vae(["tune", "space.yaml", "--results", "found"]) == 2
    assert "no trial has finished" in capsys.readouterr().err
    assert not Path("found/best.yaml").exists()


@pytest.mark.parametrize("name", ["weight", "B"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_linear_branch_that_is_no_number_is_neither_resumed_nor_bundled(prepare, capsys, name, bad):
    run = prepare("DAE", linear_branch="ease")
    run.trainer.fit(run.train, run.valid, verbose=False)
    checkpoint = torch.load(run.trainer.saved_model_file, weights_only=False)
    checkpoint["state_dict"][f"network.linear.{name}"].view(-1)[0] = bad
    torch.save(checkpoint, "bad.pth", pickle_protocol=4)
    with pytest.raises(Diverged, match=f"network.linear.{name} contain NaN or infinity"):
        prepare("DAE", linear_branch="ease").trainer.resume_checkpoint("bad.pth")
    assert recbole_vae(["bundle", "bad.pth", "bad.vae"]) == 2
    assert f"linear.{name} contain NaN" in capsys.readouterr().err
    assert not Path("bad.vae").exists()


@pytest.mark.parametrize("linear_weight", [None, 0.5])
def test_a_weight_is_not_chosen_by_scores_that_are_no_numbers(prepare, monkeypatch, linear_weight):
    run = prepare("DAE", linear_branch="ease", linear_weight=linear_weight)
    monkeypatch.setattr(Trainer, "_valid_epoch", lambda *_args, **_kwargs: (float("nan"), {}))
    with pytest.raises(Diverged, match="the validation score of linear_weight 0 is nan"):
        run.trainer.fit(run.train, run.valid, verbose=False)


@pytest.mark.parametrize("value", [1e9, 1e37, "9e36"])
def test_a_linear_weight_leaves_room_for_scores(prepare, value):
    """Beyond, minus infinity for single items would stand for items that are left out."""
    with pytest.raises(
        ValueError, match="linear_weight: got .*; allowed: a number of at least 0 and below 1e"
    ):
        prepare("DAE", linear_branch="ease", linear_weight=value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("model", ["DAE", "BPR"])
def test_a_validation_that_is_no_number_ends_the_training(prepare, monkeypatch, model, bad):
    run = prepare(model)
    monkeypatch.setattr(run.trainer.evaluator, "evaluate", lambda _collected: {"ndcg@3": bad})
    with pytest.raises(Diverged, match=f"the validation score of {model} is {bad}"):
        run.trainer.fit(run.train, run.valid, verbose=False)
    assert not list(Path("saved").glob("*.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "inf", "1e39"])
@pytest.mark.parametrize("key", ["linear_weight", "linear_reg_weight", "linear_user_power"])
def test_keys_of_the_linear_branch_are_numbers(prepare, key, value):
    with pytest.raises(ValueError, match=f"{key}: got .*; allowed: a number"):
        prepare("DAE", linear_branch="ease", **{key: value})
