"""Which way each metric is better: in ranks, verdicts, wins, headers and the choice of the best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from recbole.evaluator.register import metrics_dict, smaller_metrics

from recbole_vae_plugin.compare.directions import LOWER_IS_BETTER, lower_is_better, with_arrow
from recbole_vae_plugin.compare.statistics import differences, wilcoxon


def test_recbole_knows_the_same_directions():
    assert {name for name in metrics_dict if lower_is_better(name)} == set(smaller_metrics) == LOWER_IS_BETTER


def test_the_header_shows_the_direction():
    assert with_arrow("ndcg@10") == "ndcg@10 ↑"
    assert with_arrow("giniindex@10") == "giniindex@10 ↓"
    assert lower_is_better("AveragePopularity") and not lower_is_better("TailPercentage@5")


@pytest.mark.parametrize("metric, word, wins", [("ndcg@10", "better", 2), ("giniindex@10", "worse", 0)])
def test_more_of_a_metric_is_better_or_worse(metric, word, wins):
    values = np.random.default_rng(0).normal(0.5, 0.01, 80)
    rows = [
        {
            "dataset": "d",
            "method": label,
            "split_seed": 1,
            "model_seed": seed,
            "user": user,
            metric: value,
        }
        for label, more in (("high", 0.1), ("low", 0.0))
        for seed in (1, 2)
        for user, value in enumerate(values + more + 0.001 * seed)
    ]
    (found,) = differences(pd.DataFrame(rows), "low", [metric])
    assert found.difference == pytest.approx(0.1)
    assert found.verdict.startswith(word) and found.wins == wins


def test_differences_by_the_order_of_a_sum_are_none():
    assert wilcoxon(np.full(50, 1e-17)) == 1.0
    assert wilcoxon(np.full(50, 1e-3)) < 1e-6
    mixed = np.array([1e-17] * 30 + [0.1, -0.1])
    assert wilcoxon(mixed) == pytest.approx(wilcoxon(np.where(np.abs(mixed) < 1e-12, 0, mixed)))
