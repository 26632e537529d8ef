"""The process that executes runs, one after the other, from within."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from time import sleep

from recbole_vae_plugin.runs.files import LOG
from recbole_vae_plugin.system.processors import limit_threads


def work(
    connection: Connection, parent: int, folder: Path, cache: Path | None, threads: int, options: dict
) -> None:
    """Receive runs, each with the folder to work in, until the other end closes; send ("epoch", row) and
    at last ("done", result).

    Args:
        connection: to the parent, which answers each epoch with whether to go on.
        parent: its process id.
        folder: where the runs' folders go.
        cache: see ``PreparedData``.
        threads: of torch and BLAS.
        options: of ``execute``.
    """
    # Ctrl-C reaches the whole group; the parent ends its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    # RecBole's Config reads the command line by itself
    sys.argv = sys.argv[:1]
    import recbole_vae_plugin  # noqa: F401  registers the models
    from recbole_vae_plugin.integration.data.prepared import PreparedData
    from recbole_vae_plugin.runs.execution import Stopped, execute

    limit_threads(threads)
    data = PreparedData(cache)

    def tell_epoch(row: dict) -> None:
        if not ask(connection, row):
            raise Stopped

    while True:
        try:
            run, partial = connection.recv()
        except EOFError:
            return
        final = folder / run.folder
        partial.mkdir(parents=True)
        with (partial / LOG).open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        result = execute(run, partial, data, tell_epoch, **options)
        os.chdir(folder)
        # of an attempt that failed
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        tell(connection, ("done", result))


def tell(connection: Connection, message) -> None:
    """Send, or end: a run whose parent is gone has not failed, it is to be run again."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


def ask(connection: Connection, row: dict) -> bool:
    """Tell of an epoch and hear whether to go on."""
    tell(connection, ("epoch", row))
    try:
        return connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def end_with_parent(parent: int) -> None:
    """Do not outlive a parent that was killed, however early: its id comes from itself."""

    def watch() -> None:
        while os.getppid() == parent:
            sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
