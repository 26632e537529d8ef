"""Files that are written whole or not at all, also across a power cut; folders that no kill leaves behind."""

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

#: Seconds after which a temporary file is left over, where its process cannot be asked.
LEFT_OVER = 24 * 3600
PARTIAL = re.compile(r"\..+\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.[0-9a-f]{12}\.partial")
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(file: Path, size: int | None = None) -> Iterator[Path]:
    """Hand out a new file in the folder of ``file`` to write to, which takes its place once the block has
    ended and what it wrote has reached the disk.

    Where the block fails, the new file is removed and the old one, if any, stays. Folders on the way
    are made. Two writers do not disturb each other: the one that ends last wins.

    Args:
        size: bytes that are going to be written, if they are known, for the message of a full disk.

    Raises:
        ValueError: ``file`` is a folder.
        OSError: the disk is full; the message says which file was not written.
    """
    if file.is_dir():
        raise Refused(f"{file}: is a folder; allowed: the name of a file")
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(file.parent)
    partial = partial_of(file)
    # exclusive, so that nobody's file or link is written to; with the usual permissions
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
        kept = "; the file that was there has been kept" if file.exists() else ""
        raise OSError(
            errno.ENOSPC, f"the disk is full: {file}{needed}, was not written ({free:,.1f} MiB free){kept}"
        ) from problem
    finally:
        partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with replacing(file) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside ``path``, for this user alone, that is gone once the block has ended.

    If the process is killed, the next one that makes such a folder there removes it."""
    remove_left_over(path.parent)
    folder = partial_of(path)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def partial_of(path: Path, process: int | None = None) -> Path:
    """A name beside ``path`` that nobody else has, by which others see whose it is while it is not whole.

    Args:
        process: the id of the one that writes it; by default this one.
    """
    return path.with_name(f".{path.name}.{_host()}.{process or os.getpid()}.{secrets.token_hex(6)}.partial")


def remove_left_over(folder: Path) -> None:
    """Remove what processes that were killed have left in a folder: files and folders that are not whole."""
    for entry in os.scandir(folder):
        match = PARTIAL.fullmatch(entry.name)
        if match and _is_left_over(entry, match["host"], int(match["pid"])):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _is_left_over(entry: os.DirEntry, host: str, pid: int) -> bool:
    if host == _host() and os.name == "posix":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
    with contextlib.suppress(OSError):
        # a folder is as old as the file that was written last
        within = Path(entry.path).iterdir() if entry.is_dir(follow_symlinks=False) else ()
        newest = max(path.lstat().st_mtime for path in (Path(entry.path), *within))
        return time() - newest > LEFT_OVER
    return False


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname()) or "host"


def _reach_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut, where systems can."""
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno in FULL:
            raise
    finally:
        os.close(descriptor)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _disk_is_full(problem: Exception, folder: Path) -> bool:
    """Whether that is why something failed; torch says it in words of its own."""
    if isinstance(problem, OSError):
        return problem.errno in FULL
    by_torch = "inline_container" in str(problem) or "PytorchStreamWriter" in str(problem)
    return by_torch and _free(folder) < 2**26
