"""The best positive factor, found by trying."""

from __future__ import annotations

from collections.abc import Callable

STEP = 1.25
#: Where quality has no top, the search ends here.
MIN_FACTOR, MAX_FACTOR = 2.0**-10, 2.0**10


def line_search(quality: Callable[[float], float], start: float) -> float:
    """Walk from ``start`` in factors of :data:`STEP`, with longer and longer strides, down until it gets
    worse, and, unless that found something better, up until it gets worse.

    A walk crosses plateaus and does not settle on them: metrics are rounded, and where a factor is so
    large or so small that only one side counts, a step changes none of their digits.

    Args:
        quality: what is to be as large as possible.
        start: a factor; one beyond :data:`MIN_FACTOR` or :data:`MAX_FACTOR` begins there.

    Returns:
        The factor with the highest quality met; of equal ones the first.
    """
    start = min(max(start, MIN_FACTOR), MAX_FACTOR)
    top, best = start, quality(start)
    for step in (1 / STEP, STEP):
        at, stride = start * step, step
        while MIN_FACTOR <= at <= MAX_FACTOR and (found := quality(at)) >= best:
            if found > best:
                top, best = at, found
            stride *= step
            at *= stride
        if top != start:
            break
    return top
