"""Building a network from a model's settings."""

from __future__ import annotations

from torch import nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.encoders import ENCODERS
from recbole_vae_plugin.nn.heads import HEADS
from recbole_vae_plugin.nn.layers import InputLayer
from recbole_vae_plugin.nn.linear import LINEAR_BRANCHES, NO_BRANCH
from recbole_vae_plugin.nn.settings import Settings


def build_network(settings: Settings, n_items: int) -> AutoEncoder:
    """Build the network of these settings, with newly initialised weights.

    Training and serving without RecBole share this function, so that a bundle only needs to contain the
    settings and the weights.

    Args:
        settings: the checked keys.
        n_items: the width of a history and of the scores, including RecBole's padding item.
    """
    values, activation = settings.components, settings.activation
    widths = [n_items, *settings.mlp_hidden_size]
    d = settings.latent_dimension
    head_layer = nn.Linear if settings.mlp_hidden_size else InputLayer
    branch = settings.linear_branch
    network = AutoEncoder(
        n_items,
        DENOISING.build(settings.denoising, values),
        ENCODERS.build(settings.encoder, values, widths, activation),
        HEADS.build(settings.head, values, widths[-1], d, activation, head_layer),
        [d, *settings.decoder_hidden_size],
        activation,
        None
        if branch == NO_BRANCH
        else LINEAR_BRANCHES[branch].build(n_items, LINEAR_BRANCHES.read(branch, values)),
    )
    network.decoder_by_gradient = settings.decoder == "gradient"
    network.train_only(None)
    return network
