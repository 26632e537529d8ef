"""The input and output layers of an autoencoder, and the activations of its hidden layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, empty, nn

from recbole_vae_plugin.nn.interactions import Rows, SupportsMatmul
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
    """A linear layer over sparse rows that only reads the weights of their entries.

    It has the same output and gradients as ``nn.Linear(n_items, out_features)`` on dense rows. The weight
    is stored as ``[n_items, out_features]``, so that the weights of an item are contiguous.

    Attributes:
        sparse_gradient: whether the gradient of the weight for sparse rows is a sparse tensor, which has only
            the rows of items that occur; for :class:`~recbole_vae_plugin.nn.row_adam.RowAdam`.
    """

    def __init__(self, n_items: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(empty(n_items, out_features))
        self.bias = nn.Parameter(empty(out_features))
        self.sparse_gradient = False

    def forward(self, rows: SupportsMatmul) -> Tensor:
        """Maps B sparse rows, or a dense ``[B, n_items]``, to ``[B, out_features]``."""
        if self.sparse_gradient and isinstance(rows, Rows):
            return rows.product_with_sparse_gradient(self.weight) + self.bias
        return rows @ self.weight + self.bias

    def extra_repr(self) -> str:
        return f"n_items={self.weight.shape[0]}, out_features={self.weight.shape[1]}"


class OutputLayer(nn.Linear):
    """A linear layer that scores all items, or a single item per row."""

    def forward(self, input: Tensor, items: Tensor | None = None) -> Tensor:
        """Score items.

        Args:
            input: hidden states, ``[B, in_features]``.
            items: int64 ``[B]``, the only item to score in each row.

        Returns:
            ``[B, n_items]``, or, with ``items``, ``[B]``, at the cost of B items instead of B catalogues.
        """
        if items is None:
            return super().forward(input)
        return (input * self.weight[items]).sum(-1) + self.bias[items]


def hidden_layers(sizes: Sequence[int], activation: str, first: type[nn.Module] = nn.Linear) -> nn.Sequential:
    """``len(sizes) - 1`` activated linear layers from ``sizes[0]`` to ``sizes[-1]``.

    Args:
        sizes: the widths, beginning with the input's.
        activation: a name in :data:`ACTIVATIONS`.
        first: the class of the first layer; the others are ``nn.Linear``.
    """
    layers: list[nn.Module] = []
    for index, (width_in, width_out) in enumerate(zip(sizes[:-1], sizes[1:])):
        layers.append((first if index == 0 else nn.Linear)(width_in, width_out))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def xavier_normal(module: nn.Module) -> None:
    """Initialise a layer with Xavier-normal weights and zero biases; for ``nn.Module.apply``."""
    if isinstance(module, (nn.Linear, InputLayer)):
        nn.init.xavier_normal_(module.weight)
        nn.init.zeros_(module.bias)
