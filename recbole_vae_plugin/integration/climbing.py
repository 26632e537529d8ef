"""The best positive factor, found by trying."""

from __future__ import annotations

from collections.abc import Callable

STEP = 1.25
#: Where there is no top, the climb ends.
LEAST, MOST = 2.0**-10, 2.0**10


def climb(quality: Callable[[float], float], start: float) -> float:
    """Walk from ``start`` in factors of :data:`STEP`, uphill and with longer and longer strides, until
    a step in neither direction is better.

    Args:
        quality: what is to be as large as possible.
        start: a positive factor.

    Returns:
        The factor of the highest quality among those tried.
    """
    tried = {start: quality(start)}

    def is_better(factor):
        best = max(tried.values())
        if LEAST <= factor <= MOST and factor not in tried:
            tried[factor] = quality(factor)
            return tried[factor] > best
        return False

    at = start
    for direction in (STEP, 1 / STEP):
        stride = direction
        while is_better(at * stride):
            at, stride = at * stride, stride * direction
        if at != start:
            break
    return max(tried, key=tried.get)
