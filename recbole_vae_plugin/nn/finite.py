"""A model whose scores are no numbers is not ranked: NaN would count as the highest score."""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import Tensor, nn

from recbole_vae_plugin.settings.validation import Refused

ADVICE = "training has diverged; a smaller learning_rate or more regularisation may help"


class Diverged(Refused):
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
    """Refuse weights that are no numbers, those that a closed form or a search has set among them.

    Raises:
        Diverged: names one of them.
    """
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        # the least and the largest are NaN where one is, and take no memory beside a large matrix
        numbers = weight.is_floating_point() and weight.numel()
        if numbers and not torch.stack(torch.aminmax(weight.detach())).isfinite().all():
            raise Diverged(f"the weights {name} hold NaN or infinity: {ADVICE}")


def check_quality(quality: float, of: str) -> None:
    """Refuse a validation score that is no number: nothing is better or worse than it.

    Args:
        of: what was judged, for the message.

    Raises:
        Diverged: names both.
    """
    if not math.isfinite(quality):
        raise Diverged(f"the validation score of {of} is {quality}: {ADVICE}")
