"""The few items that may be among a user's best, found from a quarter of the memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Below so many weights (float32: 4 MiB) reading them all is as fast.
WORTHWHILE = 2**20
#: torch's product reads whole vectors of each line: over its end, where the width is no multiple of this.
VECTOR = 64
#: Relative errors of bfloat16, rounded to nearest, and of the sums in float32.
ROUNDING, SUMMING = 2.0**-8, 2.0**-12


class Shortlist:
    """Bounds on scores w·h + offset, from weights in 8 bits.

    To score one user all weights of the output layer have to come from memory, which takes far longer than
    the arithmetic. Here each line w is kept as s q, whole numbers q from -127 to 127 and a scale s. The error
    of a score is at most ``|w - s q| |h|`` (Cauchy and Schwarz) and what rounding adds, so that items whose
    upper bound is below the k-th best lower bound are out, and only the others need their exact scores.

    Args:
        weight: float32 ``[n_items, width]``.
    """

    def __init__(self, weight: Tensor):
        scale = (weight.abs().amax(1) / 127).to(torch.bfloat16)
        # rounded up, and never zero, so that no quotient exceeds 127
        scale = (scale.float() * (1 + ROUNDING)).clamp(min=1e-30).to(torch.bfloat16)
        self._scale = scale
        whole = (weight / scale.float()[:, None]).round_()
        rounded = whole * scale.float()[:, None]
        self._padding = (0, -weight.shape[1] % VECTOR)
        self._whole = F.pad(whole.to(torch.int8), self._padding)
        self._norm = rounded.norm(dim=1)
        self._error = rounded.sub_(weight).norm(dim=1)

    @classmethod
    def of(cls, weight: Tensor) -> Shortlist | None:
        """``None`` where it would not be faster: for small layers, or if torch lacks the product."""
        if weight.numel() < WORTHWHILE or not hasattr(torch, "_weight_int8pack_mm"):
            return None
        return cls(weight)

    def bounds(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Scores without offset, and how far off they can be.

        Args:
            hidden: float32 ``[1, width]``, h.

        Returns:
            float32 ``[n_items]`` each.
        """
        half = hidden.to(torch.bfloat16)
        scores = torch._weight_int8pack_mm(F.pad(half, self._padding), self._whole, self._scale)[0].float()
        missed = (hidden - half.float()).norm() + SUMMING * hidden.norm()
        error = self._error * hidden.norm()
        error.add_(self._norm * missed).add_(scores.abs(), alpha=ROUNDING)
        return scores, error

    def candidates(self, hidden: Tensor, offset: Tensor, k: int) -> Tensor:
        """Items that may be among the k best, the k best themselves certainly.

        Args:
            hidden: float32 ``[1, width]``, h.
            offset: float32 ``[n_items]``, added to the scores; -inf for items that are out.
            k: at most ``n_items``.

        Returns:
            int64 ``[at least k]``, ascending.
        """
        scores, error = self.bounds(hidden)
        scores += offset
        kth_best = (scores - error).topk(k).values[-1]
        return (scores + error >= kth_best).nonzero().flatten()
