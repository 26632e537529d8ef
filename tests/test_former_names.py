"""Files with the names of earlier versions are still read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
import yaml
from bundles import small_bundle
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.nn import heads
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.serving.recommender import Recommender
from recbole_vae_plugin.testing.fixtures import users_of

FILE = {"datasets": ["ml-100k"], "baseline": "Pop", "seeds": {"split": 1, "model": 1}, "name": "same"}


def read(**keys) -> Experiment:
    Path("experiment.yaml").write_text(yaml.safe_dump({**FILE, **keys}))
    return Experiment.read("experiment.yaml")


def test_an_experiment_file_with_the_former_key_is_the_same_experiment(capsys):
    methods = {"Pop": None, "EASE": {"seeds": [1, 2]}}
    expected = read(methods=methods)
    assert capsys.readouterr().err == ""
    assert read(contestants=methods) == expected
    warning = "warning: experiment.yaml: the key contestants is now called methods\n"
    assert capsys.readouterr().err == warning


def test_both_keys_at_once_are_refused():
    with pytest.raises(ValueError, match="contestants: is the former name of methods; give only one of them"):
        read(contestants=["Pop"], methods=["Pop"])


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
def test_results_of_version_0_2_give_the_same_tables(form, capsys):
    write_results(Path("new"))
    with_former_names(write_results(Path("old")))
    shown = {}
    for folder in ("new", "old"):
        assert main(["table", folder, "--format", form]) == 0
        shown[folder] = capsys.readouterr()
    assert shown["old"] == shown["new"] and shown["old"].err == ""
    assert "contestant" not in shown["old"].out


def test_the_row_of_a_leaderboard_too_by_the_former_option(capsys):
    with_former_names(write_results(Path("old")))
    assert main(["table", "old", "--format", "leaderboard", "--contestant", "bad"]) == 0
    assert '"model": "bad"' in capsys.readouterr().out


def with_former_names(folder: Path) -> None:
    """Rename the keys of a results folder as version 0.2 wrote them."""
    for file in [folder / "experiment.yaml", *folder.rglob("result.json")]:
        text = file.read_text()
        former = text.replace("method_seeds:", "contestant_seeds:").replace("methods:", "contestants:")
        former = former.replace('"method":', '"contestant":')
        assert former != text
        file.write_text(former)


def test_the_fingerprint_of_a_run_is_that_of_version_0_2():
    settings = {"dataset": "toy", "model": "DAE", "epochs": 5, "mlp_hidden_size": [600], "data_path": "/data"}
    run = Run("toy", "small DAE", 7, 1, settings)
    # what version 0.2 hashed: the fields of its class Cell, without the place of the data
    content = {
        "dataset": "toy",
        "contestant": "small DAE",
        "split_seed": 7,
        "model_seed": 1,
        "settings": {"dataset": "toy", "model": "DAE", "epochs": 5, "mlp_hidden_size": [600]},
    }
    text = json.dumps(content, sort_keys=True, default=str)
    assert run.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:16] == "2c85ed2218218109"


def test_former_names_of_posteriors_warn_and_still_work(prepare):
    run = prepare("DAE")
    users = users_of(run)[:5]
    expected = run.model.encode_users(users).mu
    with pytest.warns(FutureWarning, match="get_codes has been renamed to encode_users"):
        assert torch.equal(run.model.get_codes(users).mu, expected)
    with pytest.warns(FutureWarning, match="Code has been renamed to Posterior"):
        assert heads.Code is heads.Posterior
    with pytest.raises(AttributeError, match="Codes"):
        heads.Codes  # noqa: B018
    recommender = Recommender(small_bundle())
    with pytest.warns(FutureWarning, match="codes has been renamed to encode"):
        assert torch.equal(recommender.codes(["i1"]).mu, recommender.encode(["i1"]).mu)
