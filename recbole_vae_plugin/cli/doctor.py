"""``recbole-vae doctor``: what is installed, what it runs on, and what is wrong with it."""

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
LEAST_DISK = 1 * GIB


class Problem(Exception):
    """Something that keeps the package from working, with what to do about it."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser(
        "doctor",
        help="describe the installation, for a bug report, and say what is wrong",
        description="Print the versions, the machine and the patches of RecBole, to be pasted into a bug "
        "report. The exit code is 1 where there is a problem; the last lines then say what to do.",
    )
    one.set_defaults(command=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print every section; a section that fails does not keep the others from being printed."""
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
        raise Problem(f"installed as version {metadata.version(PACKAGE)}; install the package again")
    missing = what_to_run()
    if is_for_serving():
        yield f"for serving alone: {missing}"
    elif missing:
        raise Problem(missing)


def processors() -> Iterator[str]:
    import torch

    if is_for_serving():
        usable = f"{os.cpu_count()}"
    else:
        from recbole_vae_plugin.system.processors import usable_processors

        usable = f"{usable_processors()} usable of {os.cpu_count()}"
    yield f"{usable}; torch takes {torch.get_num_threads()} threads"
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "LOKY_MAX_CPU_COUNT"):
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
    avx512, amx = torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()
    yield f"bfloat16 instructions: {'yes' if avx512 or amx else 'no: models train in float32'}"


def gpus() -> Iterator[str]:
    import torch

    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        yield f"{number}: {found.name}, {found.total_memory / GIB:.1f} GiB, bfloat16 {bfloat16}"
    if not torch.cuda.device_count():
        built = torch.version.cuda or torch.version.hip
        yield f"none ({f'torch was built for {built}' if built else 'torch was built without CUDA'})"
    if torch.backends.mps.is_available():
        yield "Apple's MPS is there and is not used: RecBole knows CUDA and processors"


def registration() -> Iterator[str]:
    if not has_recbole():
        yield "RecBole is not installed: bundles can be served, nothing can be trained"
        return
    off = os.environ.get(autoload.SWITCH, "").lower() in autoload.OFF
    off = off or os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0"
    yield f"torch loads the package by itself: {'turned off' if off else 'yes'}"
    recbole_vae_plugin.register()
    entry_points = metadata.entry_points(group="torch.backends", name="recbole_vae_plugin")
    if {entry.value for entry in entry_points} != {"recbole_vae_plugin.autoload:after_torch"}:
        raise Problem("the entry point for torch is missing or outdated; install the package again")
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
    every = in_order()
    for patch in every:
        try:
            import_module(patch.target)
        except Exception as problem:
            reasons[patch.target] = f" ({type(problem).__name__}: {problem})"
    apply_postponed()
    failed, outdated = [], []
    for patch in every:
        yield f"{patch.state}: {patch.name} ({patch.target}){reasons.get(patch.target, '')}"
        if patch.state not in (APPLIED, NOT_NEEDED):
            failed.append(patch.name)
        if differences := patch.differences():
            outdated.append(f"{patch.name}: {', '.join(differences)}")
    if failed:
        raise Problem(
            f"patches of RecBole that did not apply: {', '.join(failed)}; they were written for RecBole "
            f"1.2.1, try: {INSTALL_RECBOLE}"
        )
    if outdated:
        raise Problem(
            f"patches that were read against another RecBole than this one: {'; '.join(outdated)}; try: "
            f"{INSTALL_RECBOLE}"
        )


def folders() -> Iterator[str]:
    here = Path("dataset").resolve()
    names = sorted(entry.name for entry in here.iterdir() if entry.is_dir()) if here.is_dir() else []
    holds = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "nothing yet"
    yield f"data sets (data_path): {here}: {holds}; ml-100k comes with RecBole"
    short = []
    for what, folder in (("results and checkpoints", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        yield f"{what}: {folder}, {free / GIB:.1f} GiB free"
        if free < LEAST_DISK:
            short.append(str(folder))
        if not os.access(folder, os.W_OK):
            raise Problem(f"{folder} cannot be written to; run from another folder")
    if short:
        raise Problem(f"less than {LEAST_DISK / GIB:.0f} GiB free in {' and '.join(short)}; make room there")


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "versions": versions,
    "processors": processors,
    "GPUs": gpus,
    "registration with RecBole": registration,
    "patches of RecBole": patches,
    "folders": folders,
}
