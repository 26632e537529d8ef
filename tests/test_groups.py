"""For whom a method is better: groups of users and of items with a planted answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare import groups
from recbole_vae_plugin.compare.markup import MARKDOWN
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.statistics import differences_of_runs
from recbole_vae_plugin.integration.training.groups import (
    history_lengths,
    popularity_quartiles,
    recall_by_popularity,
)

N_USERS = 400


@pytest.fixture(scope="module")
def users() -> pd.DataFrame:
    """``keen`` is better for the quarter of users with the longest histories, and at popular items."""
    random = np.random.default_rng(0)
    history = np.repeat([5, 10, 20, 40], N_USERS // 4)
    level = random.normal(0.5, 0.05, N_USERS)
    tables = []
    for method in ("base", "keen", "same"):
        for seed in (1, 2, 3):
            noise = random.normal(0, 0.02, N_USERS)
            table = pd.DataFrame({"user": [f"u{user}" for user in range(N_USERS)], "history": history})
            table["ndcg@10"] = level + noise + 0.1 * ((history == 40) & (method == "keen"))
            for quartile in (1, 2, 3, 4):
                better = {1: -0.1, 4: 0.1}.get(quartile, 0) * (method == "keen")
                table[f"recall_q{quartile}@10"] = level + random.normal(0, 0.02, N_USERS) + better
            # half of the users have no unpopular item to find
            table.loc[: N_USERS // 2 - 1, "recall_q1@10"] = np.nan
            labels = {"dataset": "toy", "method": method, "split_seed": 7, "model_seed": seed}
            tables.append(pd.DataFrame({**labels, **table}))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def table(users) -> pd.DataFrame:
    return groups.group_table(users, "base", "ndcg@10")


def word(table: pd.DataFrame, kind: str, method: str) -> list[str]:
    """The first word of each group's verdict."""
    rows = table[(table["groups"] == kind) & (table["method"] == method)]
    return [verdict.split()[0] for verdict in rows["verdict"]]


def test_the_users_for_whom_it_is_better_are_found_and_no_others(table):
    assert word(table, groups.USERS, "keen") == ["no", "no", "no", "better"]
    assert word(table, groups.ITEMS, "keen") == ["worse", "no", "no", "better"]
    assert word(table, groups.USERS, "same") + word(table, groups.ITEMS, "same") == ["no"] * 8


def test_groups_say_what_they_are(table):
    of_keen = table[table["method"] == "keen"]
    assert of_keen["group"].tolist() == [
        "1 (history 5)",
        "2 (history 10)",
        "3 (history 20)",
        "4 (history 40)",
        "1 (least popular)",
        "2",
        "3",
        "4 (most popular)",
    ]
    assert of_keen["users"].tolist() == [100] * 4 + [200, 400, 400, 400]
    assert set(of_keen["metric"]) == {"ndcg@10", "recall@10"}
    assert of_keen["difference"].iloc[3] == pytest.approx(0.1, abs=0.01)


def test_p_values_are_corrected_over_methods_and_groups_together(table):
    tested = table[(table["groups"] == groups.USERS) & (table["method"] != "base")]
    plain = tested[["t_p", "run_p"]].max(axis=1)
    assert tested["p_adjusted"].min() == pytest.approx(8 * plain.min())


def test_the_table_is_short(table):
    header, rows = groups.group_cells(table, "toy", MARKDOWN, "*")
    assert len(header) == 9 and [row[0] for row in rows] == ["base", "keen", "same"]
    assert [cell.endswith("*") for cell in rows[1][1:]] == [False] * 3 + [True] * 2 + [False] * 2 + [True]
    legend = groups.group_legend(table, "toy", "base", "*")
    assert "ndcg@10 of users" in legend and "recall@10 of the relevant items" in legend


def test_results_of_earlier_versions_have_no_groups(users):
    old = users[["dataset", "method", "split_seed", "model_seed", "user", "ndcg@10"]]
    assert groups.group_table(old, "base", "ndcg@10").empty
    assert groups.group_table(pd.DataFrame(columns=["dataset", "method"]), "base", "ndcg@10").empty


class TestRunsAlone:
    """Metrics that are no means over users."""

    def runs(self, values: dict[str, list[float]], splits=(1, 1, 1, 1)) -> pd.DataFrame:
        rows = [
            {
                "dataset": "d",
                "method": method,
                "split_seed": split,
                "model_seed": seed,
                "test_giniindex@10": value,
            }
            for method, of_method in values.items()
            for seed, (split, value) in enumerate(zip(splits, of_method))
        ]
        return pd.DataFrame(rows)

    def found(self, runs: pd.DataFrame):
        return differences_of_runs(runs, "base", ["giniindex@10"])

    def test_they_are_tested_over_runs_in_their_direction(self):
        base = [0.50, 0.51, 0.52, 0.50]
        (found,) = self.found(self.runs({"base": base, "even": [0.40, 0.42, 0.41, 0.40]}))
        assert found.verdict.startswith("better by 0.10") and found.wins == found.runs == 4
        assert "over users" not in found.verdict
        assert found.p_adjusted == found.run_p < 0.05

    def test_a_difference_within_the_spread_is_none(self):
        base = [0.50, 0.55, 0.45, 0.52]
        (found,) = self.found(self.runs({"base": base, "same": [0.55, 0.45, 0.52, 0.50]}))
        assert found.verdict.startswith("no difference shown")

    @pytest.mark.parametrize("splits", [(1, 1, 1, 1), (1, 1, 2, 2)])
    def test_model_seeds_are_no_evidence_about_what_does_not_depend_on_them(self, splits):
        base = [0.5 + 0.01 * split for split in splits]
        found = self.found(
            self.runs({"base": base, "fixed": [0.3 + 0.011 * split for split in splits]}, splits)
        )
        assert [each.runs for each in found] == ([] if len(set(splits)) == 1 else [2])

    def test_one_pair_is_not_tested(self):
        assert self.found(self.runs({"base": [0.5], "other": [0.4]})) == []


class TestRecording:
    """The columns that runs record, on a training part counted by hand."""

    def interactions(self, users: list[int], items: list[int]) -> SimpleNamespace:
        features = {"u": torch.tensor(users), "i": torch.tensor(items)}
        return SimpleNamespace(uid_field="u", iid_field="i", inter_feat=features, user_num=4, item_num=9)

    def test_histories_and_quartiles(self):
        # eight items with 1, 1, 2, 3, 4, 5, 6, 7 interactions
        items = [item for item, count in enumerate([0, 1, 1, 2, 3, 4, 5, 6, 7]) for _ in range(count)]
        train = self.interactions([1] * 20 + [3] * 9, items)
        assert history_lengths(train).tolist() == [0, 20, 0, 9]
        assert popularity_quartiles(train)[1:].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_equally_popular_items_are_in_one_quartile(self):
        train = self.interactions([1] * 8, [1, 2, 3, 4, 5, 6, 7, 8])
        assert popularity_quartiles(train)[1:].tolist() == [0] * 8

    def test_recall_by_hand(self):
        seen = []
        collector = SimpleNamespace(topk=[3], eval_batch_collect=lambda *batch: seen.append(batch))
        quartiles = np.array([0, 0, 1, 2, 3])
        scores = torch.tensor([[0, 0.9, 0.8, 0.1, 0.2], [0, 0.1, 0.7, 0.8, 0.9]])
        relevant = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 3, 4, 1])
        shown = SimpleCollector(collector)
        with recall_by_popularity(shown, quartiles, 2) as recorded:
            shown.eval_batch_collect(scores, None, *relevant)
        expected = {"recall_q1@2": [1, 0], "recall_q2@2": [np.nan] * 2, "recall_q3@2": [0, np.nan]}
        for name, values in {**expected, "recall_q4@2": [np.nan, 1]}.items():
            np.testing.assert_array_equal(recorded[name], values)
        assert len(seen) == 1 and "eval_batch_collect" not in vars(shown)


class SimpleCollector:
    """A collector whose method is its class's, as RecBole's."""

    def __init__(self, inner) -> None:
        self.inner, self.topk = inner, inner.topk

    def eval_batch_collect(self, *batch) -> None:
        self.inner.eval_batch_collect(*batch)


def test_a_comparison_has_metrics_beyond_accuracy_and_groups(blocks_path):
    from test_compare import SETTINGS

    metrics = ["NDCG", "ItemCoverage", "GiniIndex", "ShannonEntropy", "AveragePopularity", "TailPercentage"]
    content = {
        "datasets": {"blocks": {"data_path": str(blocks_path)}},
        "methods": {"Pop": None, "VAE": {"model": "VAESplit", **SETTINGS}, "BPR": {"epochs": 1}},
        "baseline": "Pop",
        "seeds": {"split": [7, 8], "model": 1},
        "metrics": metrics,
        "topk": [3],
        "valid_metric": "NDCG@3",
    }
    Path("beyond.yaml").write_text(yaml.safe_dump(content))
    assert main(["compare", "beyond.yaml", "--results", "beyond"]) == 0
    results = Results.read("beyond")
    runs = results.finished().set_index("method")
    for metric in metrics:
        assert runs[f"test_{metric.lower()}@3"].notna().all(), metric
    # everybody is recommended the same few items
    means = runs.groupby("method").mean(numeric_only=True)
    assert means["test_itemcoverage@3"].idxmin() == means["test_shannonentropy@3"].idxmin() == "Pop"
    assert means["test_giniindex@3"].idxmax() == "Pop"
    users = results.users
    # each user has 7 items, of which one is for validation and one for the test
    assert set(users["history"]) == {5}
    assert users["averagepopularity@3"].notna().all()
    written = pd.read_csv("beyond/groups.csv")
    assert set(written["method"]) == {"Pop", "VAE", "BPR"}
    text = Path("beyond/table.md").read_text()
    assert "### For whom" in text and "giniindex@3 ↓" in text and "itemcoverage@3 ↑" in text
    statistics = pd.read_csv("beyond/statistics.csv").set_index(["method", "metric"])
    assert statistics.loc[("VAE", "giniindex@3"), "baseline_run_p"] >= 0
    assert main(["report", "beyond"]) == 0
