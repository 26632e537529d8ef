"""The layers at the two wide ends of an autoencoder, and the activations between them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, empty, nn

from recbole_vae_plugin.nn.interactions import Rows
from recbole_vae_plugin.settings.registry import Registry

#: Name -> class.
ACTIVATIONS: Registry[type[nn.Module]] = Registry("activation", key="activation")
register_activation = ACTIVATIONS.register

for _name, _activation in {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leakyrelu": nn.LeakyReLU,
    "mish": nn.Mish,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}.items():
    register_activation(_name)(_activation)


class InputLayer(nn.Module):
    """A linear layer over item rows that reads only the entries a row has.

    The same function and gradients as ``nn.Linear(n_items, out_features)`` on the dense
    row. The weight is stored as ``[n_items, out_features]``, one contiguous line an item.
    """

    def __init__(self, n_items: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(empty(n_items, out_features))
        self.bias = nn.Parameter(empty(out_features))

    def forward(self, rows: Rows | Tensor) -> Tensor:
        """``rows``: B sparse rows, or a dense ``[B, n_items]``. Returns ``[B, out_features]``."""
        return rows @ self.weight + self.bias

    def extra_repr(self) -> str:
        return f"n_items={self.weight.shape[0]}, out_features={self.weight.shape[1]}"


class OutputLayer(nn.Linear):
    """A linear layer that scores all items, or one given item a row."""

    def forward(self, hidden: Tensor, items: Tensor | None = None) -> Tensor:
        """``hidden`` ``[B, in_features]``.

        Returns ``[B, n_items]``, or, with ``items`` int64 ``[B]``, the score of ``items[b]``
        in row b: ``[B]``, at the cost of B items instead of the whole catalogue.
        """
        if items is None:
            return super().forward(hidden)
        return (hidden * self.weight[items]).sum(-1) + self.bias[items]


def hidden_layers(sizes: Sequence[int], activation: str, first: type[nn.Module] = nn.Linear):
    """``len(sizes) - 1`` linear layers from ``sizes[0]`` to ``sizes[-1]``, each activated.

    Args:
        sizes: widths, input first.
        activation: a name in :data:`ACTIVATIONS`.
        first: the class of the first layer; the others are ``nn.Linear``.
    """
    layers: list[nn.Module] = []
    for index, (width_in, width_out) in enumerate(zip(sizes[:-1], sizes[1:])):
        layers.append((first if index == 0 else nn.Linear)(width_in, width_out))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def xavier_normal(module: nn.Module) -> None:
    """Xavier-normal weights and zero biases for every layer of this package (for ``apply``)."""
    if isinstance(module, (nn.Linear, InputLayer)):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
