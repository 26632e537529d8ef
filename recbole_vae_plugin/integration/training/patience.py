"""How long the deep model beside a linear branch may go without getting better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recbole.utils import early_stopping


@dataclass
class Patience:
    """RecBole's early stopping of the deep model alone, scored without the linear branch.

    At first the sum is the linear branch and hardly moves: early stopping of the sum alone would end a
    run while its deep model still learns.

    Attributes:
        best: the highest quality so far.
        validations: those since then.
    """

    best: float = -math.inf
    validations: int = 0

    def runs_out(self, quality: float, stopping_step: int) -> bool:
        """Take in a validation.

        Args:
            quality: of the deep model alone; larger is better.
            stopping_step: the key, validations without a better one.

        Returns:
            Whether early stopping would end the deep model's training.
        """
        self.best, self.validations, stop, _ = early_stopping(
            quality, self.best, self.validations, stopping_step
        )
        return stop
