"""RecBole's own models give the same results with this package as without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: What a bare RecBole needs to run at all on current libraries, done by hand. A library
#: old enough not to need it is left alone.
BARE = """
import numpy, scipy.sparse
for name, value in (("float_", "float64"), ("complex_", "complex128"), ("unicode_", "str_"), ("bool8", "bool_")):
    if not hasattr(numpy, name):
        setattr(numpy, name, getattr(numpy, value))
if not hasattr(scipy.sparse.dok_matrix, "_update"):
    scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)
"""
RUN = """
import json, sys
from recbole.quick_start import run_recbole
settings = json.loads(sys.argv.pop())
result = run_recbole(settings["model"], "blocks", config_dict=settings)["test_result"]
print(json.dumps(["recbole_vae_plugin" in sys.modules, {key: float(value) for key, value in result.items()}]))
"""


def run(code: str, settings: dict, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(settings)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("model", ["BPR", "EASE", "LightGCN", "MultiVAE", "RecVAE", "Pop", "ItemKNN"])
def test_unchanged_results(settings, model):
    for key in ("mlp_hidden_size", "latent_dimension"):
        del settings[key]
    settings.update(model=model, epochs=2)
    bare = run(
        BARE + RUN,
        settings,
        TORCH_DEVICE_BACKEND_AUTOLOAD="0",
        TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1",
    )
    beside_ours = run("import recbole_vae_plugin\n" + RUN, settings)
    assert bare[0] is False and beside_ours[0] is True
    assert beside_ours[1] == bare[1]


def test_ours_and_theirs_in_one_process(settings):
    from recbole.quick_start import run_recbole

    results = [
        run_recbole(model, "blocks", config_dict=dict(settings)) for model in ("BPR", "VAESplit", "BPR")
    ]
    assert results[0] == results[2]
