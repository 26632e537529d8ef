from conftest import defaults, shipped

from recbole_vae_plugin.testing.contract import VariationalContract


class TestVAESplit(VariationalContract):
    model = "VAESplit"
    variants = {
        "defaults": defaults("VAESplit"),
        "VAE": shipped("vae-split"),
        "Logistic-VAE": shipped("logistic-vae-split"),
        "Multi-VAE": shipped("multi-vae-split"),
        "gaussian noise": {"denoising": "gaussian"},
        "two hidden layers": {"mlp_hidden_size": [32, 16], "activation": "relu"},
        "sampled softmax": {"sampled_items": 15},
        "closed form": {
            "loss_type": "MSE",
            "decoder": "closed_form",
            "decoder_hidden_size": [],
            "decoder_ridge": 1.0,
            "anneal_cap": 0.01,
        },
        "no hidden layers": {"mlp_hidden_size": []},
        "RecVAE": {
            "encoder": "dense",
            "activation": "silu",
            "decoder_hidden_size": [],
            "prior": "composite",
            "alternating_updates": [3, 1],
            "kl_weighting": "profile_length",
            "anneal_cap": 0.005,
        },
        "dense, averaged, with a linear branch": {
            "encoder": "dense",
            "mlp_hidden_size": [32, 32],
            "activation": "silu",
            "kl_weighting": "profile_length",
            "anneal_cap": 0.01,
            "ema_decay": 0.9,
            "linear_branch": "ease",
            "linear_reg_weight": 1.0,
        },
        "with a sparse linear branch": {
            "linear_branch": "sparse_ease",
            "linear_neighbors": 5,
            "linear_reg_weight": 1.0,
        },
    }
