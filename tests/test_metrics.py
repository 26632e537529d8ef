"""Metrics of a run against an independent computation from the scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recbole_vae_plugin.testing.contract import scores_of
from recbole_vae_plugin.testing.fixtures import users_of

K = 5
METRICS = [
    "Recall", "MRR", "NDCG", "Hit", "MAP", "Precision", "GAUC", "ItemCoverage",
    "AveragePopularity", "GiniIndex", "ShannonEntropy", "TailPercentage",
]  # fmt: skip


@pytest.fixture
def trained(prepare):
    run = prepare("VAESplit", metrics=METRICS, topk=[K], valid_metric=f"NDCG@{K}", epochs=5)
    run.trainer.fit(run.train, run.valid, verbose=False)
    return run


def expected_metrics(run) -> dict[str, float]:
    """RecBole's documented definitions, user by user, with sets and sorts."""
    users = users_of(run)
    scores = scores_of(run, users).double().numpy()
    held_out = {user: set() for user in users.tolist()}
    for user, item in zip(run.test.dataset.inter_feat["user_id"], run.test.dataset.inter_feat["item_id"]):
        held_out[int(user)].add(int(item))
    seen = {user: {0} for user in users.tolist()}
    popularity = np.zeros(run.dataset.item_num, dtype=int)
    for part in (run.train.dataset, run.valid.dataset):
        for user, item in zip(part.inter_feat["user_id"].tolist(), part.inter_feat["item_id"].tolist()):
            seen[user].add(item)
    for item in run.train.dataset.inter_feat["item_id"].tolist():
        popularity[item] += 1

    per_user = {name: [] for name in ("recall", "mrr", "ndcg", "hit", "map", "precision")}
    lists, auc_weighted, auc_weights = [], 0.0, 0
    for user in users.tolist():
        wanted = held_out[user]
        if not wanted:
            continue
        candidates = [item for item in range(run.dataset.item_num) if item not in seen[user]]
        ranking = sorted(candidates, key=lambda item: -scores[user - 1, item])
        top = ranking[:K]
        lists.append(top)
        hits = [item in wanted for item in top]
        ideal = sum(1 / np.log2(rank + 2) for rank in range(min(K, len(wanted))))
        precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(K)]
        per_user["recall"].append(sum(hits) / len(wanted))
        per_user["precision"].append(sum(hits) / K)
        per_user["hit"].append(any(hits))
        per_user["mrr"].append(max((1 / (rank + 1) for rank in range(K) if hits[rank]), default=0))
        per_user["ndcg"].append(sum(1 / np.log2(rank + 2) for rank in range(K) if hits[rank]) / ideal)
        average = sum(p for p, hit in zip(precisions, hits) if hit) / min(K, len(wanted))
        per_user["map"].append(average)
        below = sum(
            scores[user - 1, w] > scores[user - 1, o] for w in wanted for o in candidates if o not in wanted
        )
        auc = below / (len(wanted) * (len(candidates) - len(wanted)))
        auc_weighted, auc_weights = auc_weighted + auc * len(wanted), auc_weights + len(wanted)

    expected = {f"{name}@{K}": float(np.mean(values)) for name, values in per_user.items()}
    expected["gauc"] = auc_weighted / auc_weights
    shown = np.bincount(np.concatenate(lists), minlength=run.dataset.item_num)
    share = shown[shown > 0] / shown.sum()
    n = run.dataset.item_num
    # RecBole ranks only the items that were shown, and divides by all
    ranks = np.arange(n - (shown > 0).sum() + 1, n + 1)
    expected[f"itemcoverage@{K}"] = (shown > 0).sum() / n
    expected[f"averagepopularity@{K}"] = float(np.mean([popularity[items].mean() for items in lists]))
    expected[f"shannonentropy@{K}"] = float(-(share * np.log(share)).sum())
    expected[f"giniindex@{K}"] = float(
        ((2 * ranks - n - 1) * np.sort(shown[shown > 0])).sum() / shown.sum() / n
    )
    trained_items = [item for item in range(n) if popularity[item] > 0]
    tail = sorted(trained_items, key=lambda item: (popularity[item], item))[
        : max(int(len(trained_items) * 0.1), 1)
    ]
    expected[f"tailpercentage@{K}"] = float(np.mean([np.isin(items, tail).mean() for items in lists]))
    return expected


def test_every_documented_ranking_metric(trained):
    found = trained.trainer.evaluate(trained.test)
    expected = expected_metrics(trained)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=6e-5), name


def test_metrics_are_the_same_the_second_time(trained):
    assert trained.trainer.evaluate(trained.test) == trained.trainer.evaluate(trained.test)


def test_a_perfect_ranking_has_perfect_metrics(trained, monkeypatch):
    """The same path with scores of our own: nothing between them and the metrics."""
    wanted = torch.zeros(trained.dataset.user_num, trained.dataset.item_num)
    wanted[trained.test.dataset.inter_feat["user_id"], trained.test.dataset.inter_feat["item_id"]] = 1
    monkeypatch.setattr(
        trained.model, "full_sort_predict", lambda interaction: wanted[interaction["user_id"]].flatten()
    )
    found = trained.trainer.evaluate(trained.test, load_best_model=False)
    for metric in (f"ndcg@{K}", f"recall@{K}", f"mrr@{K}", f"hit@{K}", "gauc"):
        assert found[metric] == 1.0


def test_capped_recall_by_hand():
    from recbole.evaluator import metrics_dict

    hits = np.array([[True, False, True], [False, True, False]])
    metric = metrics_dict["cappedrecall"]({"metric_decimal_place": 4, "topk": [1, 3]})
    values = metric.metric_info(hits, np.array([2, 5]))
    np.testing.assert_allclose(values, [[1, 1 / 2, 2 / 2], [0, 1 / 2, 1 / 3]])
