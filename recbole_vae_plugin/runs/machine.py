"""The machine and the library versions behind a result, and peak memory."""

from __future__ import annotations

import contextlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recbole_vae_plugin.system.processors import usable_processors

LIBRARIES = ("recbole-vae-plugin", "recbole", "torch", "numpy", "scipy", "pandas")


def environment() -> dict:
    """Library versions and hardware, for ``result.json``."""
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed as a package"
    return {
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": usable_processors(),
        "gpu": gpu(),
    }


def processor() -> str:
    """The model name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def gpu() -> str | None:
    """The name of the GPU, or ``None`` without one."""
    from torch import cuda

    return cuda.get_device_name() if cuda.is_available() else None


def reset_peak_memory() -> None:
    """Reset the peaks of main and GPU memory, where the system can (Linux, CUDA)."""
    # elsewhere the peaks cover the whole life of the process
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    reset_peak_gpu_memory()


def reset_peak_gpu_memory() -> None:
    """Reset the peak of GPU memory only, which costs no time."""
    from torch import cuda

    if cuda.is_available():
        cuda.reset_peak_memory_stats()


def peak_memory() -> float:
    """Peak main memory of the process in MiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    # kilobytes, and on macOS bytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def peak_gpu_memory() -> float:
    """Peak GPU memory reserved by torch in MiB; 0 without a GPU."""
    from torch import cuda

    return cuda.max_memory_reserved() / 2**20 if cuda.is_available() else 0.0
