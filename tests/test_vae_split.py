from conftest import shipped
from contract import VariationalContract


class TestVAESplit(VariationalContract):
    model = "VAESplit"
    variants = {
        "VAE": shipped("vae-split"),
        "Logistic-VAE": shipped("logistic-vae-split"),
        "Multi-VAE": shipped("multi-vae-split"),
        "gaussian noise": {"denoising": "gaussian"},
        "two hidden layers": {"mlp_hidden_size": [32, 16], "activation": "relu"},
        "sampled softmax": {"sampled_items": 15},
        "no hidden layers": {"mlp_hidden_size": []},
    }
