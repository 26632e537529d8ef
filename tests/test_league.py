"""The table over all data sets: ranks and losses that are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare import directions
from recbole_vae_plugin.compare.league import league
from recbole_vae_plugin.compare.output import markdown, write_all
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.tables import Comparison


@pytest.fixture
def results():
    """``bad`` has .14, .28 (as good has) and .56 on the three data sets, ``good`` .28 on each."""
    return write_results(Path("results"), ("one", "two", "three"))


def test_ranks_losses_and_costs(results):
    table = league(Comparison(Results.read(results)))
    assert set(table.index) == {"good", "bad"} and (table["mean rank"] == 4 / 3).all()
    assert table.loc["good", ["rank one", "rank two", "rank three"]].tolist() == [1, 1, 2]
    assert table.loc["bad", ["rank one", "rank two", "rank three"]].tolist() == [2, 1, 1]
    assert table.loc["good", "loss three"] == pytest.approx(0.5)
    assert table.loc["bad", "mean loss"] == pytest.approx(0.5 / 3)
    assert table.loc["bad", "largest loss"] == pytest.approx(0.5)
    assert (table["seconds"] == 3 * (9 - 1)).all(), "without preparing the data"
    assert (table["peak MiB"] == 512).all()


def test_a_method_without_results_on_a_data_set_comes_last(results):
    for file in results.rglob("result.json"):
        content = json.loads(file.read_text())
        if (content["dataset"], content["method"]) == ("three", "good"):
            del content["test"]
            file.write_text(json.dumps({**content, "failed": "out of memory"}))
    table = league(Comparison(Results.read(results)))
    assert list(table.index) == ["bad", "good"]
    assert table["data sets"].tolist() == [3, 2]
    assert table.loc["good", "mean rank"] == 1


def test_less_is_better_where_the_metric_says_so(results, monkeypatch):
    monkeypatch.setattr(directions, "LOWER_IS_BETTER", {"ndcg"})
    table = league(Comparison(Results.read(results)))
    assert table.loc["bad", ["rank one", "rank two", "rank three"]].tolist() == [1, 1, 2]
    assert table.loc["bad", "loss three"] == pytest.approx(1), "twice the best"


def test_it_is_part_of_the_tables(results, capsys):
    assert main(["table", str(results)]) == 0
    text = capsys.readouterr().out
    assert "## All data sets" in text
    assert "| good | **0.2800 (1)** | 0.2800 (2) | **0.2800 (1)** | 1.3 | 16.7% | 50.0% | 24 | 512 |" in text
    write_all(Comparison(Results.read(results)))
    assert (results / "league.csv").read_text().startswith("method,one,rank one,loss one,three,")


def test_one_data_set_needs_none(capsys):
    write_results(Path("results"))
    assert main(["table", "results"]) == 0
    assert "All data sets" not in capsys.readouterr().out


def test_runs_that_are_missing_are_counted_by_what_each_method_was_to_run(results):
    """`good` was to run with both seeds; `bad`, of which one seed was asked for, is complete."""
    file = results / "experiment.yaml"
    file.write_text(file.read_text().replace("method_seeds: {}", "method_seeds: {bad: [1]}"))
    shutil.rmtree(results / "runs/two/good/split-1-model-2")
    text = markdown(Comparison(Results.read(results)))
    assert text.count("good (1 of 2 runs)") == 1 and "bad (" not in text
