"""A row for RecBole's public boards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main

FIELDS = [
    "year",
    "pub",
    "model",
    "model_link",
    "ref_code",
    "hyper_md",
    "recall10",
    "mrr10",
    "ndcg10",
    "hit10",
    "precision10",
    "parameters",
    "flops",
    "train_time",
    "eval_time",
    "train_gpu_memory",
    "eval_gpu_memory",
    "contributor",
    "contributor_email",
    "tester",
]


@pytest.fixture
def results() -> str:
    """A results folder with the figures of :func:`results_by_hand.write_results`."""
    return str(write_results(Path("results")))


def test_the_row_has_the_boards_fields_in_the_boards_form(results, capsys):
    given = ["--year", "2026", "--pub", "WWW", "--contributor", "A. Person"]
    assert main(["table", results, "--format", "leaderboard", *given]) == 0
    row = json.loads(Path(results, "leaderboard/row.json").read_text())
    assert list(row) == FIELDS
    assert (row["model"], row["ndcg10"], row["hit10"]) == ("good", "0.2800", "0.7800")
    assert (row["parameters"], row["flops"], row["train_time"]) == ("1,234,567", "7,654,321", "1.23")
    assert (row["train_gpu_memory"], row["eval_gpu_memory"]) == ("2.00", "-")
    assert (row["year"], row["contributor"], row["tester"]) == ("2026", "A. Person", "")


def test_the_page_says_how_to_get_the_row_again(results):
    Path("hyper.test").write_text("anneal_cap choice [0.1, 0.2]\n")
    main(["table", results, "--format", "leaderboard", "--search-space", "hyper.test"])
    row = json.loads(Path(results, "leaderboard/row.json").read_text())
    page = Path(results, "leaderboard", row["hyper_md"]).read_text()
    shown = ["anneal_cap: 0.1", "latent_dimension: 200", "epochs: 5", "`VAESplit`", "| 0.2790 |", "topk"]
    for part in (*shown, "anneal_cap choice"):
        assert part in page
    assert "/secret" not in page


def test_a_board_takes_the_row_at_its_rank(results, capsys):
    board = [{"model": "EASE", "ndcg10": "0.2865"}, {"model": "MultiVAE", "ndcg10": "0.2523"}]
    Path("board.json").write_text(json.dumps(board))
    assert main(["table", results, "--format", "leaderboard", "--board", "board.json"]) == 0
    merged = json.loads(Path(results, "leaderboard/board.json").read_text())
    assert [row["model"] for row in merged] == ["EASE", "good", "MultiVAE"]
    output = capsys.readouterr().out
    assert "rank 2 of 3" in output and "| **2** | **good** |" in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "goood"], ["--method", "good"]),
        (["--dataset", "toys"], ["--dataset", "toy"]),
        (["--board", "none.json"], ["--board", "none.json"]),
        (["--search-space", "none.test"], ["--search-space", "none.test", "existing file"]),
        (["--board", "odd.json"], ["--board", "ndcg10"]),
    ],
)
def test_bad_choices_get_one_message(results, options, words, capsys):
    Path("odd.json").write_text('[{"model": "x"}]')
    assert main(["table", results, "--format", "leaderboard", *options]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not Path(results, "leaderboard").exists()
