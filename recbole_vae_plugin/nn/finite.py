"""Checks that weights and scores are finite: NaN would rank as the highest score."""

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
    """Check that no score is NaN or plus infinity. Minus infinity marks excluded items.

    Args:
        scores: of any shape; their maximum is NaN if any of them is.

    Raises:
        Diverged: a score is NaN or plus infinity.
    """
    if not scores.numel():
        return
    highest = scores.max()
    if not highest < torch.inf:
        raise Diverged(f"the model's scores contain {highest.item()}: {ADVICE}")


def check_weights(model: nn.Module) -> None:
    """Check that all weights are finite, including buffers that a closed form or a search has set.

    Raises:
        Diverged: a weight is NaN or infinite; the message names it.
    """
    for name, weight in chain(model.named_parameters(), model.named_buffers()):
        # the minimum and maximum are NaN if any entry is, and need no mask as large as the matrix
        has_numbers = weight.is_floating_point() and weight.numel()
        if has_numbers and not torch.stack(torch.aminmax(weight.detach())).isfinite().all():
            raise Diverged(f"the weights {name} contain NaN or infinity: {ADVICE}")


def check_quality(quality: float, of: str) -> None:
    """Check that a validation score is finite: NaN cannot be compared.

    Args:
        of: what was validated, for the message.

    Raises:
        Diverged: the score is NaN or infinite.
    """
    if not math.isfinite(quality):
        raise Diverged(f"the validation score of {of} is {quality}: {ADVICE}")
