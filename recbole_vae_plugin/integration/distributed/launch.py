"""Check the numbers of processes of a data-parallel run and start them with RecBole's launcher."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_vae_plugin.settings.validation import integer, refuse
from recbole_vae_plugin.system.processors import limit_threads, threads_for

DEFAULT_PORT = "5678"


def check_processes(options: argparse.Namespace) -> None:
    """Refuse impossible numbers of processes.

    Raises:
        ValueError: names the flag, the value and what is allowed.
    """
    integer("nproc", options.nproc, 1)
    integer("group_offset", options.group_offset, 0)
    if options.port and not (options.port.isdecimal() and 0 < int(options.port) < 2**16):
        refuse("port", options.port, "a whole number from 1 to 65535")
    if "TORCHELASTIC_RUN_ID" in os.environ and (options.nproc != 1 or options.world_size != -1):
        refuse("nproc", options.nproc, "neither --nproc nor --world_size under torchrun, which sets both")
    least = options.group_offset + options.nproc
    if options.world_size != -1 and options.world_size < least:
        refuse("world_size", options.world_size, f"at least {least}, which is group_offset + nproc")
    if options.group_offset and options.world_size == -1:
        refuse("world_size", None, "the number of processes on all machines, if group_offset is given")


def free_port() -> str:
    """A port on which no process is listening."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def torchrun_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The keys that RecBole's launcher would add to a rank's config, from torchrun's environment."""
    local_rank, rank = int(environment["LOCAL_RANK"]), int(environment["RANK"])
    return {
        "local_rank": local_rank,
        "offset": rank - local_rank,
        "nproc": int(environment["LOCAL_WORLD_SIZE"]),
        "world_size": int(environment["WORLD_SIZE"]),
        "ip": environment["MASTER_ADDR"],
        "port": environment["MASTER_PORT"],
    }


def launch(options: argparse.Namespace, config_files: Sequence[str]) -> None:
    """Run in this process if torchrun started it, or else in ``nproc`` processes of RecBole's launcher.

    Raises:
        RuntimeError: one of those processes failed; the others have been terminated.
    """
    import torch
    from recbole.quick_start import run, run_recbole
    from torch import distributed
    from torch.multiprocessing.spawn import ProcessException

    arguments = {"model": options.model, "dataset": options.dataset, "config_file_list": list(config_files)}
    if distributed.is_torchelastic_launched():
        run_recbole(**arguments, config_dict=torchrun_settings(os.environ))
        return
    if options.nproc == 1:
        # torch respects the CPU affinity, but not the CPU quota of a container
        limit_threads(min(torch.get_num_threads(), threads_for(1)))
    several_machines = options.world_size > options.nproc
    try:
        run(
            **arguments,
            nproc=options.nproc,
            world_size=options.world_size,
            ip=options.ip,
            port=options.port or (DEFAULT_PORT if several_machines else free_port()),
            group_offset=options.group_offset,
        )
    except ProcessException as problem:
        reason = str(problem).strip().splitlines()[-1]
        raise RuntimeError(f"process {problem.error_index} of {options.nproc} failed: {reason}") from problem
