"""The network that all models share: noise, encoder, head, decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.layers import InputLayer, OutputLayer, hidden_layers, xavier_normal


class AutoEncoder(nn.Module):
    """History in, scores of all items out.

    Args:
        n_items: width of the input and of the output.
        hidden_size: widths of the encoder's hidden layers, input side first; may be empty.
        latent_dimension: d, the size of the code.
        decoder_hidden_size: widths of the decoder's hidden layers, code side first.
        activation: a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        denoising: a module of :mod:`~recbole_vae_plugin.nn.denoising`.
        head: a class of :mod:`~recbole_vae_plugin.nn.heads`.
    """

    def __init__(
        self,
        n_items: int,
        hidden_size: Sequence[int],
        latent_dimension: int,
        decoder_hidden_size: Sequence[int],
        activation: str,
        denoising: nn.Module,
        head: type[nn.Module],
    ):
        super().__init__()
        encoder = [n_items, *hidden_size]
        decoder = [latent_dimension, *decoder_hidden_size]
        head_layer = nn.Linear if hidden_size else InputLayer
        self.denoising = denoising
        self.encoder = hidden_layers(encoder, activation, first=InputLayer)
        self.head = head(encoder[-1], latent_dimension, activation, layer=head_layer)
        self.decoder = hidden_layers(decoder, activation)
        self.output = OutputLayer(decoder[-1], n_items)
        self.apply(xavier_normal)

    def encode(self, rows: Rows) -> Code:
        """The code of each of the B histories, noise included while training."""
        return self.head(self.encoder(self.denoising(rows)))

    def decode(self, code: Code) -> Tensor:
        """The last hidden states, ``[B, width]``: from a sampled z while training, from mu otherwise."""
        return self.decoder(code.sample() if self.training else code.mu)

    def forward(self, rows: Rows) -> tuple[Tensor, Code]:
        """Returns the scores ``[B, n_items]`` and the code of B histories."""
        code = self.encode(rows)
        return self.output(self.decode(code)), code
