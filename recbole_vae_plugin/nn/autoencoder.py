"""The network that all models share: noise, encoder, head, decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.heads import Code
from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.nn.layers import OutputLayer, hidden_layers, xavier_normal
from recbole_vae_plugin.nn.linear import LinearBranch


class AutoEncoder(nn.Module):
    """History in, scores of all items out.

    Args:
        n_items: width of the input and of the output.
        denoising: a module of :mod:`~recbole_vae_plugin.nn.denoising`.
        encoder: from rows to hidden states; a module of :mod:`~recbole_vae_plugin.nn.encoders`.
        head: from hidden states to a code; a module of :mod:`~recbole_vae_plugin.nn.heads`.
        decoder_sizes: the code's size, then the widths of the decoder's hidden layers, which may be none.
        activation: of the decoder, a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        linear: a branch that adds to the scores.
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
    ):
        super().__init__()
        self.denoising = denoising
        #: whether histories are noisy while training
        self.noisy = True
        self.encoder = encoder
        self.head = head
        self.decoder = hidden_layers(decoder_sizes, activation)
        self.output = OutputLayer(decoder_sizes[-1], n_items)
        self.linear = linear
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
