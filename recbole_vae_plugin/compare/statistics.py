"""Paired tests and confidence intervals over users and over runs.

The unit is the user. A method's value for a user is the mean over its seeds, so that methods are compared
and not single runs. Tests over users do not account for the shift that a seed gives to all users of a run
together; with several runs, a difference must therefore also be significant against the spread between runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from recbole_vae_plugin.compare.directions import lower_is_better

ALPHA = 0.05
RESAMPLES = 2000
#: Differences up to this size are rounding errors.
ROUNDING = 1e-12
RUN = ["split_seed", "model_seed"]


@dataclass(frozen=True)
class Difference:
    """A method against the baseline in one metric on one data set.

    Attributes:
        difference: mean over users of method minus baseline.
        low, high: bounds of its bootstrap 95% interval over users.
        t_p, wilcoxon_p: two-sided p-values of the paired tests over users.
        users: users with a value from both; without any, as for ItemCoverage, ``difference`` is the mean over
            pairs of runs, and what is over users is NaN.
        runs: pairs of runs; wins: those in which the method is better.
        run_deviation: standard deviation of the difference over the pairs; NaN for one pair.
        run_p: two-sided p-value of the paired t-test over the pairs; NaN for one pair.
        p_adjusted: the larger of t_p and run_p, which tests users and runs jointly (intersection-union),
            after Holm's correction over the methods.
        wilcoxon_p_adjusted: wilcoxon_p after the same correction.
    """

    dataset: str
    metric: str
    method: str
    baseline: str
    difference: float
    low: float
    high: float
    t_p: float
    wilcoxon_p: float
    users: int
    runs: int
    wins: int
    run_deviation: float
    run_p: float
    p_adjusted: float = math.nan
    wilcoxon_p_adjusted: float = math.nan

    @property
    def p(self) -> float:
        """The p-value before the correction."""
        if not self.users:
            return self.run_p
        # a single pair of runs cannot be tested; a single user is not enough, whatever the runs say
        return self.t_p if math.isnan(self.run_p) else float(np.maximum(self.t_p, self.run_p))

    @property
    def significant(self) -> bool:
        """Whether the difference is significant over users and, if there are several, over runs."""
        return bool(self.p_adjusted < ALPHA)

    @property
    def verdict(self) -> str:
        """The finding as a sentence."""
        evidence = f"adjusted {p_value(self.p_adjusted)}"
        if self.users:
            evidence = f"95% interval over users [{self.low:+.4f}, {self.high:+.4f}], {evidence}"
        if self.runs > 1:
            evidence += f", better in {self.wins} of {self.runs} pairs of runs"
        if self.significant:
            higher = self.difference > 0
            word = "better" if higher != lower_is_better(self.metric) else "worse"
            caution = "" if self.runs > 1 else "; one pair of runs, so the luck of a seed is not ruled out"
            return f"{word} by {abs(self.difference):.4f} ({evidence}){caution}"
        reason = ""
        if self.t_p < ALPHA < self.run_p:
            p = p_value(self.run_p)
            reason = f"; significant over users, but not against the spread between runs ({p})"
        return f"no difference shown ({self.difference:+.4f}, {evidence}{reason})"


def p_value(p: float) -> str:
    """A p-value in the format of papers."""
    if math.isnan(p):
        return "p not defined"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}"


def bootstrap_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap's 95% interval of the mean of ``values`` ``[n]``."""
    if len(values) < 2 or np.ptp(values) == 0:
        return float(np.mean(values)), float(np.mean(values))
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2**24 // len(values)),
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_t(differences: np.ndarray) -> float:
    """Two-sided p of Student's paired t-test; for constant differences 0, or 1 if they are zero."""
    if len(differences) < 2:
        return math.nan
    if np.abs(differences).max() <= ROUNDING:
        return 1.0
    if np.ptp(differences) <= ROUNDING:
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def wilcoxon(differences: np.ndarray) -> float:
    """Two-sided p of the signed-rank test; zero differences are split between the signs (zsplit)."""
    real = np.where(np.abs(differences) <= ROUNDING, 0.0, differences)
    if not np.any(real):
        return 1.0
    return float(stats.wilcoxon(real, zero_method="zsplit").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) for multiple tests; NaN, where none was possible, stays NaN and does
    not count as a test."""
    # scipy has only the false discovery rate; statsmodels would be one more dependency
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted.tolist()


def mean_per_user(users: pd.DataFrame, metric: str) -> pd.Series:
    """(split seed, user) -> mean over model seeds, for the rows of one method."""
    return users.groupby(["split_seed", "user"])[metric].mean()


def mean_per_run(users: pd.DataFrame, metric: str) -> pd.Series:
    """(split seed, model seed) -> mean over users, for the rows of one method."""
    return users.groupby(RUN)[metric].mean()


def pair_runs(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Differences of runs with the same split and model seed; if the seeds do not match, of the means on each
    split, so that no run counts twice."""
    if set(ours.index) != set(theirs.index):
        ours, theirs = (runs.groupby("split_seed").mean() for runs in (ours, theirs))
    return (ours - theirs).dropna().to_numpy()


def difference(
    dataset: str, metric: str, names: tuple[str, str], ours: pd.DataFrame, theirs: pd.DataFrame
) -> Difference | None:
    """Compare one method with the baseline.

    Args:
        names: of the method and the baseline.
        ours: the method's rows of ``Results.users``.
        theirs: the baseline's rows.

    Returns:
        ``None`` where they have no user in common.
    """
    paired = pd.concat([mean_per_user(ours, metric), mean_per_user(theirs, metric)], axis=1, join="inner")
    gaps = (paired.iloc[:, 0] - paired.iloc[:, 1]).groupby("user").mean().to_numpy()
    if not len(gaps):
        return None
    low, high = bootstrap_interval(gaps)
    of_runs = pair_runs(mean_per_run(ours, metric), mean_per_run(theirs, metric))
    return Difference(
        dataset=dataset,
        metric=metric,
        method=names[0],
        baseline=names[1],
        difference=float(gaps.mean()),
        low=low,
        high=high,
        t_p=paired_t(gaps),
        wilcoxon_p=wilcoxon(gaps),
        users=len(gaps),
        **over_runs(of_runs, metric),
    )


def difference_of_runs(
    dataset: str, metric: str, names: tuple[str, str], ours: pd.Series, theirs: pd.Series
) -> Difference | None:
    """Compare one method with the baseline in a metric that is not a mean over users.

    Args:
        names: of the method and the baseline.
        ours: (split seed, model seed) -> the method's value.
        theirs: the baseline's.

    Returns:
        ``None`` where no test is possible: without a spread between two or more independent pairs of runs.
    """
    gaps = independent(ours, theirs)
    if len(gaps) < 2 or (np.ptp(gaps) <= ROUNDING < np.abs(gaps).max()):
        return None
    return Difference(
        dataset=dataset,
        metric=metric,
        method=names[0],
        baseline=names[1],
        difference=float(gaps.mean()),
        low=math.nan,
        high=math.nan,
        t_p=math.nan,
        wilcoxon_p=math.nan,
        users=0,
        **over_runs(gaps, metric),
    )


def independent(ours: pd.Series, theirs: pd.Series) -> np.ndarray:
    """Differences of pairs of runs; where the methods do not depend on the model seed, of splits."""
    by_split = [runs.groupby("split_seed") for runs in (ours, theirs)]
    if all((runs.max() - runs.min()).max() <= ROUNDING for runs in by_split):
        ours, theirs = (runs.mean() for runs in by_split)
        return (ours - theirs).dropna().to_numpy()
    return pair_runs(ours, theirs)


def over_runs(gaps: np.ndarray, metric: str) -> dict[str, Any]:
    """What a :class:`Difference` says of the pairs of runs, from their differences."""
    better = (gaps < 0) if lower_is_better(metric) else (gaps > 0)
    return {
        "runs": len(gaps),
        "wins": int(better.sum()),
        "run_deviation": float(np.std(gaps, ddof=1)) if len(gaps) > 1 else math.nan,
        "run_p": paired_t(gaps),
    }


def differences_of_runs(runs: pd.DataFrame, baseline: str, metrics: Sequence[str]) -> list[Difference]:
    """As :func:`differences`, for metrics that are not means over users, where there are several runs.

    Args:
        runs: the finished runs, as ``Results.finished()``.
        metrics: of which ``runs`` has ``test_<metric>``.
    """
    found: list[Difference] = []
    for dataset, of_dataset in runs.groupby("dataset", sort=False):
        groups = dict(iter(of_dataset.set_index(RUN).groupby("method", sort=False)))
        theirs = groups.pop(baseline, None)
        if theirs is None:
            continue
        for metric in metrics:
            column = f"test_{metric}"
            tested = [
                difference_of_runs(dataset, metric, (label, baseline), ours[column], theirs[column])
                for label, ours in groups.items()
            ]
            found += corrected(tested)
    return found


def corrected(differences: Iterable[Difference | None]) -> list[Difference]:
    """Those that could be tested, with p-values after Holm's correction for their number."""
    family = [each for each in differences if each is not None]
    adjusted = zip(holm([each.p for each in family]), holm([each.wilcoxon_p for each in family]))
    return [replace(each, p_adjusted=p, wilcoxon_p_adjusted=w) for each, (p, w) in zip(family, adjusted)]


def differences(users: pd.DataFrame, baseline: str, metrics: Sequence[str]) -> list[Difference]:
    """Compare all methods with the baseline; p-values are corrected for the number of methods within each
    metric and data set.

    Args:
        users: one row per run and user, as ``Results.users``.
        baseline: a method's label; data sets without its results are left out.
        metrics: columns of ``users``.
    """
    found: list[Difference] = []
    for dataset, of_dataset in users.groupby("dataset", sort=False) if len(users) else ():
        groups = dict(iter(of_dataset.groupby("method", sort=False)))
        theirs = groups.pop(baseline, None)
        if theirs is None:
            continue
        for metric in metrics:
            found += corrected(
                [
                    difference(dataset, metric, (label, baseline), ours, theirs)
                    for label, ours in groups.items()
                ]
            )
    return found


def summary(runs: pd.DataFrame, users: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row per data set, method and metric: ``mean`` and standard ``deviation`` over runs (NaN for one),
    ``runs``, and, for metrics with a value for each user, ``low`` and ``high`` of the bootstrap 95% interval
    of the mean over users.

    Args:
        runs: the finished runs, as ``Results.finished()``.
        users: as ``Results.users``.
        metrics: such as ``ndcg@10``, columns ``test_<metric>`` of ``runs``.
    """
    rows = []
    for (dataset, method), group in runs.groupby(["dataset", "method"], sort=False):
        theirs = users[(users["dataset"] == dataset) & (users["method"] == method)]
        for metric in metrics:
            values = group[f"test_{metric}"]
            low = high = math.nan
            if metric in users:
                low, high = bootstrap_interval(theirs.groupby("user")[metric].mean().to_numpy())
            rows.append([dataset, method, metric, values.mean(), values.std(), low, high, len(values)])
    columns = ["dataset", "method", "metric", "mean", "deviation", "low", "high", "runs"]
    return pd.DataFrame(rows, columns=columns)
