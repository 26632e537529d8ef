"""How worker processes are started: forked from a server that has imported torch and RecBole, or spawned.

Their import takes seconds. The server does it once, and computes nothing, so that it holds no GPU. A forked
worker must not differ from a spawned one: where this process would now import something else than the server
has imported, workers are spawned.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from typing import Any

#: Elsewhere, libraries of the system do not survive a fork.
CAN_FORK = sys.platform == "linux" and not sys.flags.ignore_environment
#: The path of a socket has at most 107 bytes; this leaves some for its name.
LONGEST_FOLDER = 70
#: Variables that are read by an import begin so.
READ_BY_IMPORTS = (
    *("BLIS_", "GOMP_", "GOTO_", "KMP_", "LC_", "LD_", "MKL_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHON"),
    *("RECBOLE_", "TORCH", "TZ"),
)

#: What decides the imports of this process: the paths, and the variables.
State = tuple[tuple[str, ...], dict[str, str]]
#: That of the server's start; ``None`` if it could not be started, empty before.
_of_server: list[State | None] = []


def context() -> Any:
    """The multiprocessing context for a new worker."""
    if not CAN_FORK or len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        return multiprocessing.get_context("spawn")
    variables = {name: value for name, value in os.environ.items() if name.startswith(READ_BY_IMPORTS)}
    state = tuple(map(os.path.abspath, sys.path)), variables
    if not _of_server:
        _of_server.append(state if start_server(state) else None)
    return multiprocessing.get_context("forkserver" if _of_server[0] == state else "spawn")


def start_server(state: State) -> bool:
    """Start the fork server; returns whether it could be started.

    It imports from the paths of this process, whatever is in the folder that it is started in.
    """
    from multiprocessing import forkserver

    paths, variables = state
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
