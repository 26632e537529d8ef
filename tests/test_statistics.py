"""The statistics, on data whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recbole_vae_plugin.compare.statistics import (
    ALPHA,
    bootstrap_interval,
    differences,
    holm,
    paired_t,
    summary,
    wilcoxon,
)


def planted(effects: dict[str, float], users=300, seeds=(1, 2, 3), seed=0, seed_noise=0.0) -> pd.DataFrame:
    """Users' values: a user's own level, plus the method's effect, plus noise of run and user."""
    random = np.random.default_rng(seed)
    level = random.normal(0.3, 0.1, users)
    tables = []
    for method, effect in effects.items():
        for model_seed in seeds:
            noise = random.normal(0, 0.1, users) + random.normal(0, seed_noise)
            tables.append(
                pd.DataFrame(
                    {
                        "dataset": "planted",
                        "method": method,
                        "split_seed": 0,
                        "model_seed": model_seed,
                        "user": [f"u{user}" for user in range(users)],
                        "ndcg@10": level + effect + noise,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def found(users: pd.DataFrame, baseline: str = "base"):
    return {each.method: each for each in differences(users, baseline, ["ndcg@10"])}


def test_a_real_difference_is_found_with_its_sign_and_size():
    result = found(planted({"base": 0.0, "good": 0.05, "bad": -0.05}))
    assert result["good"].significant and result["good"].verdict.startswith("better by 0.0")
    assert result["bad"].significant and result["bad"].verdict.startswith("worse by 0.0")
    assert result["good"].low < 0.05 < result["good"].high
    assert (result["good"].wins, result["bad"].wins) == (3, 0)


def test_no_difference_is_reported_as_none_at_the_stated_rate():
    # five methods without any effect, 60 times: an error is to find even one of them different
    errors = sum(
        any(
            each.significant
            for each in found(planted(dict.fromkeys("abcde", 0.0), 100, seed=seed), "a").values()
        )
        for seed in range(60)
    )
    assert errors <= stats.binom.ppf(0.999, 60, ALPHA)


def test_tests_over_users_alone_would_not_keep_the_rate_when_seeds_differ():
    # a lucky seed shifts every user; the runs tell that this is no difference between methods
    results = [
        found(planted({"base": 0.0, "same": 0.0}, seeds=range(5), seed=seed, seed_noise=0.05))["same"]
        for seed in range(40)
    ]
    by_users = sum(each.t_p < ALPHA for each in results)
    shown = sum(each.significant for each in results)
    assert shown <= stats.binom.ppf(0.999, 40, ALPHA) < by_users
    fooled = next(each for each in results if each.t_p < ALPHA and not each.significant)
    assert fooled.verdict.startswith("no difference shown") and "not against the spread" in fooled.verdict


def test_the_tests_are_scipys():
    random = np.random.default_rng(1)
    ours, theirs = random.normal(0.1, 1, 50), random.normal(0, 1, 50)
    assert paired_t(ours - theirs) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
    expected = stats.wilcoxon(ours, theirs, zero_method="zsplit").pvalue
    assert wilcoxon(ours - theirs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holms_correction_by_hand(p_values, expected):
    assert holm(p_values) == pytest.approx(expected)


def test_what_cannot_be_tested_is_not_counted_as_a_test():
    assert holm([math.nan, 0.01, 0.02]) == pytest.approx([math.nan, 0.02, 0.02], nan_ok=True)


def test_one_user_is_not_evidence_whatever_the_runs_say():
    users = planted({"base": 0.0, "better": 0.5}, users=1, seeds=(1, 2, 3, 4))
    (found,) = differences(users, "base", ["ndcg@10"])
    assert found.run_p < ALPHA and not found.significant


def test_methods_without_a_common_user_are_not_compared():
    users = planted({"base": 0.0, "other": 0.5})
    users.loc[users["method"] == "other", "split_seed"] = 1
    assert differences(users, "base", ["ndcg@10"]) == []


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(2)
    intervals = [bootstrap_interval(random.exponential(1, 200), seed) for seed in range(200)]
    covered = sum(low <= 1 <= high for low, high in intervals)
    assert stats.binom.ppf(0.0001, 200, 0.93) <= covered
    width = np.mean([high - low for low, high in intervals])
    assert width == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.1)


def test_equal_results_are_no_difference_and_no_crash():
    users = planted({"base": 0.0}, seeds=(1, 2))
    copy = users.assign(method="copy")
    result = found(pd.concat([users, copy]))["copy"]
    assert (result.difference, result.t_p, result.wilcoxon_p, result.significant) == (0, 1, 1, False)


def test_a_single_run_is_judged_by_its_users():
    result = found(planted({"base": 0.0, "good": 0.05}, seeds=(1,)))["good"]
    assert result.significant and math.isnan(result.run_p)
    assert "luck of a seed is not ruled out" in result.verdict


def test_a_baseline_with_one_seed_gives_one_pair_whose_luck_is_no_evidence():
    users = planted({"base": 0.0, "good": 0.05}, seeds=(1, 2, 3))
    users = users[(users["method"] == "good") | (users["model_seed"] == 1)]
    assert found(users)["good"].runs == 1


def test_many_methods_whose_seeds_differ_keep_the_rate_together():
    effects = dict.fromkeys("abcdefgh", 0.0)
    errors = sum(
        any(
            each.significant
            for each in found(planted(effects, 100, range(4), seed, seed_noise=0.05), "a").values()
        )
        for seed in range(40)
    )
    assert errors <= stats.binom.ppf(0.999, 40, ALPHA)


def test_differences_by_the_order_of_a_sum_are_none():
    assert paired_t(np.array([1e-17, 0, 0, 1e-17])) == 1
    assert paired_t(np.array([0.1, 0.1, 0.1])) == 0


def test_without_the_baseline_there_is_nothing_to_compare():
    assert differences(planted({"a": 0.0}), "base", ["ndcg@10"]) == []
    assert differences(pd.DataFrame(), "base", []) == []


def test_the_summary_is_over_runs_and_its_interval_over_users():
    users = planted({"base": 0.0})
    values = users.groupby("model_seed")["ndcg@10"].mean()
    runs = pd.DataFrame({"dataset": "planted", "method": "base", "test_ndcg@10": values, "test_auc": 0.5})
    row, auc = summary(runs, users, ["ndcg@10", "auc"]).to_dict("records")
    assert row["mean"] == pytest.approx(values.mean()) and row["deviation"] == pytest.approx(values.std())
    assert row["low"] < row["mean"] < row["high"] and row["runs"] == 3
    assert auc["mean"] == 0.5 and math.isnan(auc["low"]), "AUC has no values of users"
