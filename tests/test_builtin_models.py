"""RecBole's own models give the same results with this package as without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MODELS = ["BPR", "EASE", "LightGCN", "MultiVAE", "RecVAE", "Pop", "ItemKNN"]

#: What a bare RecBole needs to run at all on current libraries, done by hand. A library
#: old enough not to need it is left alone.
BARE = """
import importlib.util, sys, types
import numpy, scipy.sparse
if importlib.util.find_spec("ray") is None:
    sys.modules["ray"] = types.ModuleType("ray")
    sys.modules["ray"].tune = None
names = {"float_": "float64", "complex_": "complex128", "unicode_": "str_", "bool8": "bool_"}
for name, value in names.items():
    if not hasattr(numpy, name):
        setattr(numpy, name, getattr(numpy, value))
if not hasattr(scipy.sparse.dok_matrix, "_update"):
    scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)
"""
RUN = """
import json, sys
from recbole.quick_start import run_recbole
models, settings = json.loads(sys.argv.pop())
results = {model: run_recbole(model, "blocks", config_dict=dict(settings)) for model in models}
tests = {
    model: {metric: float(value) for metric, value in result["test_result"].items()}
    for model, result in results.items()
}
print(json.dumps(["recbole_vae_plugin" in sys.modules, tests]))
"""


def results_of(code: str, settings: dict, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps([MODELS, settings])],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_unchanged_results(settings):
    del settings["mlp_hidden_size"], settings["latent_dimension"]
    settings["epochs"] = 2
    loaded, bare = results_of(
        BARE + RUN,
        settings,
        TORCH_DEVICE_BACKEND_AUTOLOAD="0",
        TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1",
    )
    assert not loaded
    loaded, beside_ours = results_of("import recbole_vae_plugin\n" + RUN, settings)
    assert loaded
    assert beside_ours == bare


def test_ours_and_theirs_in_one_process(settings):
    from recbole.quick_start import run_recbole

    results = [
        run_recbole(model, "blocks", config_dict=dict(settings)) for model in ("BPR", "VAESplit", "BPR")
    ]
    assert results[0] == results[2]
