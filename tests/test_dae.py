from conftest import defaults, shipped

from recbole_vae_plugin.testing.contract import Contract
from recbole_vae_plugin.testing.fixtures import interaction_of, users_of


class TestDAE(Contract):
    model = "DAE"
    variants = {
        "defaults": defaults("DAE"),
        "AE": shipped("ae"),
        "DAE": shipped("dae"),
        "Multi-DAE": shipped("multi-dae"),
        "gaussian noise, linear decoder": {"denoising": "gaussian", "decoder_hidden_size": []},
        "closed form": {
            "loss_type": "MSE",
            "decoder": "closed_form",
            "decoder_hidden_size": [],
            "decoder_ridge": 1.0,
        },
        "logistic, ELU": {"loss_type": "BCE", "activation": "elu"},
    }


def test_a_plain_autoencoder_has_no_randomness_while_training(prepare):
    run = prepare("DAE", denoising="none")
    batch = interaction_of(run, users_of(run))
    run.model.train()
    assert run.model.calculate_loss(batch) == run.model.calculate_loss(batch)
    assert run.model.encode_users(users_of(run)).logvar is None
