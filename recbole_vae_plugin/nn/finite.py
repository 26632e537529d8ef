"""A model whose scores are no numbers is not ranked: NaN would count as the highest score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ADVICE = "training has diverged; a smaller learning_rate or more regularisation may help"


class Diverged(ValueError):
    """Weights or scores are NaN or infinite."""


def check_highest(scores: Tensor) -> None:
    """Refuse scores of which the highest is none.

    Args:
        scores: any shape; NaN is the highest of any numbers it stands among.

    Raises:
        Diverged: NaN or infinity is among them. Minus infinity marks items that are left out.
    """
    if not scores.numel():
        return
    highest = scores.max()
    if not highest < torch.inf:
        raise Diverged(f"the model's scores hold {highest.item()}: {ADVICE}")


def check_weights(model: nn.Module) -> None:
    """Refuse weights that are no numbers.

    Raises:
        Diverged: names one of them.
    """
    for name, weight in model.named_parameters():
        if not weight.detach().isfinite().all():
            raise Diverged(f"the weights {name} hold NaN or infinity: {ADVICE}")
