"""Checkpoints that are damaged are told apart from whole ones: torch does not compare checksums."""

from __future__ import annotations

import errno
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

from recbole_vae_plugin.settings.validation import Refused

#: What torch and pickle raise where a file is not what they wrote.
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


def load_whole(file: Any, load: Callable[[], Any]) -> Any:
    """``load()``, after the checksums of the archive have been compared.

    Args:
        file: what is loaded; an open stream is not checked.

    Raises:
        ValueError: it is damaged, or not a checkpoint; names the file.
        FileNotFoundError: there is no such file.
    """
    if not isinstance(file, (str, os.PathLike)):
        return load()
    try:
        with open(file, "rb") as stream:
            damaged = zipfile.ZipFile(stream).testzip() if zipfile.is_zipfile(stream) else None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as problem:
        raise Refused(f"{file} is damaged: {problem}") from problem
    if damaged:
        raise Refused(f"{file} is damaged: {damaged} in it is not what was written")
    try:
        return load()
    except (*UNREADABLE, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:  # which torch gets from a cut file
            raise
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise Refused(f"{file}: is no checkpoint, or a damaged one: {reason}") from problem
