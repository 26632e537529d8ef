"""Results that a power cut, a full disk or a stranger has damaged: told by name, kept, and done again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest
import yaml

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.tune.study import without_password


@pytest.fixture(scope="module")
def folder(blocks_path, tmp_path_factory):
    """A small experiment that has run."""
    folder = tmp_path_factory.mktemp("finished")
    content = {
        "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
        "methods": ["Pop", "EASE"],
        "baseline": "Pop",
        "seeds": {"split": 7, "model": 1},
        "metrics": ["NDCG", "GiniIndex"],
        "topk": [3],
        "valid_metric": "NDCG@3",
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["compare", "small.yaml", "--results", "results"]) == 0
    return folder


@pytest.fixture
def finished(folder, capsys):
    """A copy of it in the test's own folder; returns how to run a command, and its output."""
    shutil.copytree(folder, ".", dirs_exist_ok=True)

    def run(*command: str) -> tuple[int, str, str]:
        code = main(list(command) or ["compare", "small.yaml", "--results", "results"])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


DAMAGES = {
    "emptied": b"",
    "cut off": b'{"dataset": "blocks", "contes',
    "zeros": bytes(300),
    "not an object": b"[1, 2]",
    "not all of it": b'{"dataset": "blocks"}',
    "not text": b"\xff\xfe\x00\x01",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_result_counts_as_missing(finished, damage):
    Path("results/runs/blocks/EASE/split-7-model-1/result.json").write_bytes(damage)
    for command in (("table", "results"), ("report", "results")):
        code, out, err = finished(*command)
        assert code == 0 and "EASE/split-7-model-1/result.json is damaged" in err
        assert command[0] == "report" or "not run yet" in out


def test_a_damaged_result_is_kept_and_the_run_done_again(finished):
    statistics = Path("results/statistics.csv").read_text()
    file = Path("results/runs/blocks/EASE/split-7-model-1/result.json")
    before = json.loads(file.read_text())
    for number in (1, 2):
        damage = DAMAGES["cut off"] * number
        file.write_bytes(damage)
        code, _, err = finished()
        assert code == 0 and "result.json is damaged" in err and "the run is repeated" in err
        kept = file.parent.with_name(f"split-7-model-1.damaged-{number}") / "result.json"
        assert kept.read_bytes() == damage
    assert json.loads(file.read_text())["test"] == before["test"]
    # the table also has the time that the run took
    assert Path("results/statistics.csv").read_text() == statistics


@pytest.mark.parametrize("name", ["users.csv.gz", "curve.csv"])
@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08\x00cut", None])
def test_a_damaged_table_is_told_by_name(finished, name, damage):
    file = Path("results/runs/blocks/EASE/split-7-model-1", name)
    file.unlink() if damage is None else file.write_bytes(damage)
    command = ("report", "results") if name == "curve.csv" else ("table", "results")
    code, _, err = finished(*command)
    if code:
        assert str(file) in err and "remove the folder" in err and "Traceback" not in err


@pytest.mark.parametrize("damage", [b"", b"name: [", b"\xff\xfe"])
def test_a_damaged_experiment_is_told_by_name(finished, damage):
    Path("results/experiment.yaml").write_bytes(damage)
    for command in ((), ("table", "results"), ("report", "results")):
        code, _, err = finished(*command)
        assert code == 2 and "results/experiment.yaml is damaged" in err


def test_the_largest_gini_index_is_not_the_best(finished):
    out = finished("table", "results")[1]
    header = next(line for line in out.splitlines() if line.startswith("| method"))
    assert header == "| method | ndcg@3 ↑ | giniindex@3 ↓ |"
    rows = {line.split(" | ")[0].strip("| "): line for line in out.splitlines() if "**" in line}
    gini = {name: float(line.split(" | ")[2].split()[0].strip("*<>u/|")) for name, line in rows.items()}
    best = [name for name, line in rows.items() if line.split(" | ")[2].startswith("**")]
    results = {name: value for name, value in gini.items()}
    assert best == [min(results, key=results.get)] or len(results) == 1


def test_an_ascii_terminal_gets_a_table(finished):
    code = "import sys; from recbole_vae_plugin.cli.recbole_vae import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "table", "results"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert "+/-" in text and "(less is better)" in text


@pytest.mark.skipif(os.name != "posix", reason="needs a shell with pipes")
def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m recbole_vae_plugin.cli.recbole_vae configs | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "datasets: data sets\n"


@pytest.mark.parametrize(
    "url, secret",
    [
        ("postgresql+psycopg://ann:s3cret@host/db", "s3cret"),
        ("postgresql://ann:p%40ss:word@host/db", "p@ss"),
        ("mysql://ann:a/b@c@host/db", "a/b@c"),
    ],
)
def test_a_password_is_never_printed(url, secret, blocks_path, capsys):
    space = {
        "model": "DAE",
        "dataset": {"dataset": "blocks", "data_path": str(blocks_path)},
        "parameters": {"learning_rate": [0.1]},
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    assert main(["tune", "space.yaml", "--storage", url]) == 2
    said = capsys.readouterr()
    assert secret not in said.err + said.out and "***" in said.err
    assert without_password(f"could not open {url}", url).count(secret) == 0
    assert without_password("sqlite:///a.db", "sqlite:///a.db") == "sqlite:///a.db"


@pytest.mark.skipif(os.name != "posix", reason="asks for the parent's id")
def test_a_worker_whose_parent_is_gone_before_it_starts_ends():
    """The parent's id comes from the parent: the worker's own question may be answered too late."""
    code = (
        "import os, sys, time\n"
        "from recbole_vae_plugin.runs.worker import exit_with_parent\n"
        "exit_with_parent(int(sys.argv[1]))\n"
        "time.sleep(60)"
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    worker = subprocess.Popen([sys.executable, "-c", code, str(gone.pid)])
    end = monotonic() + 20
    while worker.poll() is None and monotonic() < end:
        sleep(0.05)
    alive = worker.poll() is None
    if alive:
        psutil.Process(worker.pid).kill()
    assert not alive
