"""Memory that one training step frees is reused by the next."""

from __future__ import annotations

import ctypes
import sys


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning them to the operating system.

    Each training step allocates the same tens of megabytes (scores, gradients); new pages would have to be
    zeroed each time. This has no effect with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold, max_int = -1, -3, 2**31 - 1
        mallopt(trim_threshold, max_int)
        mallopt(mmap_threshold, max_int)
