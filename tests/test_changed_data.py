"""Results know the data that they were found on; other data under its name is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.cli import run_recbole
from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.integration.config.checks import config_of
from recbole_vae_plugin.integration.config.data_files import files_of, hash_of_data
from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.tune.space import Space
from recbole_vae_plugin.tune.study import open_study

#: Everything is checked, and no run is started.
CHECK = ["compare", "small.yaml", "--results", "results", "--dry-run"]


@pytest.fixture(scope="module")
def finished(blocks_path, tmp_path_factory) -> Path:
    """A folder with a copy of the planted data, an experiment and the result of one of its methods."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(blocks_path / "blocks", folder / "dataset/blocks")
    evaluation = {"metrics": ["NDCG"], "topk": [3], "valid_metric": "NDCG@3"}
    methods = {"Pop": None, "ItemKNN": {"k": 5}}
    content = {"datasets": ["blocks.yaml"], "methods": methods, "baseline": "Pop", "seeds": {"model": 1}}
    (folder / "small.yaml").write_text(yaml.safe_dump(content | evaluation))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_config()
        assert main(["compare", "small.yaml", "--results", "results", "--only", "Pop"]) == 0
    return folder


@pytest.fixture
def data(finished) -> Path:
    """The file of the data, in a copy of :func:`finished`."""
    shutil.copytree(finished, ".", dirs_exist_ok=True)
    return Path("dataset/blocks/blocks.inter")


def write_config(**more) -> None:
    Path("blocks.yaml").write_text(yaml.safe_dump({"dataset": "blocks", **more}))


def sha256(*files: Path) -> str:
    return "sha256:" + hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def change(file: Path) -> None:
    """One interaction is with another item of the same block."""
    lines = file.read_text().splitlines()
    lines[-1] = next(line for line in lines[1:] if line.startswith(lines[-1].split("\t")[0]))
    file.write_text("\n".join(lines) + "\n")


class TestCompare:
    def test_a_result_has_the_hash_of_the_files(self, data):
        result = json.loads(next(Path("results").glob("runs/*/*/*/result.json")).read_text())
        assert result["data_hash"] == sha256(data)

    def test_it_does_not_go_on_with_changed_data(self, data, capsys):
        before = data.read_text()
        change(data)
        assert main(CHECK) == 2
        error = capsys.readouterr().err
        assert "the data set blocks whose files have changed since" in error
        assert str(data.resolve()) in error
        data.write_text(before)
        assert main(CHECK) == 0
        assert "1 done, 1 to run" in capsys.readouterr().out

    def test_a_search_knows_its_data_before_any_run_does(self, data, capsys):
        content = yaml.safe_load(Path("small.yaml").read_text()) | {"tune": {"trials": 1}}
        Path("tuned.yaml").write_text(yaml.safe_dump(content))
        assert main(["compare", "tuned.yaml", "--results", "tuned"]) == 0
        shutil.rmtree("tuned/runs")
        change(data)
        assert main(["compare", "tuned.yaml", "--results", "tuned", "--dry-run"]) == 2
        assert "the data set blocks whose files have changed since" in capsys.readouterr().err

    def test_results_without_a_hash_are_accepted(self, data):
        file = next(Path("results").glob("runs/*/*/*/result.json"))
        content = json.loads(file.read_text())
        del content["data_hash"]
        file.write_text(json.dumps(content))
        change(data)
        assert main(CHECK) == 0

    def test_datasets_of_the_command_line_have_a_folder_of_their_own(self, data, capsys):
        Path("other").mkdir()
        shutil.copytree("dataset/blocks", "other/mine")
        Path("other/mine/blocks.inter").rename("other/mine/mine.inter")
        Path("other/mine.yaml").write_text(yaml.safe_dump({"dataset": "mine", "data_path": "other"}))
        assert main(["compare", "small.yaml", "--dry-run", "--datasets", "other/mine.yaml"]) == 0
        plan = capsys.readouterr().out
        assert "small-mine: 2 methods on mine" in plan and str(Path("results/small-mine").resolve()) in plan
        experiment = Experiment.read("small.yaml", ["other/mine.yaml"])
        assert experiment.datasets.keys() == {"mine"} and "on mine" in experiment.description


class TestStatedHash:
    def test_the_right_one_is_accepted_and_another_refused(self, data, capsys):
        write_config(data_hash=sha256(data))
        assert main(CHECK) == 0
        arguments = ["--model=Pop", "--config_files=blocks.yaml", "--epochs=1", "--state=ERROR"]
        assert run_recbole.main(arguments) == 0, capsys.readouterr().err
        change(data)
        for command, given in ((main, CHECK), (run_recbole.main, arguments)):
            assert command(given) == 2
            error = capsys.readouterr().err
            assert "data_hash: " in error and sha256(data) in error and data.name in error

    @pytest.mark.parametrize("value", [12, "abc"])
    def test_what_is_no_hash_is_refused(self, data, value, capsys):
        write_config(data_hash=value)
        assert main(CHECK) == 2
        assert f"data_hash: got {value!r}" in capsys.readouterr().err

    def test_a_method_cannot_state_one(self, data, capsys):
        content = yaml.safe_load(Path("small.yaml").read_text())
        content["methods"]["Pop"] = {"data_hash": sha256(data)}
        Path("small.yaml").write_text(yaml.safe_dump(content))
        assert main(CHECK) == 2
        assert "data_hash must be the same for all methods" in capsys.readouterr().err


def test_a_search_does_not_go_on_with_changed_data(data):
    content = {
        "model": "ItemKNN",
        "dataset": "blocks.yaml",
        "parameters": {"k": [3, 5]},
        "seeds": {"split": 7, "model": 7},
        "topk": [3],
        "valid_metric": "NDCG@3",
    }
    Path("space.yaml").write_text(yaml.safe_dump(content))
    Path("search").mkdir()
    space = Space.read("space.yaml")
    for _ in range(2):
        assert open_study(space, Path("search"), None).user_attrs["data_hash"] == sha256(data)
    change(data)
    with pytest.raises(Refused, match="the data set blocks whose files have changed since"):
        open_study(space, Path("search"), None)


def test_the_hash_is_of_all_files_that_are_read(data):
    item = data.with_suffix(".item")
    item.write_text("item_id:token\ttitle:token\n")
    config = {"data_path": "dataset", "load_col": {"inter": ["user_id", "item_id"]}}

    def read(**more):
        return config_of("Pop", "blocks", config_dict={**config, **more})

    assert hash_of_data(read()) == sha256(data)
    assert hash_of_data(read(load_col=None)) == sha256(data, item)
    features, graph, link = (data.with_suffix(f".{kind}") for kind in ("features", "kg", "link"))
    for file in (features, graph, link):
        file.write_text(file.suffix)
    assert hash_of_data(read(additional_feat_suffix=["features"])) == sha256(data, features)
    of_graph = config_of("CKE", "blocks", config_dict=config)
    assert hash_of_data(of_graph) == sha256(data, graph, link)
    parts = [data.with_name(f"blocks.{part}.inter") for part in ("train", "valid", "test")]
    for number, part in enumerate(parts):
        part.write_text(f"user_id:token\titem_id:token\nu{number}\ti1\n")
    of_parts = read(benchmark_filename=["train", "valid", "test"])
    assert [file.name for file in files_of(of_parts)] == [part.name for part in parts]
    assert hash_of_data(of_parts) == sha256(*parts)
    assert hash_of_data(config_of("Pop", "nowhere", config_dict={"data_path": "dataset"})) is None


def test_a_run_is_the_same_wherever_its_data_is_and_whatever_its_hash():
    settings = {"model": "Pop", "dataset": "d", "data_path": "a"}
    other = settings | {"data_path": "b", "data_hash": "sha256:0"}
    assert Run("d", "m", 1, 1, settings).fingerprint == Run("d", "m", 1, 1, other).fingerprint
