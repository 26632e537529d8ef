"""The hidden layers between a history and the head: the `encoder` axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.layers import ACTIVATIONS, InputLayer, hidden_layers


def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """One activated linear layer after the other; none where ``sizes`` is the input's width alone."""
    return hidden_layers(sizes, activation, first=InputLayer)


class DenselyConnected(nn.Module):
    """Layers of one width, each of which adds up all that came before it (RecVAE, Shenbin et al., WSDM
    2020, section 3.2).

    With the activation f and layer normalisation LN: h_1 = LN(f(W_1 x + b_1)) and
    h_l = LN(f(W_l h_{l-1} + b_l + h_1 + ... + h_{l-1})). The head reads the last h.

    Args:
        sizes: the input's width, then that of each layer; at least one.
        activation: a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
    """

    def __init__(self, sizes: Sequence[int], activation: str):
        super().__init__()
        n_items, width = sizes[:2]
        self.first = InputLayer(n_items, width)
        self.others = nn.ModuleList(nn.Linear(width, width) for _ in sizes[2:])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in sizes[1:])
        self.activation = ACTIVATIONS[activation]()

    def forward(self, rows) -> Tensor:
        """``rows``: B sparse rows, or a dense ``[B, n_items]``. Returns ``[B, width]``."""
        hidden = total = self.norms[0](self.activation(self.first(rows)))
        for layer, norm in zip(self.others, self.norms[1:]):
            hidden = norm(self.activation(layer(hidden) + total))
            total = total + hidden
        return hidden


ENCODERS = {"mlp": mlp, "dense": DenselyConnected}
