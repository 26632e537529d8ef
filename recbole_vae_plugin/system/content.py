"""Hashes of what files contain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

BLOCK = 2**22


def hash_of_files(files: Sequence[Path]) -> str:
    """The SHA-256 of the content of files, one after the other: ``sha256:...``, as ``cat FILES | sha256sum``
    has it. Files that have not changed since are not read again in the same process.

    Raises:
        OSError: a file cannot be read.
    """
    states = tuple((file, stat.st_size, stat.st_mtime_ns) for file in files if (stat := file.stat()))
    return _hash(states)


@lru_cache(maxsize=64)
def _hash(states: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for file, _, _ in states:
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"
