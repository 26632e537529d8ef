"""From a model's settings to its network: the one place where the keys become layers."""

from __future__ import annotations

from torch import nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.nn.denoising import DENOISING
from recbole_vae_plugin.nn.settings import Settings


def network_of(settings: Settings, head: type[nn.Module], n_items: int) -> AutoEncoder:
    """The network of these settings, with fresh weights.

    Training, and serving without RecBole, both build it here, so that a bundle needs to hold the
    settings and the weights only.

    Args:
        settings: checked keys.
        head: a class of :data:`~recbole_vae_plugin.nn.heads.HEADS`.
        n_items: width of a history and of the scores, RecBole's padding item included.
    """
    return AutoEncoder(
        n_items,
        settings.encoder,
        settings.mlp_hidden_size,
        settings.latent_dimension,
        settings.decoder_hidden_size,
        settings.activation,
        DENOISING[settings.denoising](settings.dropout_prob, settings.noise_std),
        head,
        settings.linear_branch == "ease",
    )
