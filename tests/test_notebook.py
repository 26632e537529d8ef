"""The notebook for Colab runs from its first cell to its last."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from documents import ROOT

NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
nbformat = pytest.importorskip("nbformat")


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def tagged(notebook, tag: str) -> dict:
    (cell,) = (cell for cell in notebook.cells if tag in cell.metadata.get("tags", ()))
    return cell


def test_it_is_kept_without_outputs(notebook):
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_it_installs_what_the_readme_says(notebook):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recbole = re.search(r"pip install --no-deps (recbole==\S+)", readme)
    assert recbole and recbole[0] in tagged(notebook, "install").source.replace(" -q", "")
    assert "recbole-vae-plugin[train]" in tagged(notebook, "install").source


@pytest.mark.slow
def test_it_runs(notebook, tmp_path, monkeypatch):
    # the environment need not be activated
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    client = pytest.importorskip("nbclient").NotebookClient
    tagged(notebook, "install").source = "from pathlib import Path"  # the package is here
    tagged(notebook, "parameters").source = "EPOCHS = 2"
    client(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "21 to run" in printed and "written to films.vae" in printed
    assert "based on: Toy Story, Star Wars, Return of the Jedi" in printed
