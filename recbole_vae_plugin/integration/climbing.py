"""The best positive factor, found by trying."""

from __future__ import annotations

from collections.abc import Callable

STEP = 1.25
#: Where there is no top, the climb ends.
LEAST, MOST = 2.0**-10, 2.0**10


def climb(quality: Callable[[float], float], start: float) -> float:
    """Walk from ``start`` in factors of :data:`STEP`, with longer and longer strides, first down as long
    as that is not worse, and else up as long as it is better.

    Down means across a plateau, too: metrics are rounded, and where a factor is so large that it alone
    counts, a step changes none of their digits.

    Args:
        quality: what is to be as large as possible.
        start: a positive factor.

    Returns:
        The factor where the walk ended, which has the highest quality met.
    """
    at, best = start, quality(start)
    for step, is_reason_to_go in ((1 / STEP, float.__ge__), (STEP, float.__gt__)):
        stride = step
        while LEAST <= at * stride <= MOST and is_reason_to_go(found := quality(at * stride), best):
            at, best, stride = at * stride, found, stride * step
        if at != start:
            break
    return at
