"""A line search for the best positive factor."""

from __future__ import annotations

from collections.abc import Callable

STEP = 1.25
#: The search does not go beyond these.
MIN_FACTOR, MAX_FACTOR = 2.0**-10, 2.0**12


def line_search(quality: Callable[[float], float], start: float) -> float:
    """Maximise a function of a positive factor.

    Starting from ``start``, the factor is decreased by growing powers of :data:`STEP` until the quality
    decreases; if that finds no improvement, it is increased in the same way.

    The search crosses plateaus: metrics are rounded, and if one term of the sum dominates, a step may not
    change any of their digits.

    Args:
        quality: the function to maximise.
        start: the initial factor, clipped to :data:`MIN_FACTOR` and :data:`MAX_FACTOR`.

    Returns:
        The factor with the highest quality found, the first of equal ones.
    """
    start = min(max(start, MIN_FACTOR), MAX_FACTOR)
    best, best_quality = start, quality(start)
    for step in (1 / STEP, STEP):
        factor, stride = start * step, step
        while MIN_FACTOR <= factor <= MAX_FACTOR and (found := quality(factor)) >= best_quality:
            if found > best_quality:
                best, best_quality = factor, found
            stride *= step
            factor *= stride
        if best != start:
            break
    return best
