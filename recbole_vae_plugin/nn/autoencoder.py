"""The network that all models share: noise, encoder, head, decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.ease import LinearBranch
from recbole_vae_plugin.nn.encoders import ENCODERS
from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.layers import InputLayer, OutputLayer, hidden_layers, xavier_normal


class AutoEncoder(nn.Module):
    """History in, scores of all items out.

    Args:
        n_items: width of the input and of the output.
        encoder: a name in :data:`~recbole_vae_plugin.nn.encoders.ENCODERS`.
        hidden_size: widths of the encoder's hidden layers, input side first; may be empty.
        latent_dimension: d, the size of the code.
        decoder_hidden_size: widths of the decoder's hidden layers, code side first.
        activation: a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        denoising: a module of :mod:`~recbole_vae_plugin.nn.denoising`.
        head: a class of :mod:`~recbole_vae_plugin.nn.heads`.
        linear_branch: whether a :class:`~recbole_vae_plugin.nn.ease.LinearBranch` adds to the scores.
    """

    def __init__(
        self,
        n_items: int,
        encoder: str,
        hidden_size: Sequence[int],
        latent_dimension: int,
        decoder_hidden_size: Sequence[int],
        activation: str,
        denoising: nn.Module,
        head: type[nn.Module],
        linear_branch: bool = False,
    ):
        super().__init__()
        widths = [n_items, *hidden_size]
        decoder = [latent_dimension, *decoder_hidden_size]
        head_layer = nn.Linear if hidden_size else InputLayer
        self.denoising = denoising
        #: whether histories are noisy while training
        self.noisy = True
        self.encoder = ENCODERS[encoder](widths, activation)
        self.head = head(widths[-1], latent_dimension, activation, layer=head_layer)
        self.decoder = hidden_layers(decoder, activation)
        self.output = OutputLayer(decoder[-1], n_items)
        self.linear = LinearBranch(n_items) if linear_branch else None
        self.apply(xavier_normal)

    def encode(self, rows: Rows) -> Code:
        """The code of each of the B histories, noise included while training."""
        return self.head(self.encoder(self.denoising(rows) if self.noisy else rows.l2_normalised()))

    def latent(self, code: Code) -> Tensor:
        """What is decoded, ``[B, latent_dimension]``: a sampled z while training, mu otherwise."""
        return code.sample() if self.training else code.mu

    def decode(self, z: Tensor) -> Tensor:
        """The last hidden states, ``[B, width]``, from ``[B, latent_dimension]``."""
        return self.decoder(z)

    def train_only(self, part: str | None) -> None:
        """From now on a training step changes one part of these layers only: the ``encoder``, or the
        ``decoder``, which then learns from histories without noise (RecVAE, Shenbin et al., WSDM 2020).
        ``None``: both."""
        encoder = (self.encoder, self.head)
        for modules, name in ((encoder, "encoder"), ((self.decoder, self.output), "decoder")):
            for module in modules:
                module.requires_grad_(part in (None, name))
        self.noisy = part != "decoder"

    def forward(self, rows: Rows) -> tuple[Tensor, Code]:
        """Returns the scores ``[B, n_items]`` and the code of B histories."""
        code = self.encode(rows)
        scores = self.output(self.decode(self.latent(code)))
        return scores if self.linear is None else scores + self.linear(rows), code
