"""The commands behind the README's tables run and measure something."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def benchmark(name: str, *options: str) -> dict:
    """Run a benchmark; returns what it wrote as JSON."""
    command = [sys.executable, str(BENCHMARKS / name), *options, "--json", "found.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(Path("found.json").read_text())


def test_gpu_benchmark_can_be_tried_without_one():
    found = benchmark("gpu.py", "--device", "cpu", "--shape", "500", "300", "5000", "--batches", "20", "100")
    assert [step["batch"] for step in found["steps"]] == [20, 100]
    assert all(0 < step["of matrix rate"] < 1 for step in found["steps"])


def test_linear_benchmark_measures_a_catalogue_that_is_generated():
    found = benchmark("linear.py", "--shape", "300", "500", "4000", "--neighbors", "5", "20")
    assert [figures["neighbors"] for figures in found] == [5, 20]
    for figures in found:
        assert 0 < figures["nonzero"] <= 500 * figures["neighbors"]
        assert all(figures[name] > 0 for name in ("fit, s", "peak, MiB", "scoring a user, ms"))


@pytest.mark.slow
def test_serving_benchmark_measures_both_ways():
    found = benchmark("serving.py", "--datasets", "ml-100k", "--calls", "5", "--batch", "20")["ml-100k"]
    assert set(found) == {"Recommender.recommend", "full_sort_topk"}
    for figures in found.values():
        assert all(value > 0 for value in figures.values())
        assert figures["one user, median ms"] <= figures["one user, p99 ms"]


def test_a_planted_catalogue_is_learnt_and_served():
    small = ["--items", "2000", "--users", "200", "--length", "40", "--blocks", "10", "--epochs", "20"]
    found = benchmark("catalogue.py", *small, "--hidden", "32", "--latent", "16")
    assert found["from own block"] > 0.9
    assert found["bundle MiB"] > 0 and found["peak MiB"] > found["bundle MiB"]


@pytest.mark.slow
def test_speed_benchmark_measures_all_contestants():
    left_out = ["--no-growth", "--no-uni100", "--no-whole-runs"]
    found = benchmark("speed.py", "--rounds", "1", "--batches", "2", "--eval-batches", "5", *left_out)
    assert {"VAESplit", "MultiVAE", "MultiVAE-batched", "RecVAE"} <= set(found["ml-100k"])
    for name, figures in found["ml-100k"].items():
        assert figures.get("train epoch", 0) > 0, (name, figures)


@pytest.mark.slow
def test_parallel_benchmark_says_where_the_second_process_goes():
    short = ["--rounds", "1", "--epochs", "2", "--trials", "2", "--trial-epochs", "2"]
    found = benchmark("parallel.py", "--dataset", "small-shape", *short)
    assert all(seconds[0] > 0 for seconds in found["training"].values())
    assert found["lost"]["exchange of gradients"] > 0
    lost = found["search"]["lost"]
    assert all(seconds > 0 for part, seconds in lost.items() if part != "training slower side by side")
    (shared,) = found["search"]["seconds"]["2 jobs, 1 thread each"]
    assert sum(lost.values()) == pytest.approx(shared["whole"])


def test_parallel_benchmark_passes_on_what_a_failing_command_says(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    parallel = importlib.import_module("parallel")
    with pytest.raises(SystemExit, match="so it is"):
        parallel.output_of([sys.executable, "-c", "raise ValueError('so ' + 'it is')"], 1)
