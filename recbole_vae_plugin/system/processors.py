"""The number of processors that this process may use, and of the threads to run on them."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """The number of processors that this process may use, at least 1, rather than that of the machine.

    The minimum of the affinity mask (``taskset``, Slurm, ``docker --cpuset-cpus``), the quota of a
    container (``docker --cpus``, Kubernetes; rounded up), ``LOKY_MAX_CPU_COUNT``, and on Slurm
    ``SLURM_CPUS_PER_TASK``.
    """
    from joblib import cpu_count

    of_slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    count = cpu_count()
    return max(1, min(count, int(of_slurm))) if of_slurm.isdecimal() else count


def threads_for(jobs: int) -> int:
    """The number of threads for each of ``jobs`` concurrent processes.

    A fair share of the processors, but at most ``OMP_NUM_THREADS`` if it is set.
    """
    share = max(1, usable_processors() // jobs)
    asked_for = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked_for)) if asked_for.isdecimal() and int(asked_for) else share


def limit_threads(threads: int) -> None:
    """Limit the threads of torch, and of the BLAS of numpy and scipy, in this process."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)
