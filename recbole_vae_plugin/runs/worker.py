"""The worker process, from inside: it executes runs one after the other."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from recbole_vae_plugin.runs.files import LOG, EpochRow
from recbole_vae_plugin.system.processors import limit_threads


def execute_runs(
    connection: Connection,
    environment: dict[str, str],
    folder: Path,
    cache: Path | None,
    threads: int,
    options: dict[str, Any],
) -> None:
    """Receive runs, each with the folder to work in, until the other end closes; send ("epoch", row) for each
    epoch and then ("done", result).

    Args:
        connection: to the parent, which answers each epoch with whether to continue.
        environment: the parent's environment variables; the fork server has those of its own start.
        folder: of all runs.
        cache: see ``PreparedData``.
        threads: for torch and BLAS.
        options: keyword arguments of ``execute``.
    """
    # Ctrl-C reaches the whole process group; the parent stops its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    os.environ.clear()
    os.environ.update(environment)
    # RecBole's Config parses sys.argv
    sys.argv = sys.argv[:1]
    import recbole_vae_plugin  # noqa: F401  registers the models
    from recbole_vae_plugin.integration.data.prepared import PreparedData
    from recbole_vae_plugin.runs.execution import Stopped, execute

    limit_threads(threads)
    # each run changes the working directory
    home = Path.cwd()
    data = PreparedData(cache)

    def on_epoch(row: EpochRow) -> None:
        if not report_epoch(connection, row):
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
        result = execute(run, partial, data, on_epoch, home=home, **options)
        os.chdir(folder)
        # left by an attempt that failed
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
        send_or_exit(connection, ("done", result))


def send_or_exit(connection: Connection, message: tuple[str, Any]) -> None:
    """Send a message, or exit: a run whose parent is gone has not failed, it will be repeated."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


def report_epoch(connection: Connection, row: EpochRow) -> bool:
    """Send the row of an epoch; returns whether to continue."""
    send_or_exit(connection, ("epoch", row))
    try:
        return connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def exit_with_parent() -> None:
    """Exit as soon as the process that started this one has gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a worker process has one"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
