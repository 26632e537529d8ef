"""DAE: a deterministic autoencoder, denoising or plain."""

from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender
from recbole_vae_plugin.nn.heads import DeterministicHead


class DAE(AutoEncoderRecommender):
    """No sampling and no KL term.

    With `denoising: none` this is a plain autoencoder, with `loss_type: CE` it is Mult-DAE (Liang et al.,
    WWW 2018).
    """

    head = DeterministicHead
