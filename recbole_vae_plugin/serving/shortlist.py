"""A shortlist of the items that may be among a user's k best, from weights quantised to 8 bits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: With fewer weights (float32: 4 MiB) it is as fast to read them all.
MIN_WEIGHTS = 2**20
#: Rows are padded to a multiple of this width: torch's product reads whole vectors, past the end of a row.
VECTOR_WIDTH = 64
#: Relative errors of rounding to bfloat16, and of sums in float32.
ROUNDING_ERROR, SUMMATION_ERROR = 2.0**-8, 2.0**-12


class Shortlist:
    """Bounds on scores w·h + offset, from weights quantised to 8 bits.

    Scoring one user is limited by reading all weights of the output layer from memory. Here each row w is
    stored as s q, with integers q from -127 to 127 and a scale s. The error of a score is at most
    ``|w - s q| |h|`` (Cauchy-Schwarz) plus rounding errors, so that items whose upper bound is below the
    k-th best lower bound can be excluded, and only the others need exact scores.

    Args:
        weight: float32 ``[n_items, width]``.
    """

    def __init__(self, weight: Tensor) -> None:
        scale = (weight.abs().amax(1) / 127).to(torch.bfloat16)
        # rounded up, and never zero, so that no quotient exceeds 127
        scale = (scale.float() * (1 + ROUNDING_ERROR)).clamp(min=1e-30).to(torch.bfloat16)
        self._scale = scale
        quantised = (weight / scale.float()[:, None]).round_()
        dequantised = quantised * scale.float()[:, None]
        self._padding = (0, -weight.shape[1] % VECTOR_WIDTH)
        self._quantised = F.pad(quantised.to(torch.int8), self._padding)
        self._norm = dequantised.norm(dim=1)
        self._error = dequantised.sub_(weight).norm(dim=1)

    @classmethod
    def of(cls, weight: Tensor) -> Shortlist | None:
        """``None`` if it would not be faster: for small layers, or if torch lacks the product."""
        if weight.numel() < MIN_WEIGHTS or not hasattr(torch, "_weight_int8pack_mm"):
            return None
        return cls(weight)

    def bounds(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Approximate scores without offset, and bounds on their errors.

        Args:
            hidden: float32 ``[1, width]``, h.

        Returns:
            float32 ``[n_items]`` each.
        """
        half = hidden.to(torch.bfloat16)
        product = torch._weight_int8pack_mm  # pyright: ignore[reportPrivateImportUsage]  # it has no public name
        scores = product(F.pad(half, self._padding), self._quantised, self._scale)[0].float()
        hidden_error = (hidden - half.float()).norm() + SUMMATION_ERROR * hidden.norm()
        error = self._error * hidden.norm()
        error.add_(self._norm * hidden_error).add_(scores.abs(), alpha=ROUNDING_ERROR)
        return scores, error

    def candidates(self, hidden: Tensor, offset: Tensor, k: int) -> Tensor:
        """Items that may be among the k best; certain to include the k best.

        Args:
            hidden: float32 ``[1, width]``, h.
            offset: float32 ``[n_items]``, added to the scores; -inf for excluded items.
            k: at most ``n_items``.

        Returns:
            int64 ``[at least k]``, ascending.
        """
        scores, error = self.bounds(hidden)
        scores += offset
        kth_best = (scores - error).topk(k).values[-1]
        return (scores + error >= kth_best).nonzero().flatten()
