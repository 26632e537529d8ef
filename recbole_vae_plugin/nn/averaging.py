"""Averages of weights over the steps of training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
from torch import Tensor


class AverageState(TypedDict):
    """What a checkpoint keeps besides the averages, which are its model's weights.

    ``weights`` are those that training goes on from, ``steps`` the number of steps averaged.
    """

    weights: list[Tensor]
    steps: int


class WeightAverage:
    """Exponential moving averages of weights: average = decay x average + (1 - decay) x weights.

    At the t-th step the decay is min(decay, t / (9 + t)): the random weights of the beginning are
    forgotten soon.

    ``torch.optim.swa_utils.AveragedModel`` would keep a second model and copy all its buffers at each
    step, the matrix of a linear branch among them: with 10,000 items that is 65 ms a step, against 1 ms
    here. Here averages trade places with the weights, in the model that is scored and saved.

    Args:
        weights: the tensors that an optimizer changes in place; without any, nothing is averaged.
        decay: in [0, 1).

    Attributes:
        averages: one for each of the weights; while they are in the model, the weights.
        in_model: whether the averages are in the place of the weights.
    """

    def __init__(self, weights: Iterable[Tensor], decay: float):
        self.weights = list(weights)
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.decay = decay
        self.steps = 0
        self.in_model = False

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
        self.in_model = not self.in_model

    def restore_weights(self) -> None:
        """Put the weights back, for training, where the averages are in their place."""
        if self.in_model:
            self.swap()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the weights are the averages."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state(self) -> AverageState | None:
        """What :meth:`resume` needs besides the averages, which must be in the model; ``None`` where nothing
        is averaged."""
        return {"weights": self.averages, "steps": self.steps} if self.weights else None

    @torch.no_grad()
    def resume(self, state: AverageState | None) -> None:
        """Go on from a checkpoint: the model holds the averages, and :meth:`restore_weights` puts in the
        weights.

        Args:
            state: from :meth:`state`; ``None``, as where nothing was averaged: the averages begin anew.
        """
        kept = state["weights"] if state else self.weights
        for average, weight in zip(self.averages, kept):
            average.copy_(weight)
        self.steps = state["steps"] if state else 0
        self.in_model = True
