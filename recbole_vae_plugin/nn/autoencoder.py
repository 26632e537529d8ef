"""The network that all models share: noise, encoder, head, decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.heads import Posterior
from recbole_vae_plugin.nn.interactions import Batch
from recbole_vae_plugin.nn.layers import OutputLayer, hidden_layers, xavier_normal
from recbole_vae_plugin.nn.linear import LinearBranch


class AutoEncoder(nn.Module):
    """Maps histories to scores of all items.

    Args:
        n_items: width of the input and of the output.
        denoising: a module of :mod:`~recbole_vae_plugin.nn.denoising`.
        encoder: maps histories to hidden states; a module of :mod:`~recbole_vae_plugin.nn.encoders`.
        head: maps hidden states to a posterior; a module of :mod:`~recbole_vae_plugin.nn.heads`.
        decoder_sizes: the latent dimension, then the widths of the decoder's hidden layers, if any.
        activation: of the decoder, a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        linear: a branch whose scores are added.
    """

    def __init__(
        self,
        n_items: int,
        denoising: nn.Module,
        encoder: nn.Module,
        head: nn.Module,
        decoder_sizes: Sequence[int],
        activation: str,
        linear: LinearBranch | None = None,
    ) -> None:
        super().__init__()
        self.denoising = denoising
        #: whether noise is added to histories during training
        self.noisy = True
        #: whether the optimizer trains the decoder; a closed form sets its weights otherwise
        self.decoder_by_gradient = True
        self.encoder = encoder
        self.head = head
        self.decoder = hidden_layers(decoder_sizes, activation)
        self.output = OutputLayer(decoder_sizes[-1], n_items)
        self.linear = linear
        self.apply(xavier_normal)

    def encode(self, rows: Batch) -> Posterior:
        """The posterior of each of the B histories, with input noise during training."""
        return self.head(self.encoder(self.denoising(rows) if self.noisy else rows.l2_normalised()))

    def latent(self, posterior: Posterior) -> Tensor:
        """The decoder's input, ``[B, latent_dimension]``: a sample z during training, mu otherwise."""
        return posterior.sample() if self.training else posterior.mu

    def decode(self, z: Tensor) -> Tensor:
        """The last hidden states, ``[B, width]``, from ``[B, latent_dimension]``."""
        return self.decoder(z)

    def train_only(self, part: str | None) -> None:
        """Freeze one half of the network, for alternating updates (RecVAE, Shenbin et al., WSDM 2020).

        Args:
            part: what the next training steps update: ``encoder``, ``decoder``, which then learns from
                histories without noise, or ``None`` for both.
        """
        encoder = (self.encoder, self.head)
        for modules, name in ((encoder, "encoder"), ((self.decoder, self.output), "decoder")):
            for module in modules:
                module.requires_grad_(
                    part in (None, name) and (name == "encoder" or self.decoder_by_gradient)
                )
        self.noisy = part != "decoder"

    def forward(self, rows: Batch) -> tuple[Tensor, Posterior]:
        """Returns the scores ``[B, n_items]`` and the posterior of B histories."""
        posterior = self.encode(rows)
        scores = self.output(self.decode(self.latent(posterior)))
        return scores if self.linear is None else scores + self.linear(rows), posterior
