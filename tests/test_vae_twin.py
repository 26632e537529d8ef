import torch
from conftest import shipped

from recbole_vae_plugin.testing.contract import VariationalContract
from recbole_vae_plugin.testing.fixtures import interaction_of, users_of


class TestVAETwin(VariationalContract):
    model = "VAETwin"
    variants = {
        "gated, VampPrior": {
            "encoder": "gated",
            "activation": "none",
            "prior": "vamp",
            "prior_components": 7,
        },
        "VAE": shipped("vae-twin"),
        "Logistic-VAE": shipped("logistic-vae-twin"),
        "Multi-VAE": shipped("multi-vae-twin"),
        "closed form, dense, averaged, Gaussian noise": {
            "loss_type": "MSE",
            "decoder": "closed_form",
            "decoder_hidden_size": [],
            "decoder_ridge": 1.0,
            "decoder_interval": 3,
            "anneal_cap": 0.01,
            "encoder": "dense",
            "ema_decay": 0.9,
            "denoising": "gaussian",
            "prior": "composite",
            "linear_branch": "ease",
            "linear_reg_weight": 1.0,
        },
        "gaussian noise, other decoder": {"denoising": "gaussian", "decoder_hidden_size": [16, 24]},
    }


def test_twin_with_the_weights_of_split_is_the_same_model(prepare):
    split, twin = prepare("VAESplit"), prepare("VAETwin")
    weights = split.model.state_dict()
    for part in ("weight", "bias"):
        both = weights.pop(f"network.head.both.{part}")
        weights[f"network.head.mu.{part}"], weights[f"network.head.logvar.{part}"] = both.chunk(2)
    twin.model.load_state_dict(weights)

    users = users_of(split)
    for ours, theirs in zip(split.model.eval().encode_users(users), twin.model.eval().encode_users(users)):
        torch.testing.assert_close(ours, theirs)
    batch = interaction_of(split, users)
    torch.testing.assert_close(split.model.full_sort_predict(batch), twin.model.full_sort_predict(batch))
