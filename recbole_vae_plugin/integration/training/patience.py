"""Early stopping of a deep model that is combined with a linear branch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recbole.utils import early_stopping


@dataclass
class Patience:
    """RecBole's early stopping, applied to the deep model without the linear branch.

    At first the linear branch dominates the sum, whose quality hardly changes: early stopping on the sum
    would end a run while its deep model is still improving.

    Attributes:
        best: the highest quality so far.
        validations: the number of validations since then.
    """

    best: float = -math.inf
    validations: int = 0

    def runs_out(self, quality: float, stopping_step: int) -> bool:
        """Record a validation.

        Args:
            quality: the quality of the deep model alone; larger is better.
            stopping_step: the key: the number of validations without improvement that is tolerated.

        Returns:
            Whether early stopping would end the training of the deep model.
        """
        self.best, self.validations, stop, _ = early_stopping(
            quality, self.best, self.validations, stopping_step
        )
        return stop
