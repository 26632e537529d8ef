"""The command: what it runs, and what it says to what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.cli.run_recbole import main
from recbole_vae_plugin.settings.model_registry import MODELS


@pytest.fixture
def command(settings, capsys):
    """Call the command on the small data set and return its exit code and error text."""
    Path("settings.yaml").write_text(yaml.safe_dump(settings))

    def command(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        return code, capsys.readouterr().err

    return command


USUAL = ("--model=VAESplit", "--dataset=blocks", "--config_files=settings.yaml")

#: What is typed -> what the one message must say. Each with the usual model, data set and file.
WRONG = {
    "unknown model": (["--model=VAESplt"], ["model", "'VAESplt'", "VAESplit"]),
    "model in another case": (["--model=multivae"], ["'multivae'", "MultiVAE"]),
    "unknown key": (["--latent_dim=32"], ["latent_dim", "VAESplit has no such key", "latent_dimension"]),
    "key of another model": (["--model=DAE", "--anneal_cap=0.1"], ["anneal_cap", "DAE has no such key"]),
    "unknown denoising": (["--denoising=drop"], ["denoising", "'drop'", "dropout, gaussian, none"]),
    "unknown likelihood": (["--loss_type=BPR"], ["loss_type", "'BPR'", "MSE, BCE, CE"]),
    "unknown activation": (["--activation=tan"], ["activation", "'tan'", "tanh"]),
    "unknown reduction": (["--kl_reduction=max"], ["kl_reduction", "'max'", "mean, sum"]),
    "layers that are no list": (["--mlp_hidden_size=600"], ["mlp_hidden_size", "600", "a list"]),
    "layer of no width": (["--mlp_hidden_size=[600,0]"], ["mlp_hidden_size", "[600, 0]", "at least 1"]),
    "no latent dimension": (["--latent_dimension=0"], ["latent_dimension", "0", "at least 1"]),
    "decoder that does not fit": (
        ["--decoder_hidden_size=[32,41]"],
        ["decoder_hidden_size", "[32, 41]", "over 41 items"],
    ),
    "decoder that is no list": (["--decoder_hidden_size=wide"], ["decoder_hidden_size", "'wide'", "a list"]),
    "probability of one": (["--dropout_prob=1"], ["dropout_prob", "1", "below 1"]),
    "negative noise": (["--noise_std=-1"], ["noise_std", "-1", "at least 0"]),
    "negative cap": (["--anneal_cap=-0.2"], ["anneal_cap", "-0.2", "at least 0"]),
    "half a step": (["--total_anneal_steps=0.5"], ["total_anneal_steps", "0.5", "whole number"]),
    "unknown learner": (["--learner=adm"], ["learner", "'adm'", "adam"]),
    "epochs in words": (["--epochs=ten"], ["epochs", "'ten'", "whole number"]),
    "no batch": (["--train_batch_size=0"], ["train_batch_size", "0", "at least 1"]),
    "no learning rate": (["--learning_rate=0"], ["learning_rate", "0", "above 0"]),
    "unknown metric": (["--metrics=['NDGC']"], ["metrics", "'NDGC'", "ndcg"]),
    "metric that is not computed": (["--valid_metric=NDCG@20"], ["valid_metric", "'NDCG@20'", "NDCG@3"]),
    "sampling without a softmax": (
        ["--sampled_items=100", "--loss_type=BCE"],
        ["sampled_items", "100", "need loss_type CE"],
    ),
    "metric without its k": (["--valid_metric=NDCG"], ["valid_metric", "'NDCG'", "NDCG@3"]),
    "no metrics": (["--metrics=[]"], ["metrics", "[]", "a list"]),
    "no processes": (["--nproc=0"], ["nproc", "0", "at least 1"]),
    "unknown evaluation mode": (["--eval_args={'mode':'half'}"], ["eval_args.mode", "'half'", "full"]),
    "unknown data set": (["--dataset=ml-100"], ["dataset", "'ml-100'", "ml-100k"]),
    "value with an equals sign": (["--metrics=['a=b']"], ["metrics", "'='", "config file"]),
    "key twice": (["--epochs=1", "--epochs=2"], ["epochs", "twice"]),
    "no key at all": (["epochs=1"], ["epochs=1", "--key=value"]),
    "key without value": (["--epochs"], ["--epochs", "no value"]),
    "missing config file": (
        ["--config_files=setings.yaml"],
        ["config_files", "'setings.yaml'", "settings.yaml"],
    ),
}


@pytest.mark.parametrize("typed, said", WRONG.values(), ids=WRONG.keys())
def test_wrong_input_gets_one_clear_message(command, typed, said):
    usual = [flag for flag in USUAL if flag.split("=")[0] not in {item.split("=")[0] for item in typed}]
    code, error = command(*usual, *typed)
    assert code == 2 or (code == 1 and "41 items" in error), "only the catalogue's size needs the data"
    message = [line for line in error.splitlines() if line.startswith("run_recbole: error:")]
    assert len(message) == 1
    for part in said:
        assert part in message[0]
    assert "Traceback" not in error


def test_at_least_twenty_wrong_inputs_are_tried():
    assert len(WRONG) >= 20


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "has no file bad.inter"),
        ("", "must name each column with its type"),
        ("user_id,item_id\n1,2\n", "must name each column with its type"),
        ("user:token\titem_id:token\n1\t2\n", "USER_ID_FIELD: got 'user_id'"),
        ("user_id:word\titem_id:token\n1\t2\n", "Type word from field user_id"),
        ("user_id:token\titem_id:token\n", "bad.inter has no interactions"),
        ("user_id:token\titem_id:token\trating:float\n1\t2\tgood\n", "column rating:float to type float64"),
    ],
)
def test_malformed_data_gets_one_clear_message(command, content, said):
    Path("data/bad").mkdir(parents=True)
    if content is not None:
        Path("data/bad/bad.inter").write_text(content)
    columns = "{'inter':['user_id','item_id','rating']}"
    code, error = command("--model=VAESplit", "--dataset=bad", "--data_path=data", f"--load_col={columns}")
    assert code != 0
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize("content", ["just words", "[1, 2]", "key: [1,", "a: b: c"])
def test_a_config_file_that_is_none(command, content):
    Path("bad.yaml").write_text(content)
    code, error = command("--model=VAESplit", "--dataset=blocks", "--config_files=bad.yaml")
    assert code == 2 and "bad.yaml" in error


def test_a_download_without_network_says_which_file_to_put_where(command, monkeypatch):
    def no_network(url):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    code, error = command("--model=VAESplit", "--dataset=ml-1m", "--data_path=downloads")
    assert code == 1
    assert "no route to host" in error and "downloads/ml-1m/ml-1m.inter" in error
    assert not Path("downloads/ml-1m").exists()


def test_a_download_is_used(command, monkeypatch, blocks_path):
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ml-1m.inter", (blocks_path / "blocks/blocks.inter").read_text())

    class Answer(io.BytesIO):
        def info(self):
            return {"Content-Length": str(len(self.getvalue()))}

    monkeypatch.setattr("urllib.request.urlopen", lambda url: Answer(archive.getvalue()))
    code, _ = command(
        "--model=DAE", "--dataset=ml-1m", "--config_files=settings.yaml", "--data_path=downloads"
    )
    assert code == 0
    assert Path("downloads/ml-1m/ml-1m.inter").is_file()


def test_an_unknown_key_in_a_shared_file_is_only_a_warning(command):
    Path("shared.yaml").write_text("latent_dim: 32\nepochs: 1\n")
    code, error = command(*USUAL[:2], "--config_files=settings.yaml shared.yaml")
    assert code == 0
    assert "shared.yaml: VAESplit has no key latent_dim (did you mean latent_dimension?)" in error


@pytest.mark.parametrize("model", [*MODELS, "BPR", "EASE"])
def test_runs_ours_and_built_in_models(command, settings, model):
    del settings["mlp_hidden_size"], settings["latent_dimension"]
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    code, error = command(
        f"--model={model}", "--dataset", "blocks", "--config_files=settings.yaml", "--epochs", "1"
    )
    assert code == 0, error
    assert len(list(Path("saved").glob(f"{model}-*.pth"))) == 1


def test_model_and_dataset_may_stand_in_the_file(command, settings):
    Path("whole.yaml").write_text(yaml.safe_dump({**settings, "model": "DAE", "dataset": "blocks"}))
    code, error = command("--config_files=whole.yaml")
    assert code == 0, error


def test_values_that_are_no_yaml_are_taken_as_recbole_takes_them(command):
    code, error = command(
        *USUAL, "--epochs=1", "--user_inter_num_interval=[5,inf)", "--item_inter_num_interval=[0,inf)"
    )
    assert code == 0, error


def test_traceback_on_request(command):
    with pytest.raises(ValueError, match="denoising"):
        command(*USUAL, "--denoising=drop", "--traceback")


def test_help_shows_examples_models_and_their_keys(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in (
        "run_recbole --model=VAESplit --dataset=ml-100k",
        *MODELS,
        "LightGCN",
        "kl_reduction [mean]",
    ):
        assert part in text


def test_the_installed_script_prints_the_result_table(settings):
    Path("settings.yaml").write_text(yaml.safe_dump({**settings, "state": "INFO", "show_progress": True}))
    script = Path(sys.executable).with_name("run_recbole")
    done = subprocess.run(
        [script, *USUAL], capture_output=True, text=True, env={**os.environ, "COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for part in ("Train", "Evaluate", "test result", "ndcg@3"):
        assert part in done.stderr
