"""The processes of a data-parallel run: their numbers checked, then handed to RecBole's launcher."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Mapping, Sequence

from recbole_vae_plugin.settings.validation import integer, refuse
from recbole_vae_plugin.system.processors import limit_threads, threads_for

USUAL_PORT = "5678"


def check_processes(options: argparse.Namespace) -> None:
    """Refuse numbers of processes that cannot be.

    Raises:
        ValueError: names the flag, the value and what is allowed.
    """
    integer("nproc", options.nproc, 1)
    integer("group_offset", options.group_offset, 0)
    if options.port and not (options.port.isdecimal() and 0 < int(options.port) < 2**16):
        refuse("port", options.port, "a whole number from 1 to 65535")
    if "TORCHELASTIC_RUN_ID" in os.environ and (options.nproc != 1 or options.world_size != -1):
        refuse("nproc", options.nproc, "none of --nproc and --world_size under torchrun, which sets both")
    least = options.group_offset + options.nproc
    if options.world_size != -1 and options.world_size < least:
        refuse("world_size", options.world_size, f"at least {least}, which is group_offset + nproc")
    if options.group_offset and options.world_size == -1:
        refuse("world_size", None, "the number of processes on all machines, where group_offset is given")


def free_port() -> str:
    """A port that no one listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def settings_of_torchrun(environment: Mapping[str, str]) -> dict:
    """What RecBole's launcher would put into a rank's config, from what torchrun tells the rank."""
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
    """Run in this process, as a rank of torchrun's, or in ``nproc`` processes of RecBole's launcher.

    Raises:
        RuntimeError: one of those processes failed; the others have been ended.
    """
    import torch
    from recbole.quick_start import run, run_recbole
    from torch import distributed
    from torch.multiprocessing.spawn import ProcessException

    what = {"model": options.model, "dataset": options.dataset, "config_file_list": list(config_files)}
    if distributed.is_torchelastic_launched():
        run_recbole(**what, config_dict=settings_of_torchrun(os.environ))
        return
    if options.nproc == 1:
        # torch heeds the affinity mask, but not the quota of a container
        limit_threads(min(torch.get_num_threads(), threads_for(1)))
    several_machines = options.world_size > options.nproc
    try:
        run(
            **what,
            nproc=options.nproc,
            world_size=options.world_size,
            ip=options.ip,
            port=options.port or (USUAL_PORT if several_machines else free_port()),
            group_offset=options.group_offset,
        )
    except ProcessException as problem:
        reason = str(problem).strip().splitlines()[-1]
        raise RuntimeError(f"process {problem.error_index} of {options.nproc} failed: {reason}") from problem
