"""``recbole-vae doctor``: describes the installation and the machine, and reports problems."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path

import recbole_vae_plugin
from recbole_vae_plugin import autoload
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.system.installation import (
    INSTALL_RECBOLE,
    PACKAGE,
    has_recbole,
    is_for_serving,
    what_to_run,
)

LIBRARIES = (
    "recbole",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "thop",
    "tensorboard",
    "setuptools",
    "optuna",
    "plotly",
    "wrapt",
    "safetensors",
    "ray",
    "hyperopt",
    "onnx",
    "onnxruntime",
)
GIB = 2**30
MIN_FREE_DISK = 1 * GIB


class Problem(Exception):
    """A problem with the installation, and how to solve it."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser(
        "doctor",
        help="describe the installation for a bug report, and report problems",
        description="Print versions, hardware and the state of the patches of RecBole, for a bug report. If "
        "there are problems, the exit code is 1 and the last lines explain how to solve them.",
    )
    one.set_defaults(command=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print all sections, even if one of them fails."""
    problems = []
    for title, section in SECTIONS.items():
        print(title)
        try:
            for line in section():
                print(f"  {line}")
        except Problem as problem:
            problems.append(str(problem))
            print(f"  PROBLEM: {problem}")
        except Exception as problem:
            problems.append(f"{title}: {type(problem).__name__}: {' '.join(str(problem).split())}")
            print(f"  PROBLEM: {problems[-1]}")
    if not problems:
        print("no problems found")
        return 0
    print(f"problems ({len(problems)}):")
    for line in problems:
        print(f"  {line}")
    return 1


def versions() -> Iterator[str]:
    yield f"{PACKAGE} {recbole_vae_plugin.__version__} in {Path(recbole_vae_plugin.__file__).parent}"
    yield f"python {platform.python_version()} on {platform.platform()}"
    for library in LIBRARIES:
        try:
            yield f"{library} {metadata.version(library)}"
        except metadata.PackageNotFoundError:
            yield f"{library} not installed"
    if metadata.version(PACKAGE) != recbole_vae_plugin.__version__:
        raise Problem(f"installed as version {metadata.version(PACKAGE)}; reinstall the package")
    missing = what_to_run()
    if is_for_serving():
        yield f"for serving only: {missing}"
    elif missing:
        raise Problem(missing)


def processors() -> Iterator[str]:
    import torch

    if is_for_serving():
        usable = f"{os.cpu_count()}"
    else:
        from recbole_vae_plugin.system.processors import usable_processors

        usable = f"{usable_processors()} usable of {os.cpu_count()}"
    yield f"{usable}; torch uses {torch.get_num_threads()} threads"
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "LOKY_MAX_CPU_COUNT"):
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    avx512, amx = torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()
    yield f"bfloat16 instructions: {'yes' if avx512 or amx else 'no: models train in float32'}"


def gpus() -> Iterator[str]:
    import torch

    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        yield f"{number}: {gpu.name}, {gpu.total_memory / GIB:.1f} GiB, bfloat16 {bfloat16}"
    if not torch.cuda.device_count():
        built = torch.version.cuda or torch.version.hip
        yield f"none ({f'torch was built for {built}' if built else 'torch was built without CUDA'})"
    if torch.backends.mps.is_available():
        yield "Apple's MPS is available but not used: RecBole supports only CUDA and CPUs"


def registration() -> Iterator[str]:
    if not has_recbole():
        yield "RecBole is not installed: bundles can be served, but models cannot be trained"
        return
    off = os.environ.get(autoload.SWITCH, "").lower() in autoload.OFF
    off = off or os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0"
    yield f"loaded automatically by torch: {'turned off' if off else 'yes'}"
    recbole_vae_plugin.register()
    entry_points = metadata.entry_points(group="torch.backends", name="recbole_vae_plugin")
    if {entry.value for entry in entry_points} != {"recbole_vae_plugin.autoload:after_torch"}:
        raise Problem("the entry point for torch is missing or outdated; reinstall the package")
    from recbole_vae_plugin.integration.registration import model_found_by_recbole

    for name in MODELS:
        yield f"{name}: {model_found_by_recbole(name).__module__}"


def patches() -> Iterator[str]:
    if not has_recbole():
        yield "none without RecBole"
        return
    from recbole_vae_plugin.integration.patching.applying import apply_postponed
    from recbole_vae_plugin.integration.patching.patch import APPLIED, NOT_NEEDED
    from recbole_vae_plugin.integration.patching.registry import in_order

    recbole_vae_plugin.register()
    reasons = {}
    all_patches = in_order()
    for patch in all_patches:
        try:
            import_module(patch.target)
        except Exception as problem:
            reasons[patch.target] = f" ({type(problem).__name__}: {problem})"
    apply_postponed()
    failed, outdated = [], []
    for patch in all_patches:
        yield f"{patch.state}: {patch.name} ({patch.target}){reasons.get(patch.target, '')}"
        if patch.state not in (APPLIED, NOT_NEEDED):
            failed.append(patch.name)
        if differences := patch.differences():
            outdated.append(f"{patch.name}: {', '.join(differences)}")
    if failed:
        raise Problem(
            f"patches that could not be applied: {', '.join(failed)}; they were written for RecBole 1.2.1, "
            f"try: {INSTALL_RECBOLE}"
        )
    if outdated:
        raise Problem(
            f"patches written for another version of RecBole: {'; '.join(outdated)}; try: {INSTALL_RECBOLE}"
        )


def folders() -> Iterator[str]:
    here = Path("dataset").resolve()
    names = sorted(entry.name for entry in here.iterdir() if entry.is_dir()) if here.is_dir() else []
    content = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "empty"
    yield f"data sets (data_path): {here}: {content}; ml-100k comes with RecBole"
    full = []
    for use, folder in (("results and checkpoints", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        yield f"{use}: {folder}, {free / GIB:.1f} GiB free"
        if free < MIN_FREE_DISK:
            full.append(str(folder))
        if not os.access(folder, os.W_OK):
            raise Problem(f"{folder} is not writable; run from another folder")
    if full:
        raise Problem(
            f"less than {MIN_FREE_DISK / GIB:.0f} GiB free in {' and '.join(full)}; free some space"
        )


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "versions": versions,
    "processors": processors,
    "GPUs": gpus,
    "registration with RecBole": registration,
    "patches of RecBole": patches,
    "folders": folders,
}
