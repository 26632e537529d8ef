"""DAE: a deterministic autoencoder, denoising or plain."""

from recbole_vae_plugin.models.base import AutoEncoderRecommender
from recbole_vae_plugin.nn.heads import DeterministicHead


class DAE(AutoEncoderRecommender):
    """No sampling, no KL. `denoising: none` makes a plain autoencoder, `loss_type: CE`
    Mult-DAE (Liang et al., WWW 2018)."""

    head = DeterministicHead
