"""Tables in Markdown and LaTeX: what is shown is what was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.markup import LATEX, MARKDOWN, latex_table, markdown_table


def test_markdown_keeps_texts_and_numbers():
    rows = [[MARKDOWN.escaped("a|b"), "0.1250", 1e-05], [MARKDOWN.bold("c"), "failed: x", ""]]
    header, _, *lines = markdown_table(["model", "ndcg@10 ↑", "rate"], rows).splitlines()
    assert header == "| model | ndcg@10 ↑ | rate |"
    assert lines == [r"| a\|b | 0.1250 | 1e-05 |", "| **c** | failed: x |  |"]


def test_latex_shows_what_it_would_take_for_commands():
    names = {
        "a_b & c": r"a\_b \& c",
        "50%": r"50\%",
        "x<y ±": r"x$<$y $\pm$",
        "{\\}": r"\{\textbackslash{}\}",
    }
    rows = [[LATEX.escaped(name), LATEX.bold("0.1250")] for name in names]
    lines = latex_table(
        ["model", LATEX.escaped("ndcg@10 ↑")], rows, LATEX.escaped("100% of a_b")
    ).splitlines()
    assert r"\caption{100\% of a\_b}" in lines and r"\begin{tabular}{lr}" in lines
    assert r"model & ndcg@10 $\uparrow$ \\" in lines
    for escaped in names.values():
        assert rf"{escaped} & \textbf{{0.1250}} \\" in lines


@pytest.mark.parametrize(
    "form, row", [("markdown", "| bad | failed: no reason |"), ("latex", "bad & failed: no")]
)
def test_where_no_run_has_finished_the_table_says_why(form, row, capsys):
    for file in write_results(Path("results")).rglob("result.json"):
        result = json.loads(file.read_text())
        kept = (
            "dataset",
            "method",
            "model",
            "split_seed",
            "model_seed",
            "fingerprint",
            "seconds",
            "environment",
        )
        file.write_text(json.dumps({**{key: result[key] for key in kept}, "failed": "no reason"}))
    assert main(["table", "results", "--format", form]) == 0
    assert row in capsys.readouterr().out
