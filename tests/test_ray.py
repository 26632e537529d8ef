"""RecBole's quick start without ray, with a ray of either kind, and with the one that is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from recbole_vae_plugin.integration.repairs.ray_tune import RayTune

#: How a process can be without ray -> code.
WITHOUT = {
    "blocked": "sys.modules['ray'] = None",
    "not installed": (
        "class NoRay:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ray':\n"
        "            raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')\n"
        "sys.meta_path.insert(0, NoRay())"
    ),
    "not asked for": "",
}


@pytest.mark.parametrize(
    "first",
    [
        "import recbole.quick_start",
        *(
            pytest.param(first, marks=pytest.mark.slow)
            for first in ("import recbole_vae_plugin", "import torch")
        ),
    ],
)
@pytest.mark.parametrize("without", WITHOUT.values(), ids=WITHOUT.keys())
def test_quick_start_imports_without_ray(first, without):
    code = (
        f"import json, sys\n{without}\n"
        "blocked = 'ray' in sys.modules\n"
        f"{first}\n"
        "from recbole.quick_start import objective_function, run_recbole\n"
        "assert ('ray' in sys.modules) == blocked and sys.modules.get('ray') is None, 'as it was before'\n"
        "try:\n    import ray\n    found = type(ray).__name__\n"
        "except ModuleNotFoundError:\n    found = 'none'\n"
        "print(json.dumps([found, hasattr(objective_function, '__wrapped__')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, patched = json.loads(done.stdout.splitlines()[-1])
    assert patched, "in whatever order modules are imported"
    assert found == "none" if without else found in ("none", "module")


def ray_with(report) -> ModuleType:
    ray = ModuleType("ray")
    ray.tune = ModuleType("ray.tune")
    ray.tune.report = report
    return ray


@pytest.mark.parametrize("kind", ["keywords, ray 2.6", "a dict, ray 2.7 and later"])
def test_metrics_are_reported_as_each_ray_takes_them(kind, monkeypatch):
    reported = []

    def keywords(_metric=None, **metrics):
        reported.append(metrics)

    def mapping(metrics, *, checkpoint=None):
        reported.append(metrics)

    ray = ray_with(keywords if "2.6" in kind else mapping)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.tune", ray.tune)
    RayTune().report(**{"ndcg@10": 0.5})
    assert reported == [{"ndcg@10": 0.5}]
    assert RayTune().report is not ray.tune.report
    ray.tune.choice = "another name"
    assert RayTune().choice == "another name"


def test_nothing_is_reported_where_nobody_uses_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert RayTune().report(ndcg=0.5) is None


@pytest.mark.slow
def test_ray_tune_finds_the_best_of_two_trials(settings):
    """With the ray that is installed, whichever it is."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray import tune
    from recbole.quick_start import objective_function

    Path("fixed.yaml").write_text(yaml.safe_dump({**settings, "model": "VAESplit", "dataset": "blocks"}))
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        found = tune.run(
            tune.with_parameters(objective_function, config_file_list=[str(Path("fixed.yaml").resolve())]),
            config={"epochs": tune.grid_search([1, 30]), "learning_rate": 0.01},
            metric="ndcg@3",
            mode="max",
            verbose=0,
        )
    finally:
        ray.shutdown()
    scores = {trial.config["epochs"]: trial.last_result["ndcg@3"] for trial in found.trials}
    assert found.best_config["epochs"] == 30
    assert scores[30] > scores[1] > 0
