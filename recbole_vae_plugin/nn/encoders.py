"""The hidden layers between a history and the head: the `encoder` axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from recbole_vae_plugin.nn.interactions import SupportsMatmul
from recbole_vae_plugin.nn.layers import ACTIVATIONS, InputLayer, hidden_layers
from recbole_vae_plugin.settings.registry import Registry
from recbole_vae_plugin.settings.validation import refuse

#: Name -> callable that builds an encoder from the layer widths, beginning with the input's, the name of the
#: activation, and its own settings. It may have an attribute ``check_sizes`` that rejects hidden widths.
ENCODERS: Registry[Callable[..., nn.Module]] = Registry("encoder", key="encoder")
register_encoder = ENCODERS.register


@register_encoder("mlp")
def mlp(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """A stack of activated linear layers; empty if ``sizes`` is only the width of the input."""
    return hidden_layers(sizes, activation, first=InputLayer)


@register_encoder("dense")
class DenselyConnected(nn.Module):
    """Densely connected layers of equal width (RecVAE, Shenbin et al., WSDM 2020).

    With the activation f and layer normalisation LN: h_1 = LN(f(W_1 x + b_1)) and
    h_l = LN(f(W_l h_{l-1} + b_l + h_1 + ... + h_{l-1})). The head reads the last h. The
    epsilon of LN is 1e-5; in the authors' code it is 0.1.

    Args:
        sizes: the width of the input, then those of the layers, of which there is at least one.
        activation: a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
    """

    def __init__(self, sizes: Sequence[int], activation: str) -> None:
        super().__init__()
        n_items, width = sizes[:2]
        self.first = InputLayer(n_items, width)
        self.others = nn.ModuleList(nn.Linear(width, width) for _ in sizes[2:])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in sizes[1:])
        self.activation = ACTIVATIONS[activation]()

    @staticmethod
    def check_sizes(hidden: Sequence[int]) -> None:
        """Check that all hidden layers have the same width.

        Raises:
            ValueError: they differ; the message names the key, the value and what is allowed.
        """
        if len(set(hidden)) != 1:
            allowed = "with encoder dense, layers of equal width, such as [600, 600]; encoder mlp takes any"
            refuse("mlp_hidden_size", list(hidden), allowed)

    def forward(self, rows: SupportsMatmul) -> Tensor:
        """Maps B sparse rows, or a dense ``[B, n_items]``, to ``[B, width]``."""
        hidden = total = self.norms[0](self.activation(self.first(rows)))
        for layer, norm in zip(self.others, self.norms[1:]):
            hidden = norm(self.activation(layer(hidden) + total))
            total = total + hidden
        return hidden


class GatedLayer(nn.Module):
    """f(W x + b) * sigmoid(V x + c) (Kim & Suh, RecSys 2019, where f is the identity).

    Args:
        width_in: the width of the input.
        width_out: the width of the output.
        activation: f, a name in :data:`~recbole_vae_plugin.nn.layers.ACTIVATIONS`.
        layer: the class of the two linear layers.
    """

    def __init__(self, width_in: int, width_out: int, activation: str, layer: type[nn.Module]) -> None:
        super().__init__()
        self.values, self.gates = layer(width_in, width_out), layer(width_in, width_out)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: SupportsMatmul) -> Tensor:
        """Maps ``[B, width_in]``, or sparse rows, to ``[B, width_out]``."""
        return self.activation(self.values(x)) * self.gates(x).sigmoid()


@register_encoder("gated")
def gated(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """A stack of gated layers."""
    layers: list[type[nn.Module]] = [InputLayer, *[nn.Linear] * (len(sizes) - 2)]
    widths = zip(sizes[:-1], sizes[1:])
    return nn.Sequential(*(GatedLayer(*pair, activation, layer) for pair, layer in zip(widths, layers)))
