"""The files of a source: what they are, by their first bytes, and their content without the compression."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from recbole_vae_plugin.settings.validation import Refused

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
#: First bytes of files that are read by no means -> what they are, and what to do.
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; allowed: gz, bz2, xz, zip, or decompress it first",
    b"\xd0\xcf\x11\xe0": "is an Excel file; save the sheet as CSV",
    b"SQLite format 3": "is a database; export the table as CSV",
    b"ARROW1": "is a Feather file; save the table as Parquet or CSV",
    b"ORC": "is an ORC file; save the table as Parquet or CSV",
    b"\x89HDF": "is an HDF5 file; save the table as Parquet or CSV",
    b"\x93NUMPY": "is a NumPy file; save the interactions as Parquet or CSV",
    b"\x80\x04": "is a pickle; save the table as Parquet or CSV",
    b"\x80\x05": "is a pickle; save the table as Parquet or CSV",
}
PARQUET = b"PAR1"
#: Of the blocks of a bz2 file, and of one without any; text may begin with BZh, too.
BZ2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")


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
    begins with ``_``, such as Spark's ``_SUCCESS``, are no data. Links are followed.

    Raises:
        Refused: there is none, or one that cannot be read.
    """
    if not source.exists():
        raise Refused(f"SOURCE: got {str(source)!r}; allowed: an existing file or folder")
    paths = paths_in(source) if source.is_dir() else [source]
    if not paths:
        raise Refused(f"{source}: the folder has no data files")
    for path in paths:
        if not path.is_file():
            problem = "is a link to nothing" if path.is_symlink() else "is not a regular file; save it first"
            raise Refused(f"{path}: {problem}")
        if not os.access(path, os.R_OK):
            raise Refused(f"{path}: no permission to read it")
    return [SourceFile(path, kind_of(path)) for path in paths]


def paths_in(folder: Path) -> list[Path]:
    """What is in a folder, and in the folders in it."""

    def refuse(problem: OSError) -> NoReturn:
        raise Refused(f"{problem.filename}: the folder cannot be read: {problem.strerror}") from problem

    found, visited = [], set()
    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        # links may go round in circles
        if (real := os.path.realpath(where)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if name[0] not in "._"]
        found += [Path(where, name) for name in names if name[0] not in "._"]
    return sorted(found)


def suffix_of(path: Path) -> str:
    """The suffix in lower case, without that of the compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in PACKED_SUFFIXES), "")


def kind_of(path: Path) -> str:
    """``parquet`` or ``json`` or ``text``, by the first bytes and then the name."""
    start, suffix = start_of(path), suffix_of(path)
    if start.startswith(PARQUET) and (suffix == ".parquet" or b"\0" in start or end_of(path) == PARQUET):
        if opener_of(path) is not None:
            raise Refused(f"{path}: is a Parquet file in an archive; decompress it first")
        return "parquet"
    for magic, problem in UNREADABLE.items():
        if start.startswith(magic):
            raise Refused(f"{path}: {problem}")
    if suffix == ".parquet" and start:
        raise Refused(f"{path}: is not a Parquet file: it does not begin with PAR1")
    encoding = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if suffix in JSON_SUFFIXES or re.match(r'\s*\{\s*["}]', start.decode(encoding, "ignore")):
        return "json"
    return "text"


def end_of(path: Path) -> bytes:
    """The last four bytes on disk."""
    with path.open("rb") as raw:
        raw.seek(-min(4, path.stat().st_size), os.SEEK_END)
        return raw.read()


def start_of(path: Path) -> bytes:
    """The first bytes of the content, without compression."""
    opener = opener_of(path)
    with path.open("rb") as raw, refusing_damage(path):
        return raw.read(64) if opener is None else opener(raw).read(64)


def opener_of(path: Path) -> Callable[[BinaryIO], BinaryIO] | None:
    """What decompresses a file, by its first bytes, whatever its name says; ``None`` for no compression."""
    with path.open("rb") as raw:
        start = raw.read(16)
    if start.startswith(b"\x1f\x8b"):
        return lambda raw: cast(BinaryIO, gzip.open(raw))
    if BZ2.match(start):
        return lambda raw: cast(BinaryIO, bz2.open(raw))
    if start.startswith(b"\xfd7zXZ"):
        return lambda raw: cast(BinaryIO, lzma.open(raw))
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return lambda raw: only_member(path, raw)
    return None


def only_member(path: Path, raw: BinaryIO) -> BinaryIO:
    """The content of a zip archive of one file."""
    archive = zipfile.ZipFile(raw)
    names = [name for name in archive.namelist() if not name.endswith("/")]
    names = [name for name in names if not any(part[:1] in "._" for part in name.split("/"))]
    if "[Content_Types].xml" in names:
        raise Refused(f"{path}: is an Excel file; save the sheet as CSV")
    if len(names) != 1:
        raise Refused(
            f"{path}: the archive has {len(names)} files; allowed: one, or a folder of extracted files"
        )
    try:
        return cast(BinaryIO, archive.open(names[0]))
    except (RuntimeError, NotImplementedError) as problem:  # a password, or another compression
        raise Refused(f"{path}: cannot be extracted here: {problem}; extract it first") from problem
