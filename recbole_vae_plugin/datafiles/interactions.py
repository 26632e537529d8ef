"""The interactions of a source, as numbers: what is held in memory of each row is 36 bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recbole_vae_plugin.datafiles.chunks import Chunk, Reader
from recbole_vae_plugin.datafiles.columns import choose_columns, describe_columns, describe_others, plain
from recbole_vae_plugin.datafiles.json_lines import JsonReader
from recbole_vae_plugin.datafiles.opening import SourceFile
from recbole_vae_plugin.datafiles.text import TextOptions, TextReader
from recbole_vae_plugin.datafiles.values import Times, Vocabulary, numbers_of
from recbole_vae_plugin.settings.validation import Refused

ROLES = ("user", "item", "rating", "timestamp")


@dataclass(frozen=True)
class Interactions:
    """Interactions in the order in which they were read.

    Attributes:
        users, items: numbers of the ids, int32 ``[n]``.
        ratings, times: float64 ``[n]``, times in seconds since 1970; ``None`` if there are none.
        lines: int64 ``[n]``, and ``files``, int32 ``[n]``: where each was read.
        user_ids, item_ids: the ids by their numbers.
        paths: the files.
    """

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray | None
    times: np.ndarray | None
    lines: np.ndarray
    files: np.ndarray
    user_ids: list[str]
    item_ids: list[str]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: np.ndarray) -> Interactions:
        """Some of the interactions; bool ``[n]`` or their places."""
        return replace(
            self,
            users=self.users[rows],
            items=self.items[rows],
            ratings=None if self.ratings is None else self.ratings[rows],
            times=None if self.times is None else self.times[rows],
            lines=self.lines[rows],
            files=self.files[rows],
        )

    def place(self, row: int) -> str:
        """File and line of an interaction."""
        return f"{self.paths[self.files[row]]}, line {self.lines[row]}"


@dataclass
class Read:
    """What was read from a source.

    Attributes:
        interactions: the rows that have all values.
        rows: number of rows in the files.
        missing: role -> rows without a value of it; a row counts once.
        first_missing: role -> file and line of the first of them.
        columns: which column was taken for what.
        time_form: of the timestamps.
        spaces: number of ids with a space at an end.
    """

    interactions: Interactions
    rows: int
    missing: Counter[str]
    first_missing: dict[str, str]
    columns: str
    time_form: str | None
    spaces: int


@dataclass
class Collector:
    """Turns the chunks of all files into :class:`Interactions`."""

    times: Times
    missing_allowed: bool
    users: Vocabulary = field(default_factory=lambda: Vocabulary("user"))
    items: Vocabulary = field(default_factory=lambda: Vocabulary("item"))
    rows: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    first_missing: dict[str, str] = field(default_factory=dict)
    parts: list[dict[str, np.ndarray]] = field(default_factory=list)

    def add(self, chunk: Chunk, file_number: int) -> None:
        """Add the rows that have all values, and count the others by the first that is missing."""
        columns: dict[str, np.ndarray] = {"user": self.users.encode(chunk), "item": self.items.encode(chunk)}
        if "rating" in chunk.columns:
            columns["rating"] = numbers_of(chunk, "rating")
        if "timestamp" in chunk.columns:
            columns["timestamp"] = self.times.seconds(chunk)
        complete = np.ones(len(chunk), dtype=bool)
        for role, values in columns.items():
            missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
            self._count_missing(chunk, role, complete & missing)
            complete &= ~missing
        columns["line"] = np.asarray(chunk.lines, dtype=np.int64)
        columns["file"] = np.full(len(chunk), file_number, dtype=np.int32)
        self.rows += len(chunk)
        self.parts.append({name: values[complete] for name, values in columns.items()})

    def _count_missing(self, chunk: Chunk, role: str, missing: np.ndarray) -> None:
        if not missing.any():
            return
        row = int(missing.argmax())
        if not self.missing_allowed:
            chunk.refuse(row, f"no {role}; --missing drop leaves such rows out")
        self.missing[role] += int(missing.sum())
        self.first_missing.setdefault(role, f"{chunk.file}, line {chunk.lines[row]}")

    def collected(self, paths: list[Path]) -> Interactions:
        """All rows so far."""
        columns = {}
        for name in list(self.parts[0]):
            columns[name] = np.concatenate([part.pop(name) for part in self.parts])
        return Interactions(
            columns["user"],
            columns["item"],
            columns.get("rating"),
            columns.get("timestamp"),
            columns["line"],
            columns["file"],
            self.users.ids,
            self.items.ids,
            paths,
        )


def open_reader(file: SourceFile, options: TextOptions) -> Reader:
    """The reader of a file's format."""
    if file.kind == "parquet":
        from recbole_vae_plugin.datafiles.parquet import ParquetReader

        return ParquetReader(file)
    return JsonReader(file, options.encoding) if file.kind == "json" else TextReader(file, options)


def read_interactions(
    files: Iterable[SourceFile],
    wanted: Mapping[str, str | None],
    options: TextOptions,
    time_form: str | None,
    missing: str,
    progress: Callable[[int], object] = lambda position: None,
) -> Read:
    """Read the interactions of a source, in chunks.

    Args:
        files: of the source.
        wanted: role -> column; see :func:`~recbole_vae_plugin.datafiles.columns.choose_columns`.
        options: how text is read.
        time_form: see :class:`~recbole_vae_plugin.datafiles.values.Times`.
        missing: ``drop`` or ``error``: what to do with rows without a value.
        progress: called with the bytes read so far.

    Raises:
        Refused: names the file, the line and what is wrong.
    """
    collector = Collector(Times(time_form), missing_allowed=missing == "drop")
    paths: list[Path] = []
    roles, columns, bytes_before = None, "", 0
    first: dict[str, str] = {}
    for file in files:
        reader = open_reader(file, options)
        if reader.width:
            chosen = choose_columns(reader.names, reader.width, wanted, file.path)
            if roles is None:
                roles = chosen.keys()
                first = {role: reader.names[place] for role, place in chosen.items()} if reader.names else {}
                columns = describe_columns(chosen, reader.names) + describe_others(chosen, reader.names)
            if paths and (reader.names is None) != (not first):
                has, had = ("no header", "one") if reader.names is None else ("a header", "none")
                raise Refused(
                    f"{file.path}: has {has}, {paths[0]} has {had}; all files must have the same "
                    "columns: give --header or --no-header"
                )
            header = reader.names or []
            for role, place in chosen.items() if header and first else ():
                if plain(name := header[place]) != plain(first.get(role, name)):
                    raise Refused(
                        f"{file.path}: the {role}'s column is {name}, in {paths[0]} it is {first[role]}; "
                        "the columns of all files must have the same names"
                    )
            if chosen.keys() != roles:
                raise Refused(
                    f"{file.path}: has columns for {', '.join(chosen)}, {paths[0]} for {', '.join(roles)}; "
                    "name them, or give none, as in --rating none"
                )
            paths.append(file.path)
            for chunk in reader.chunks(chosen):
                collector.add(chunk, len(paths) - 1)
                progress(bytes_before + chunk.position)
        bytes_before += file.size
        progress(bytes_before)
    if not collector.rows:
        names = ", ".join(str(file.path) for file in files)
        raise Refused(f"{names}: there are no interactions")
    return Read(
        collector.collected(paths),
        collector.rows,
        collector.missing,
        collector.first_missing,
        columns,
        collector.times.form,
        collector.users.spaces + collector.items.spaces,
    )
