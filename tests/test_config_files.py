"""Config files by name: shipped ones from anywhere, paths as ever, and no guess where both fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.cli import recbole_vae, run_recbole
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.settings.config_files import (
    KINDS,
    find_config,
    shipped_files,
    shipped_folder,
    summary,
)
from recbole_vae_plugin.tune.space import Space


@pytest.mark.parametrize(
    "name",
    [
        "vae-split",
        "vae-split.yaml",
        "models/vae-split",
        "configs/models/vae-split.yaml",
        "../models/vae-split.yaml",
    ],
)
def test_a_shipped_file_is_found_by_name(name):
    assert find_config(name) == shipped_folder() / "models/vae-split.yaml"


def test_a_file_of_the_user_is_taken_where_its_path_is_given():
    Path("vae-split.yaml").write_text("model: DAE\n")
    assert find_config("vae-split.yaml") == Path("vae-split.yaml")
    assert find_config("./vae-split.yaml") == Path("vae-split.yaml")
    assert find_config("models/vae-split") == shipped_folder() / "models/vae-split.yaml"


def test_a_clash_of_a_users_file_and_a_shipped_one_lists_both():
    Path("vae-split.yaml").write_text("model: DAE\n")
    with pytest.raises(ValueError, match="config_files: got 'vae-split'") as refused:
        find_config("vae-split")
    assert str(shipped_folder() / "models/vae-split.yaml") in str(refused.value)
    assert str(refused.value).endswith("and vae-split.yaml")


def test_a_clash_of_two_kinds_lists_both():
    with pytest.raises(ValueError) as refused:
        find_config("vae-split", kinds=tuple(KINDS))
    for kind in ("models", "search"):
        assert str(shipped_folder() / kind / "vae-split.yaml") in str(refused.value)


@pytest.mark.parametrize(
    "name", ["/nowhere/models/vae-split.yaml", "my/models/vae-split", "vae-splt", "search/none"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="recbole-vae configs"):
        find_config(name)


def test_the_nearest_name_is_told():
    with pytest.raises(ValueError, match=r"did you mean vae-split\?"):
        find_config("vae-splt")


def test_names_of_the_kinds_that_a_config_may_name_do_not_clash():
    for kinds in (("datasets", "models", "tuned"), ("experiments",), ("search",)):
        names = [file.stem for file in shipped_files(kinds)]
        assert len(set(names)) == len(names)
        assert all(find_config(name, kinds=kinds).stem == name for name in names)


def test_run_recbole_takes_names(settings, capsys):
    settings.pop("data_path")
    Path("small.yaml").write_text(
        yaml.safe_dump({**settings, "epochs": 1, "topk": [10], "valid_metric": "MRR@10"})
    )
    assert run_recbole.main(["--config_files=ml-100k vae-split small.yaml"]) == 0, capsys.readouterr().err
    assert [file.name.startswith("VAESplit-") for file in Path("saved").iterdir()] == [True]


@pytest.mark.parametrize("name", [file.stem for file in shipped_files(["experiments"])])
def test_experiments_are_read_by_name_from_anywhere(name):
    experiment = Experiment.read(name)
    assert experiment.name == name and experiment.datasets and experiment.methods


@pytest.mark.parametrize("name", [file.stem for file in shipped_files(["search"])])
def test_spaces_are_read_by_name_and_as_a_copy_elsewhere(name):
    space = Space.read(name)
    Path("sub").mkdir()
    assert recbole_vae.main(["configs", f"search/{name}", "--copy", f"sub/{name}.yaml"]) == 0
    assert Space.read(f"sub/{name}.yaml") == space


class TestCommand:
    def test_every_file_is_listed_with_a_line(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        assert recbole_vae.main(["configs"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        for file in shipped_files():
            assert any(line.split()[:1] == [file.stem] and len(line.split()) > 1 for line in lines)

    def test_summaries_are_whole_sentences(self):
        said = {file.stem: summary(file) for file in shipped_files(["models", "datasets"])}
        assert said["vae-split"] == "VAE with squared error, split head"
        assert said["ml-20m-held-out"].startswith("MovieLens-20M as in Liang et al. (WWW 2018)")
        assert all(said.values())

    def test_one_is_shown(self, capsys):
        assert recbole_vae.main(["configs", "multi-dae"]) == 0
        assert capsys.readouterr().out == (shipped_folder() / "models/multi-dae.yaml").read_text()

    def test_one_is_copied_and_nothing_overwritten(self, capsys):
        assert recbole_vae.main(["configs", "multi-dae", "--copy"]) == 0
        copy = Path("multi-dae.yaml")
        assert copy.read_text() == (shipped_folder() / "models/multi-dae.yaml").read_text()
        copy.write_text("mine")
        assert recbole_vae.main(["configs", "multi-dae", "--copy"]) == 2
        assert "multi-dae.yaml already exists" in capsys.readouterr().err
        assert copy.read_text() == "mine"

    @pytest.mark.parametrize("typed", [["vae-split"], ["none"], ["--copy", "x.yaml"]])
    def test_mistakes_are_refused(self, typed, capsys):
        assert recbole_vae.main(["configs", *typed]) == 2
        assert "recbole-vae: error: " in capsys.readouterr().err
        assert not Path("x.yaml").exists()
