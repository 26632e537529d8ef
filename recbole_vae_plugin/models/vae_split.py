"""VAESplit: a variational autoencoder whose encoder outputs mu and logvar as one vector."""

from recbole_vae_plugin.integration.recommender import VariationalRecommender
from recbole_vae_plugin.nn.heads import SplitHead


class VAESplit(VariationalRecommender):
    """One linear layer of size 2 x `latent_dimension`, split into mu and logvar.

    With `loss_type: CE` this is Mult-VAE as implemented by its authors (Liang et al., "Variational
    Autoencoders for Collaborative Filtering", WWW 2018).
    """

    head = SplitHead
