"""What a comparison cost: searches, time, memory, energy."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare import costs, experiment
from recbole_vae_plugin.compare.output import as_json, markdown, write_all
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.tables import Comparison
from recbole_vae_plugin.system import installation

SEARCHES = pd.DataFrame(
    [["toy", "good", 1, 12, 5400.0], ["toy", "good", 2, 8, 1800.0], ["other", "bad", 1, 3, 9.0]],
    columns=["dataset", "method", "split_seed", "trials", "search_seconds"],
)


def change_results(folder: Path, method: str, **figures) -> None:
    """Set entries of the results of a method's runs; a value for each run."""
    for place, file in enumerate(sorted(folder.glob(f"runs/*/{method}/*/result.json"))):
        result = json.loads(file.read_text()) | {key: values[place] for key, values in figures.items()}
        file.write_text(json.dumps(result))


@pytest.fixture
def comparison() -> Comparison:
    """The results written by hand, of which one method was tuned and measured."""
    folder = write_results(Path("results"))
    by = ["CodeCarbon 9.9"] * 2
    change_results(folder, "good", cpu_seconds=[20.0, 30.0], energy_wh=[0.02, 0.04], energy_by=by)
    results = Results.read(folder)
    results.__dict__["searches"] = SEARCHES
    return Comparison(results)


def test_costs_are_sums_of_searches_and_means_of_runs(comparison):
    table = costs.mean_costs(comparison, "toy")
    assert table.loc["good"].to_dict() == pytest.approx(
        {
            "trials": 20,
            "h of search": 2.0,
            "s per run, data prepared": 8.0,
            "processor s per run": 25.0,
            "s per training epoch": 1.234,
            "s per evaluation": 0.5,
            "peak MiB": 512,
            "peak GPU MiB": 2048,
            "parameters": 1234567,
            "Wh per run": 0.03,
        }
    )
    assert table.loc["bad", ["trials", "processor s per run", "Wh per run"]].isna().all()


def test_what_nobody_measured_is_no_column():
    folder = write_results(Path("old"))
    for method in ("good", "bad"):
        change_results(folder, method, train_gpu_memory=[0.0, 0.0])
    table = costs.mean_costs(Comparison(Results.read(folder)), "toy")
    left_out = {"trials", "h of search", "processor s per run", "peak GPU MiB", "Wh per run"}
    assert not left_out & {*table.columns}


def test_the_tables_say_them_and_who_estimated(comparison):
    text = markdown(comparison)
    row = next(line for line in text.splitlines() if line.startswith("| good | 20 |"))
    assert "| 2 |" in row and "| 1,234,567 | 0.03 |" in row
    assert "as estimated by CodeCarbon 9.9" in text and "was not tuned here" in text
    write_all(comparison)
    written = pd.read_csv("results/costs.csv").set_index(["dataset", "method"])
    assert written.loc[("toy", "good"), "h of search"] == 2
    in_json = {row["method"]: row for row in json.loads(as_json(comparison))["costs"]}
    assert in_json["good"]["trials"] == 20 and in_json["bad"]["trials"] is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("parameters", 1234567.0, "1,234,567"),
        ("trials", 20.0, "20"),
        ("peak MiB", 512.4, "512"),
        ("Wh per run", 0.01234, "0.0123"),
        ("h of search", float("nan"), ""),
    ],
)
def test_costs_have_the_digits_that_tell_something(name, value, text):
    assert costs.cost_text(name, value) == text


class TestEnergy:
    def write(self, blocks_path, **keys) -> str:
        """An experiment of one run on the planted data."""
        content = {
            "datasets": {"blocks": {"data_path": str(blocks_path)}},
            "methods": ["Pop"],
            "baseline": "Pop",
            "seeds": {"model": 1},
            "topk": [3],
            **keys,
        }
        Path("small.yaml").write_text(yaml.safe_dump(content))
        return "small.yaml"

    def test_without_the_library_it_is_refused_with_the_command(self, blocks_path, monkeypatch, capsys):
        def find_spec(name):
            assert name == "codecarbon"

        monkeypatch.setattr(installation.util, "find_spec", find_spec)
        assert main(["compare", self.write(blocks_path, energy=True), "--results", "no"]) == 2
        assert 'pip install "recbole-vae-plugin[energy]"' in capsys.readouterr().err
        assert not Path("no").exists()

    def test_it_is_true_or_false(self, blocks_path):
        with pytest.raises(ValueError, match="energy: got 'much'; allowed: true or false"):
            experiment.Experiment.read(self.write(blocks_path, energy="much"))

    def test_each_run_has_its_estimate(self, blocks_path):
        pytest.importorskip("codecarbon", reason="CodeCarbon is not installed")
        assert main(["compare", self.write(blocks_path, energy=True), "--results", "measured"]) == 0
        (run,) = Results.read("measured").runs.to_dict("records")
        assert 0 < run["energy_wh"] < 1 and run["energy_by"].startswith("CodeCarbon ")
        assert "estimated by CodeCarbon" in Path("measured/table.md").read_text()
        # no files of CodeCarbon's, here or with the run
        assert not list(Path().rglob("*emissions*"))

    def test_only_what_lies_between_start_and_stop_is_measured_and_nothing_is_sent(self, monkeypatch):
        pytest.importorskip("codecarbon", reason="CodeCarbon is not installed")
        from recbole_vae_plugin.runs.energy import EnergyMeter

        def connect(self, address):
            raise AssertionError(f"CodeCarbon connects to {address}")

        def work(seconds: float) -> None:
            end = time.process_time() + seconds
            while time.process_time() < end:
                pass

        monkeypatch.setattr(socket.socket, "connect", connect)
        meter = EnergyMeter()
        work(2.5)
        meter.start()
        time.sleep(0.1)
        little = meter.stop()
        meter.start()
        work(2.5)
        much = meter.stop()
        assert little is not None and much is not None and 0 <= little < much / 3
