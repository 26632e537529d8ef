"""Loading checkpoints after a check for damage: torch does not verify checksums."""

from __future__ import annotations

import errno
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

from recbole_vae_plugin.settings.validation import Refused

#: What ``load`` returns.
T = TypeVar("T")

#: What torch and pickle raise for damaged files.
UNREADABLE = (
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnicodeDecodeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def load_whole(file: Any, load: Callable[[], T]) -> T:
    """Return ``load()``, after verifying the checksums of the archive.

    Args:
        file: the file that ``load`` reads; an open stream is not verified.
        load: reads the file.

    Raises:
        ValueError: the file is damaged, or not a checkpoint; the message names it.
        FileNotFoundError: the file does not exist.
    """
    if not isinstance(file, (str, os.PathLike)):
        return load()
    try:
        with open(file, "rb") as stream:
            damaged = zipfile.ZipFile(stream).testzip() if zipfile.is_zipfile(stream) else None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as problem:
        raise Refused(f"{file} is damaged: {problem}") from problem
    if damaged:
        raise Refused(f"{file} is damaged: {damaged} in it does not match its checksum")
    try:
        return load()
    except (*UNREADABLE, OSError) as problem:
        if (
            isinstance(problem, OSError) and problem.errno != errno.EINVAL
        ):  # EINVAL: torch, from a truncated file
            raise
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise Refused(f"{file}: is not a checkpoint, or is damaged: {reason}") from problem
