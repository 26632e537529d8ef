"""Published rows: shown alongside runs on the same protocol, and refused with another one."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from conftest import CONFIGS
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.compare.markup import MARKDOWN
from recbole_vae_plugin.compare.output import as_json
from recbole_vae_plugin.compare.published import (
    check_board,
    difference_of_protocols,
    read_published,
    rows_for,
)
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.tables import Comparison, table_cells

NDCG = ["ndcg@10"]
BOARD = "recbole-ml-1m"
EVALUATION = ("metrics", "topk", "valid_metric")


@pytest.fixture
def ml_1m() -> dict:
    """The shipped data set with the protocol of RecBole's board."""
    return yaml.safe_load((CONFIGS / "datasets/ml-1m-recbole.yaml").read_text())


@pytest.fixture
def results(ml_1m) -> Path:
    """Results written by hand, of a data set with that protocol."""
    folder = write_results(Path("results"))
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    experiment["datasets"]["toy"] = {key: ml_1m[key] for key in ml_1m if key not in ("seed", *EVALUATION)}
    update(folder, experiment)
    return folder


def update(folder: Path, experiment: dict) -> None:
    """Have the results be those of a changed experiment."""
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    for run in Experiment(**experiment).runs():
        file = folder / "runs" / run.folder / "result.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | run.labels))


def test_the_shipped_protocol_is_the_shipped_data_sets(ml_1m):
    (board,) = read_published("published", BOARD)
    assert difference_of_protocols(board["protocol"], ml_1m) is None
    rows = rows_for([board], ml_1m, NDCG)
    assert rows["EASE"] == {"ndcg@10": 0.2865} and len(rows) == 29
    assert check_board(ml_1m) == "the protocol is that of RecBole's board recbole-ml-1m"


@pytest.mark.parametrize("file", sorted((CONFIGS / "published").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_shipped_files_have_their_source_and_plausible_figures(file):
    (board,) = read_published("published", str(file))
    assert "RecBole" in board["source"] and {"EASE", "MultiVAE", "RecVAE", "BPR", "Pop"} <= set(board["rows"])
    for recall, mrr, ndcg, hit, precision in board["rows"].values():
        assert 0 < precision <= recall <= 1 or precision < hit
        assert 0 < ndcg <= 1 and 0 < mrr <= hit <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val_interval": {"rating": "[4,inf)"}}, "val_interval is {'rating': '[4,inf)'}, not"),
        ({"item_inter_num_interval": None}, "item_inter_num_interval is None, not [10,inf)"),
        ({"eval_args": {"split": {"RS": [0.7, 0.1, 0.2]}}}, "eval_args is {'split': {'RS': [0.7"),
        ({"eval_args": {"split": {"LS": "valid_and_test"}}}, "'LS': 'valid_and_test'"),
        ({"eval_args": {"mode": "uni100"}}, "'mode': 'uni100'"),
        ({"eval_args": {"order": "TO"}}, "'order': 'TO'"),
        ({"dataset": "ml-100k"}, "dataset is ml-100k, not ml-1m"),
        ({"threshold": {"rating": 3}}, "threshold is {'rating': 3}, not None"),
        ({"benchmark_filename": ["a", "b", "c"]}, "benchmark_filename is"),
    ],
)
def test_another_protocol_is_seen_and_said(ml_1m, changes, words):
    (board,) = read_published("published", BOARD)
    assert words in (difference_of_protocols(board["protocol"], {**ml_1m, **changes}) or "")
    assert rows_for([board], {**ml_1m, **changes}, NDCG) == {}


def test_what_is_only_written_otherwise_is_the_same(ml_1m):
    (board,) = read_published("published", BOARD)
    other = copy.deepcopy(ml_1m) | {"val_interval": {"rating": "[3, inf)"}, "repeatable": False}
    other["eval_args"] |= {"split": {"RS": [8, 1, 1]}, "mode": {"valid": "full", "test": "full"}}
    assert difference_of_protocols(board["protocol"], other) is None
    # RecBole's own defaults
    assert difference_of_protocols(board["protocol"], {**ml_1m, "eval_args": {}}) is None


def test_models_can_be_chosen(ml_1m):
    chosen = read_published("published", {BOARD: ["EASE", "recvae"]})
    assert set(rows_for(chosen, ml_1m, NDCG)) == {"EASE", "RecVAE"}
    with pytest.raises(ValueError, match=r"published.recbole-ml-1m: got 'EASY'.*did you mean EASE"):
        read_published("published", {BOARD: ["EASY"]})


class TestInTables:
    def test_rows_are_marked_and_neither_ranked_nor_tested(self, results):
        plain = Comparison(Results.read(results))
        before = table_cells(plain, "toy", MARKDOWN)[1]
        plain.results.experiment["published"] = read_published("published", {BOARD: ["EASE"]})
        shown = Comparison(plain.results)
        after = table_cells(shown, "toy", MARKDOWN)[1]
        assert after[:-1] == before
        # it would be the best
        assert after[-1] == ["EASE (published)", "0.2139", "0.4808", "0.2865", "0.7837", "0.2082"]
        assert not any("published" in verdict for verdict in shown.verdicts())
        assert "EASE" not in set(shown.summary["method"])
        published = json.loads(as_json(shown))["published"]
        assert published["toy"]["EASE (published)"]["ndcg@10"] == 0.2865

    def test_the_command_shows_them(self, results, capsys):
        assert main(["table", str(results), "--published", BOARD]) == 0
        text = capsys.readouterr().out
        assert "| RecVAE (published) |" in text and "not run, ranked or tested here" in text

    def test_another_protocol_is_refused_with_the_reason(self, capsys):
        folder = write_results(Path("other"))
        assert main(["table", str(folder), "--published", BOARD]) == 2
        message = capsys.readouterr().err
        assert BOARD in message and "on toy, dataset is toy, not ml-1m" in message

    def test_the_page_has_them(self, results):
        content = yaml.safe_load((results / "experiment.yaml").read_text())
        content["published"] = read_published("published", BOARD)
        (results / "experiment.yaml").write_text(yaml.safe_dump(content))
        assert main(["report", str(results)]) == 0
        assert "SLIMElastic (published)" in (results / "report.html").read_text()


class TestInExperiments:
    def write(self, blocks_path, ml_1m, **keys) -> str:
        dataset = {**ml_1m, "data_path": str(blocks_path), **keys}
        content = {
            "datasets": {"toy": dataset},
            "methods": ["Pop"],
            "baseline": "Pop",
            "seeds": {"model": 1},
            "published": {BOARD: "EASE"},
        }
        Path("published.yaml").write_text(yaml.safe_dump(content))
        return "published.yaml"

    def test_the_rows_are_kept_with_the_experiment(self, blocks_path, ml_1m):
        experiment = Experiment.read(self.write(blocks_path, ml_1m))
        assert experiment.published[0]["rows"] == {"EASE": [0.2139, 0.4808, 0.2865, 0.7837, 0.2082]}

    def test_what_could_not_be_shown_is_refused_before_any_run(self, blocks_path, ml_1m, capsys):
        file = self.write(blocks_path, ml_1m, dataset="blocks")
        assert main(["compare", file, "--results", "no"]) == 2
        assert "published: the results recbole-ml-1m have another protocol" in capsys.readouterr().err
        assert not Path("no").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"rows": {"EASE": [0.1, 0.2]}}, ["rows.EASE", "ndcg@10"]),
        ({"rows": {}}, ["rows", "a mapping from a model"]),
        ({"protocol": {"dataset": "toy", "epochs": 3}}, ["protocol", "epochs"]),
        ({"sources": "a paper"}, ["sources", "it has source"]),
    ],
)
def test_a_file_of_ones_own_is_checked(content, words):
    whole = {"source": "a paper", "protocol": {"dataset": "toy"}, "metrics": NDCG, "rows": {"EASE": [0.1]}}
    Path("own.yaml").write_text(yaml.safe_dump({**whole, **content}))
    with pytest.raises(ValueError) as caught:
        read_published("published", "own.yaml")
    assert all(word in str(caught.value) for word in ["own.yaml", *words])


class TestLeaderboard:
    def test_the_boards_protocol_is_said(self, results, capsys):
        assert main(["table", str(results), "--format", "leaderboard"]) == 0
        assert "the protocol is that of RecBole's board recbole-ml-1m" in capsys.readouterr().out

    def test_another_protocol_is_refused(self, results, capsys):
        content = yaml.safe_load((results / "experiment.yaml").read_text())
        content["datasets"]["toy"]["user_inter_num_interval"] = "[5,inf)"
        update(results, content)
        assert main(["table", str(results), "--format", "leaderboard"]) == 2
        message = capsys.readouterr().err
        assert "do not have the protocol of the board" in message and "user_inter_num_interval" in message
        assert not (results / "leaderboard").exists()

    def test_a_data_set_without_a_board_is_not_checked_and_that_is_said(self, capsys):
        folder = write_results(Path("private"))
        assert main(["table", str(folder), "--format", "leaderboard"]) == 0
        assert "the protocol is not checked" in capsys.readouterr().out
