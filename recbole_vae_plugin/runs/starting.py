"""How worker processes are started: forked from a server that has imported torch and RecBole, or spawned.

Importing them takes seconds. The server does it once; it computes nothing and uses no GPU, so forked workers
can use one. A forked worker must not differ from a spawned one: if this process would import something else
than the server has imported, workers are spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from functools import cache
from typing import Any

#: On other systems, system libraries do not survive a fork.
CAN_FORK = sys.platform == "linux" and not sys.flags.ignore_environment
#: The path of a socket has at most 107 bytes; this leaves some for its name.
LONGEST_FOLDER = 70
#: Prefixes of the environment variables that imports read.
READ_BY_IMPORTS = (
    *("BLIS_", "GOMP_", "GOTO_", "KMP_", "LC_", "LD_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHON"),
    *("RECBOLE_", "TORCH", "TZ"),
)

#: What decides the imports of a process: the paths, and the variables.
State = tuple[tuple[str, ...], dict[str, str]]


def context() -> Any:
    """The multiprocessing context for a new worker."""
    if not CAN_FORK or len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    return multiprocessing.get_context("forkserver" if state_of_server() == state() else "spawn")


def state() -> State:
    """That of this process, now."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(READ_BY_IMPORTS)}
    return tuple(map(os.path.abspath, sys.path)), variables


@cache
def state_of_server() -> State | None:
    """That of this process when the server was started, which the first call does; ``None`` if it could not
    be started."""
    at_start = state()
    return at_start if start_server(at_start) else None


def start_server(at_start: State) -> bool:
    """Start the fork server; returns whether it could be started.

    It imports from the paths of this process, whatever is in the folder that it is started in.
    """
    from multiprocessing import forkserver

    paths, variables = at_start
    also = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path not in paths]
    changed = {"PYTHONPATH": os.pathsep.join([*paths, *filter(None, also)]), "PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        multiprocessing.set_forkserver_preload(["recbole_vae_plugin.runs.preload"])
        forkserver.ensure_running()
    except OSError:  # a file system without sockets
        return False
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return True
