"""The files of a source: what they are, by their first bytes, and their content without the compression."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from recbole_vae_plugin.settings.validation import Refused

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
#: First bytes of files that are read by no means -> what they are, and what to do.
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; allowed: gz, bz2, xz, zip, or decompress it first",
    b"\xd0\xcf\x11\xe0": "is an Excel file; save the sheet as CSV",
    b"SQLite format 3": "is a database; export the table as CSV",
}


@dataclass(frozen=True)
class SourceFile:
    """A file of interactions.

    Attributes:
        kind: ``text``, ``json`` or ``parquet``.
    """

    path: Path
    kind: str

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The file as it is on disk, for its position, and its content without compression.

        Raises:
            Refused: the compressed file is damaged or ends too early.
        """
        with self.path.open("rb") as raw, refusing_damage(self.path):
            opener = opener_of(self.path)
            if opener is None:
                yield raw, raw
                return
            with opener(raw) as content:
                yield raw, content


@contextmanager
def refusing_damage(path: Path) -> Iterator[None]:
    """Turn the errors of the decompressors into one that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile) as problem:
        raise Refused(f"{path}: the compressed file is damaged or incomplete: {problem}") from problem
    except OSError as problem:
        if problem.errno is not None:  # of the file system, not of bz2
            raise
        raise Refused(f"{path}: the compressed file is damaged: {problem}") from problem


def files_of(source: Path) -> list[SourceFile]:
    """The file, or the files of a folder and the folders in it, by name; hidden ones and those whose name
    begins with ``_``, such as Spark's ``_SUCCESS``, are no data.

    Raises:
        Refused: there is none, or one that cannot be read.
    """
    if not source.exists():
        raise Refused(f"SOURCE: got {str(source)!r}; allowed: an existing file or folder")
    if not source.is_dir():
        return [SourceFile(source, kind_of(source))]
    inside = (path for path in sorted(source.rglob("*")) if path.is_file())
    paths = [path for path in inside if not any(name[0] in "._" for name in path.relative_to(source).parts)]
    if not paths:
        raise Refused(f"{source}: the folder has no data files")
    return [SourceFile(path, kind_of(path)) for path in paths]


def kind_of(path: Path) -> str:
    """``parquet`` or ``json`` or ``text``, by the first bytes and then the name."""
    start = start_of(path)
    if start.startswith(b"PAR1"):
        return "parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffixes = [suffix for suffix in suffixes if suffix not in PACKED_SUFFIXES][-1:]
    for magic, problem in UNREADABLE.items():
        if start.startswith(magic):
            raise Refused(f"{path}: {problem}")
    if ".parquet" in suffixes and start:
        raise Refused(f"{path}: is not a Parquet file: it does not begin with PAR1")
    if suffixes and suffixes[0] in JSON_SUFFIXES or start.lstrip(b"\xef\xbb\xbf \r\n")[:1] == b"{":
        return "json"
    return "text"


def start_of(path: Path) -> bytes:
    """The first bytes of the content, without compression."""
    opener = opener_of(path)
    with path.open("rb") as raw, refusing_damage(path):
        return raw.read(64) if opener is None else opener(raw).read(64)


def opener_of(path: Path) -> Callable[[BinaryIO], BinaryIO] | None:
    """What decompresses a file, by its first bytes, whatever its name says; ``None`` for no compression."""
    with path.open("rb") as raw:
        start = raw.read(8)
    if start.startswith(b"\x1f\x8b"):
        return lambda raw: cast(BinaryIO, gzip.open(raw))
    if start.startswith(b"BZh"):
        return lambda raw: cast(BinaryIO, bz2.open(raw))
    if start.startswith(b"\xfd7zXZ"):
        return lambda raw: cast(BinaryIO, lzma.open(raw))
    if start.startswith(b"PK\x03\x04"):
        return lambda raw: only_member(path, raw)
    return None


def only_member(path: Path, raw: BinaryIO) -> BinaryIO:
    """The content of a zip archive of one file."""
    archive = zipfile.ZipFile(raw)
    names = [
        name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")
    ]
    if "[Content_Types].xml" in names:
        raise Refused(f"{path}: is an Excel file; save the sheet as CSV")
    if len(names) != 1:
        raise Refused(
            f"{path}: the archive has {len(names)} files; allowed: one, or a folder of extracted files"
        )
    return cast(BinaryIO, archive.open(names[0]))
