"""How many processors this process may use, and the threads of what runs on them."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Processors that this process may use, at least 1; not those that the machine has.

    The least of the affinity mask (``taskset``, Slurm, ``docker --cpuset-cpus``), the quota of a
    container (``docker --cpus``, Kubernetes; rounded up), ``LOKY_MAX_CPU_COUNT``, and on Slurm
    ``SLURM_CPUS_PER_TASK``.
    """
    from joblib import cpu_count

    of_slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    count = cpu_count()
    return max(1, min(count, int(of_slurm))) if of_slurm.isdecimal() else count


def threads_for(jobs: int) -> int:
    """Threads of each of ``jobs`` processes that run at the same time: a fair share, and no more than
    ``OMP_NUM_THREADS`` where it is set."""
    share = max(1, usable_processors() // jobs)
    asked_for = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked_for)) if asked_for.isdecimal() and int(asked_for) else share


def limit_threads(threads: int) -> None:
    """Have torch, and the BLAS of numpy and scipy, use so many threads in this process at most."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)
