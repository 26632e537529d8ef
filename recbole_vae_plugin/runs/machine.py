"""Where a result was made, and how much memory the making took."""

from __future__ import annotations

import contextlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recbole_vae_plugin.system.processors import usable_processors

LIBRARIES = ("recbole-vae-plugin", "recbole", "torch", "numpy", "scipy", "pandas")


def environment() -> dict:
    """Versions and machine, in words."""
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
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def gpu() -> str | None:
    from torch import cuda

    return cuda.get_device_name() if cuda.is_available() else None


def forget_peak_memory() -> None:
    """Start measuring the peaks anew, where the system can (Linux, CUDA)."""
    # elsewhere peaks are those of the process's whole life
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    forget_peak_gpu_memory()


def forget_peak_gpu_memory() -> None:
    """The part of :func:`forget_peak_memory` that needs no pause."""
    from torch import cuda

    if cuda.is_available():
        cuda.reset_peak_memory_stats()


def peak_memory() -> float:
    """MiB of main memory that the process held at once."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    # kilobytes, and on macOS bytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def peak_gpu_memory() -> float:
    """MiB of GPU memory that torch held at once; 0 without a GPU."""
    from torch import cuda

    return cuda.max_memory_reserved() / 2**20 if cuda.is_available() else 0.0
