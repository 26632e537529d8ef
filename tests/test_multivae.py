"""What docs/multivae.md says: with equal weights and without noise, RecBole's MultiVAE has our loss."""

import torch
from conftest import shipped

from recbole_vae_plugin.testing.fixtures import interaction_of, users_of


def test_equal_weights_have_equal_losses(prepare):
    common = {"mlp_hidden_size": [32], "anneal_cap": 0.2, "total_anneal_steps": 0}
    # its latent_dimension counts mu and logvar
    theirs = prepare("MultiVAE", **common, latent_dimension=16, train_neg_sample_args=None)
    ours = prepare("VAESplit", **{**shipped("multi-vae-split"), **common}, latent_dimension=8)
    network = ours.model.network
    for module in theirs.model.modules():
        if isinstance(module, torch.nn.Linear):  # their biases begin with zeros
            torch.nn.init.normal_(module.bias)
    (first, _, head), (hidden, _, output) = theirs.model.encoder, theirs.model.decoder
    pairs = [(network.head.both, head), (network.decoder[0], hidden), (network.output, output)]
    with torch.no_grad():
        network.encoder[0].weight.copy_(first.weight.T)
        network.encoder[0].bias.copy_(first.bias)
    for layer, original in pairs:
        layer.load_state_dict(original.state_dict())

    users = interaction_of(ours, users_of(ours))
    expected, loss = (run.model.eval().calculate_loss(users) for run in (theirs, ours))  # without noise
    torch.testing.assert_close(loss, expected)
