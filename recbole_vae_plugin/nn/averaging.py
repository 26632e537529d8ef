"""Averages of weights over the steps of training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import Tensor

from recbole_vae_plugin.nn.row_adam import CHUNK_SIZE, add_rows


class AverageState(TypedDict):
    """What a checkpoint stores in addition to the averages, which are its model's weights.

    Attributes:
        weights: the weights from which training resumes.
        steps: the number of steps averaged.
    """

    weights: list[Tensor]
    steps: int


class WeightAverage:
    """Exponential moving averages of weights: average = decay x average + (1 - decay) x weights.

    At the t-th step the decay is min(decay, t / (9 + t)), so that the random initial weights are
    forgotten quickly.

    ``torch.optim.swa_utils.AveragedModel`` would keep a second model and copy all its buffers at each
    step, including the matrix of a linear branch: with 10,000 items that takes 65 ms a step, compared to
    1 ms here. Here the averages are swapped with the weights of the model that is scored and saved.

    Args:
        weights: the tensors that an optimizer updates in place; may be empty.
        decay: in [0, 1).
        by_row: those of the weights whose rows change one by one: before some rows of one change,
            :meth:`catch_up` must be called with them, and a step then costs nothing for the other rows.

    Attributes:
        averages: one for each of the weights; holds the weights while the averages are in the model.
        in_model: whether the model currently holds the averages.
    """

    def __init__(self, weights: Iterable[Tensor], decay: float, by_row: Iterable[Tensor] = ()) -> None:
        self.weights = list(weights)
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.decay = decay
        self.steps = 0
        self.in_model = False
        by_row = set(by_row)
        pairs = list(zip(self.averages, self.weights))
        self._each_step = [pair for pair in pairs if pair[1] not in by_row]
        self._by_row = {weight: average for average, weight in pairs if weight in by_row}
        # the logarithm of the product of all decays since the averages were last complete, and what it was
        # when each row was last caught up
        self._log_decay = 0.0
        self._caught_up = {
            weight: torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
            for weight in self._by_row
        }

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages after a training step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (9 + self.steps))
        self._log_decay += math.log(decay) if decay else -math.inf
        for average, weight in self._each_step:
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def catch_up(self, weight: Tensor, rows: Tensor) -> None:
        """Bring the averages of some rows up to the last step, before these rows change.

        Since the last time they have not changed, so that k steps are one with the product of their decays.

        Args:
            weight: one of the weights; nothing happens if it is not averaged by row.
            rows: int64 ``[k]``, ascending, without repetitions.
        """
        if weight not in self._by_row:
            return
        average, caught_up = self._by_row[weight], self._caught_up[weight]
        share = -torch.expm1(self._log_decay - caught_up[rows])
        caught_up[rows] = self._log_decay
        size = max(1, CHUNK_SIZE // weight.shape[1])
        for begin in range(0, len(rows), size):
            chunk = slice(begin, begin + size)
            moved = weight[rows[chunk]].sub_(average[rows[chunk]])
            add_rows(average, rows[chunk], moved.mul_(share[chunk, None].to(moved.dtype)))

    def _complete(self) -> None:
        """Catch up with all rows, and count from here."""
        for weight in self._by_row:
            self.catch_up(weight, torch.arange(len(weight), device=weight.device))
            self._caught_up[weight].zero_()
        self._log_decay = 0.0

    @torch.no_grad()
    def swap(self) -> None:
        """Swap the averages with the weights in the model."""
        if not self.in_model:
            self._complete()
        for average, weight in zip(self.averages, self.weights):
            previous = weight.clone()
            weight.copy_(average)
            average.copy_(previous)
        self.in_model = not self.in_model

    def restore_weights(self) -> None:
        """Put the weights back into the model, for training, if it holds the averages."""
        if self.in_model:
            self.swap()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Return a context manager in which the model holds the averages."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state(self) -> AverageState | None:
        """The state for :meth:`resume`; the averages themselves must be in the model.

        ``None`` if nothing is averaged.
        """
        return {"weights": self.averages, "steps": self.steps} if self.weights else None

    @torch.no_grad()
    def resume(self, state: AverageState | None) -> None:
        """Resume from a checkpoint whose averages are in the model.

        :meth:`restore_weights` then puts the weights into the model.

        Args:
            state: from :meth:`state`; ``None`` restarts the averages from the model's weights.
        """
        weights = state["weights"] if state else self.weights
        for average, weight in zip(self.averages, weights):
            average.copy_(weight)
        self.steps = state["steps"] if state else 0
        self.in_model = True
