"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Hand out a file beside ``file`` to write to, which takes its place once the block has ended.

    Where the block fails, the new file is removed and the old one, if any, stays. Folders on the way
    are made.

    Raises:
        ValueError: ``file`` is a folder.
    """
    if file.is_dir():
        raise ValueError(f"{file}: is a folder; allowed: the name of a file")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    try:
        yield partial
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
