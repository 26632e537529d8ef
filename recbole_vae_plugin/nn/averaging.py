"""Averages of weights over the steps of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class WeightAverage:
    """Exponential moving averages of weights: average = decay x average + (1 - decay) x weights.

    At the t-th step the decay is min(decay, t / (9 + t)): the random weights of the beginning are
    forgotten soon.

    Args:
        weights: the tensors that an optimizer changes in place.
        decay: in [0, 1).
    """

    def __init__(self, weights: Iterable[Tensor], decay: float):
        self.weights = list(weights)
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.decay = decay
        self.steps = 0
        #: whether the averages are in the place of the weights
        self.swapped = False

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (9 + self.steps))
        for average, weight in zip(self.averages, self.weights):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Put the averages in the place of the weights, or back."""
        for average, weight in zip(self.averages, self.weights):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
        self.swapped = not self.swapped

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the weights are the averages."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_while_swapped(self) -> dict[str, Any]:
        """What :meth:`resume` needs besides the averages, which are in the place of the weights."""
        return {"weights": self.averages, "steps": self.steps}

    @torch.no_grad()
    def resume(self, state: dict[str, Any] | None) -> None:
        """The weights hold the averages, and ``state`` is what was kept with them, if anything: to go on,
        :meth:`swap`."""
        kept = state["weights"] if state else self.weights
        for average, weight in zip(self.averages, kept):
            average.copy_(weight)
        self.steps = state["steps"] if state else 0
        self.swapped = True
