"""The hidden layers between a history and the head: the `encoder` axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.layers import ACTIVATIONS, InputLayer, hidden_layers
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import refuse

#: Name -> callable with the widths, the input's first, an activation's name and its own settings. It may
#: have a ``check_sizes`` that refuses lists of hidden widths.
ENCODERS: Registry = Registry("encoder", key="encoder")
register_encoder = ENCODERS.register


@register_encoder("mlp")
def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """One activated linear layer after the other; none where ``sizes`` is the input's width alone."""
    return hidden_layers(sizes, activation, first=InputLayer)


@register_encoder("dense")
class DenselyConnected(nn.Module):
    """Layers of one width, each of which adds up all that came before it (RecVAE, Shenbin et al., WSDM
    2020).

    With the activation f and layer normalisation LN: h_1 = LN(f(W_1 x + b_1)) and
    h_l = LN(f(W_l h_{l-1} + b_l + h_1 + ... + h_{l-1})). The head reads the last h. The
    epsilon of LN is 1e-5, where the authors' code has 0.1.

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

    @staticmethod
    def check_sizes(hidden: Sequence[int]) -> None:
        """Refuse hidden layers of several widths.

        Raises:
            ValueError: names the key, the value and what is allowed.
        """
        if len(set(hidden)) != 1:
            allowed = "with encoder dense, layers of one width, such as [600, 600]"
            refuse("mlp_hidden_size", list(hidden), allowed)

    def forward(self, rows) -> Tensor:
        """``rows``: B sparse rows, or a dense ``[B, n_items]``. Returns ``[B, width]``."""
        hidden = total = self.norms[0](self.activation(self.first(rows)))
        for layer, norm in zip(self.others, self.norms[1:]):
            hidden = norm(self.activation(layer(hidden) + total))
            total = total + hidden
        return hidden


class GatedLayer(nn.Module):
    """f(W x + b) * sigmoid(V x + c) (Kim & Suh, RecSys 2019, where f is the identity).

    Args:
        width_in: of the input.
        width_out: of the output.
        activation: f, a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        layer: the class of the two linear layers.
    """

    def __init__(self, width_in: int, width_out: int, activation: str, layer: type[nn.Module]):
        super().__init__()
        self.values, self.gates = layer(width_in, width_out), layer(width_in, width_out)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x) -> Tensor:
        """``[B, width_in]``, or sparse rows. Returns ``[B, width_out]``."""
        return self.activation(self.values(x)) * self.gates(x).sigmoid()


@register_encoder("gated")
def gated(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Gated layers, one after the other."""
    layers = [InputLayer] + [nn.Linear] * (len(sizes) - 2)
    widths = zip(sizes[:-1], sizes[1:])
    return nn.Sequential(*(GatedLayer(*pair, activation, layer) for pair, layer in zip(widths, layers)))
