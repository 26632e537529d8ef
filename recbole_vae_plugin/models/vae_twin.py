"""VAETwin: a variational autoencoder with one linear layer for mu and one for logvar."""

from recbole_vae_plugin.integration.recommender import VariationalRecommender
from recbole_vae_plugin.nn.heads import TwinHead


class VAETwin(VariationalRecommender):
    """Two linear layers of size `latent_dimension`.

    From Kingma & Welling, "Auto-Encoding Variational Bayes", 2014, appendix C.2.
    """

    head = TwinHead
