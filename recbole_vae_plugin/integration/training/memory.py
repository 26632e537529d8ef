"""Memory that a step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import sys


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of handing them back to the system.

    A training step allocates the same tens of megabytes (scores, gradients) again and again;
    fresh pages from the system would have to be zeroed each time. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold, max_int = -1, -3, 2**31 - 1
        mallopt(trim_threshold, max_int)
        mallopt(mmap_threshold, max_int)
