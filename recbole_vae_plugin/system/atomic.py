"""Atomic file writes that survive power cuts, and temporary folders that are removed even after a kill."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

from recbole_vae_plugin.settings.validation import Refused

#: Seconds after which a temporary file is considered abandoned, if its process cannot be looked up.
ABANDONED_AFTER = 24 * 3600
PARTIAL = re.compile(r"\..+\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.[0-9a-f]{12}\.partial")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(file: Path, size: int | None = None) -> Iterator[Path]:
    """Write a file atomically: a context manager whose target is a new file that finally replaces ``file``.

    The file is replaced when the block has ended and its data has reached the disk. If the block fails, the
    new file is removed and the old one, if any, remains. Parent folders are created. Concurrent writers do
    not disturb each other: the last one to finish wins.

    Args:
        file: the file to create or replace.
        size: the number of bytes to be written, if known, for the error message if the disk is full.

    Raises:
        ValueError: ``file`` is a folder.
        OSError: the disk is full; the message names the file that was not written.
    """
    if file.is_dir():
        raise Refused(f"{file}: is a folder; allowed: the name of a file")
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(file.parent)
    partial = partial_of(file)
    # exclusive, so that no existing file or link is written to; with the default permissions
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield partial
        _reach_disk(partial)
        partial.replace(file)
        _reach_disk(file.parent)
    except (OSError, RuntimeError) as problem:
        if not _disk_is_full(problem, file.parent):
            raise
        needed = f", of {size / 2**20:,.1f} MiB" if size else ""
        free = _free(file.parent) / 2**20
        kept = "; the existing file has been kept" if file.exists() else ""
        raise OSError(
            errno.ENOSPC, f"the disk is full: {file}{needed}, was not written ({free:,.1f} MiB free){kept}"
        ) from problem
    finally:
        partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text atomically, in UTF-8."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A context manager that creates a private folder next to ``path``, and removes it at the end.

    If the process is killed, the next one to create such a folder in the same place removes it.
    """
    remove_left_over(path.parent)
    folder = partial_of(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def partial_of(path: Path, process: int | None = None) -> Path:
    """A unique name next to ``path`` for an incomplete file or folder, which identifies its process.

    Args:
        path: the final name.
        process: the id of the process; by default this one.
    """
    return path.with_name(f".{path.name}.{_host()}.{process or os.getpid()}.{secrets.token_hex(6)}.partial")


def remove_left_over(folder: Path) -> None:
    """Remove the incomplete files and folders that killed processes have left in a folder."""
    for entry in os.scandir(folder):
        match = PARTIAL.fullmatch(entry.name)
        if match and _is_abandoned(entry, match["host"], int(match["pid"])):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _is_abandoned(entry: os.DirEntry[str], host: str, pid: int) -> bool:
    if host == _host() and os.name == "posix":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
    with contextlib.suppress(OSError):
        # the age of a folder is that of its newest file
        within = Path(entry.path).iterdir() if entry.is_dir(follow_symlinks=False) else ()
        newest = max(path.lstat().st_mtime for path in (Path(entry.path), *within))
        return time() - newest > ABANDONED_AFTER
    return False


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname()) or "host"


def _reach_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, would survive a power cut, if the system supports it."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno in DISK_FULL:
            raise
    finally:
        os.close(descriptor)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _disk_is_full(problem: Exception, folder: Path) -> bool:
    """Whether an error was caused by a full disk; torch raises errors of its own."""
    if isinstance(problem, OSError):
        return problem.errno in DISK_FULL
    by_torch = "inline_container" in str(problem) or "PytorchStreamWriter" in str(problem)
    return by_torch and _free(folder) < 2**26
