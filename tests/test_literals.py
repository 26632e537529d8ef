"""No text from a file or the command line is run as code, by any command."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from recbole.config import Config

from recbole_vae_plugin.cli import recbole_vae, run_recbole
from recbole_vae_plugin.integration.config.literals import read_literal

CODE = "__import__('pathlib').Path('was_run').touch() or 'tanh'"


@pytest.fixture(autouse=True)
def nothing_was_run():
    yield
    assert not list(Path().rglob("was_run"))


@pytest.mark.parametrize(
    "text, value",
    [("1e-3", 0.001), ("[1, 'a']", [1, "a"]), ("None", None), ("-2", -2), ("{'a': (1,)}", {"a": (1,)})],
)
def test_literals_are_read(text, value):
    assert read_literal(text) == value


@pytest.mark.parametrize("text", ["1/0", "os.x", "2**9", CODE, "(" * 5000, "1" * 5000, "a b", "tanh", "\0"])
def test_anything_else_is_a_text(text):
    config = Config(model="VAESplit", dataset="ml-100k", config_dict={"activation": text})
    assert config["activation"] == text


def test_what_is_no_text_stays_as_it_is():
    config = Config(model="VAESplit", dataset="ml-100k", config_dict={"mlp_hidden_size": [3], "topk": 5})
    assert (config["mlp_hidden_size"], config["topk"]) == ([3], [5])


def test_the_command_line_runs_nothing(capsys):
    assert run_recbole.main(["--model=VAESplit", "--dataset=ml-100k", f"--activation={CODE}"]) == 2
    assert "activation: got " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "tune"])
def test_a_colleagues_file_runs_nothing(command, blocks_path, capsys):
    data = {"dataset": "blocks", "data_path": str(blocks_path)}
    content = {
        "compare": {
            "datasets": {"blocks": data},
            "methods": {"Pop": None, "VAESplit": {"activation": CODE, "noise_std": "1/0"}},
            "baseline": "Pop",
            "seeds": {"split": 1, "model": 1},
        },
        "tune": {"model": "VAESplit", "dataset": data, "parameters": {"activation": [CODE, "1/0"]}},
    }[command]
    Path("theirs.yaml").write_text(yaml.safe_dump(content))
    options = ["--dry-run"] if command == "compare" else []
    assert recbole_vae.main([command, "theirs.yaml", *options]) == 2
    assert "'1/0'" in capsys.readouterr().err or command == "tune"


def test_a_teacher_is_the_name_of_a_class():
    from recbole.model.context_aware_recommender import kd_dagfm

    assert kd_dagfm.eval("CrossNet") is kd_dagfm.CrossNet
    with pytest.raises(NameError, match="teacher: got"):
        kd_dagfm.eval(CODE)


def test_choices_of_a_hyper_test_file_are_literals():
    from recbole.trainer import hyper_tuning

    Path("hyper.test").write_text(f"activation choice [{CODE}]\n")
    with pytest.raises(NameError):
        hyper_tuning.HyperTuning(lambda *args: None, algo="random", params_file="hyper.test")
