"""Real runs on MovieLens-100K, which RecBole's wheel carries."""

from __future__ import annotations

from statistics import mean, stdev

import pytest
import yaml
from conftest import CONFIGS

from recbole_vae_plugin.settings.model_registry import MODELS

VARIANTS = sorted((CONFIGS / "models").glob("*.yaml"))
#: One of each head and of each likelihood; the others are slow tests.
SOME = ("vae-split", "multi-vae-twin", "dae", "logistic-vae-split")
SETTINGS = {"show_progress": False, "state": "ERROR", "seed": 2020}


def run(*files, **settings) -> dict:
    from recbole.quick_start import run_recbole

    files = [str(CONFIGS / "datasets/ml-100k.yaml"), *map(str, files)]
    return run_recbole(config_file_list=files, config_dict={**SETTINGS, **settings})


@pytest.fixture(scope="module")
def popularity(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pop"))
        patch.setattr("sys.argv", ["pytest"])
        return run(model="Pop", epochs=1)["test_result"]["ndcg@10"]


def test_nine_variants_are_shipped():
    assert len(VARIANTS) == 9


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(file, id=file.stem, marks=() if file.stem in SOME else pytest.mark.slow)
        for file in VARIANTS
    ],
)
def test_each_variant_beats_popularity_by_half(variant, popularity):
    # one learning rate that every variant learns from in a few epochs
    found = run(variant, epochs=20, eval_step=20, learning_rate=0.005, train_batch_size=100)
    assert found["test_result"]["ndcg@10"] > 1.5 * popularity


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("[dm]*/*.yaml")), ids=lambda path: path.stem)
def test_shipped_files_hold_only_known_keys(file):
    from recbole_vae_plugin.integration.config.keys import known_keys

    content = yaml.safe_load(file.read_text())
    assert set(content) <= known_keys(content.get("model", next(iter(MODELS))))


@pytest.mark.slow
def test_sampled_evaluation():
    full = run(model="VAESplit", epochs=5)["test_result"]
    for mode in ("uni100", "pop100"):
        found = run(model="VAESplit", epochs=5, eval_args={"mode": mode})["test_result"]
        # ranking a held-out item among 100 others is easier than among all
        assert full["ndcg@10"] < found["ndcg@10"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_is_as_good_as_float32(model):
    def results(enable_amp: bool) -> list[float]:
        # without the linear branch, which is computed in float32 and may outweigh the rest
        settings = {
            "epochs": 30,
            "train_batch_size": 100,
            "mlp_hidden_size": [200],
            "latent_dimension": 64,
            "linear_branch": "none",
        }
        runs = (run(model=model, enable_amp=enable_amp, seed=seed, **settings) for seed in (1, 2, 3))
        return [found["test_result"]["ndcg@10"] for found in runs]

    exact, rounded = results(False), results(True)
    assert exact != rounded, "nothing was rounded"
    assert abs(mean(exact) - mean(rounded)) < stdev(exact)


@pytest.mark.slow
def test_default_run_reaches_the_cap_of_beta(monkeypatch):
    from recbole_vae_plugin.integration.training.trainer import AutoEncoderTrainer

    models = []
    fit = AutoEncoderTrainer.fit

    def fit_and_keep(trainer, *args, **kwargs):
        models.append(trainer.model)
        return fit(trainer, *args, **kwargs)

    monkeypatch.setattr(AutoEncoderTrainer, "fit", fit_and_keep)
    run(model="VAESplit")
    assert models[0].beta.item() == pytest.approx(models[0].kl.anneal_cap)
