"""Each key takes values of its kind, however they are written; RecBole's keys as well as ours."""

from __future__ import annotations

import pytest
import yaml
from recbole.config import Config

from recbole_vae_plugin.integration.config.keys import builtin_models
from recbole_vae_plugin.integration.config.types import convert, default_files, types_of_keys
from recbole_vae_plugin.settings.model_registry import MODELS


def value_of(key: str, value, model: str = "VAESplit", **more):
    return Config(model=model, dataset="ml-100k", config_dict={key: value, **more})[key]


@pytest.mark.parametrize("word", ["no", "No", "OFF", "false", "False", "0", 0, False])
def test_words_for_no(word):
    for key in ("repeatable", "show_progress", "save_dataset", "enable_amp", "shuffle"):
        assert value_of(key, word) is False


@pytest.mark.parametrize("word", ["yes", "Yes", "ON", "true", "1", 1, True])
def test_words_for_yes(word):
    for key in ("reproducibility", "enable_amp", "use_gpu"):
        assert value_of(key, word) is True


@pytest.mark.parametrize("word", ["maybe", "", "2", 2, 0.5, [True], "nope"])
def test_other_words_are_refused(word):
    if word == "":
        assert value_of("repeatable", word) is None
        return
    with pytest.raises(ValueError, match=r"repeatable: got .*; allowed: true or false"):
        value_of("repeatable", word)


def test_words_reach_the_keys_of_recboles_models():
    assert value_of("use_pretrain", "no", model="NeuMF") is False
    assert value_of("center_columns", "off", model="ADMMSLIM") is False


def test_the_command_line_too(monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["run", "--repeatable=no", "--checkpoint_dir=20241012", "--weight_decay='1e-4'"]
    )
    config = Config(model="VAESplit", dataset="ml-100k")
    assert (config["repeatable"], config["checkpoint_dir"], config["weight_decay"]) == (
        False,
        "20241012",
        1e-4,
    )


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("eval_step", 1.5, "a whole number"),
        ("epochs", "ten", "a whole number"),
        ("seed", True, "a whole number"),
        ("clip_grad_norm", 5, "keys with values"),
        ("eval_args", "full", "keys with values"),
        ("benchmark_filename", "train", "a list"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", float("nan"), "float32"),
        ("anneal_cap", 1e-310, "float32"),
        ("anneal_cap", 1e308, "float32"),
        ("linear_reg_weight", 1e308, "float32"),
        ("latent_dimension", 10**40, "float32"),
        ("weight_decay", float("inf"), "float32"),
    ],
)
def test_other_kinds_are_refused_by_key(key, value, allowed):
    with pytest.raises(ValueError, match=rf"{key}: got .*; allowed: .*{allowed}"):
        value_of(key, value)


@pytest.mark.parametrize("value, expected", [("5", 5), (5.0, 5), (" 7 ", 7), ("1e2", 100)])
def test_whole_numbers_however_written(value, expected):
    found = value_of("epochs", value)
    assert found == expected and type(found) is int


@pytest.mark.parametrize("model", [*MODELS, *builtin_models()])
def test_every_default_is_of_its_own_kind(model):
    """And stays as it is."""
    types = types_of_keys(model)
    assert {"repeatable", "epochs", "learning_rate", "eval_args"} <= types.keys()
    for file in default_files(model):
        defaults = yaml.safe_load(file.read_text()) if file.is_file() else None
        for key, value in (defaults or {}).items():
            if key in types:
                assert convert(key, value, types[key]) == value
