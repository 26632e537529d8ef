"""With a decoder in closed form, a step updates only the rows of the first layer whose items occur in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from recbole_vae_plugin.nn.layers import InputLayer
from recbole_vae_plugin.nn.row_adam import RowAdam

if TYPE_CHECKING:
    from recbole.config import Config

    from recbole_vae_plugin.integration.recommender import AutoEncoderRecommender


def update_rows_of_input(
    optimizer: torch.optim.Optimizer, model: AutoEncoderRecommender, config: Config
) -> RowAdam | None:
    """Let :class:`RowAdam` train the first layer, where the decoder is in closed form.

    With a decoder that is trained by gradients every step passes over all items anyway. Other learners than
    Adam, and weight decay, which changes all rows, keep the usual steps.
    """
    if model.closed_form is None or type(optimizer) is not torch.optim.Adam or config["weight_decay"]:
        return None
    layers = [layer for layer in model.network.modules() if isinstance(layer, InputLayer)]
    row_adam = RowAdam(optimizer, [layer.weight for layer in layers])
    for layer in layers:
        # torch's data-parallel module wants dense gradients, in which RowAdam looks for the rows; so does
        # clipping, which computes the norm of all gradients
        layer.sparse_gradient = bool(config["single_spec"] and not config["clip_grad_norm"])
    return row_adam
