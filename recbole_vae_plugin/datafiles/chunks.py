"""What every reader yields: some rows of a file, with their lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from recbole_vae_plugin.settings.validation import Refused

#: Rows that are held as text at a time.
CHUNK_ROWS = 50_000


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file.

    Attributes:
        lines: the line of each row, from 1; in Parquet files the row.
        columns: role (``user``, ``item``, ``rating``, ``timestamp``) -> values: texts with ``None`` for
            missing ones, or numbers or times with NaN or NaT.
        position: bytes of the file that have been read.
    """

    file: Path
    lines: Sequence[int]
    columns: dict[str, pd.Series]
    position: int

    def __len__(self) -> int:
        return len(self.lines)

    def refuse(self, row: int, problem: str) -> Any:
        """Raise an error that names the file and the line of a row."""
        raise Refused(f"{self.file}, line {self.lines[row]}: {problem}")


class Reader(Protocol):
    """An opened source file."""

    @property
    def names(self) -> list[str] | None:
        """The names of the columns; ``None`` if the file does not say."""
        ...

    @property
    def width(self) -> int:
        """The number of columns; 0 in an empty file."""
        ...

    def chunks(self, columns: dict[str, int]) -> Iterator[Chunk]:
        """The rows, in their order.

        Args:
            columns: role -> position of its column.
        """
        ...


def texts(values: Sequence[Any]) -> pd.Series:
    """A column of texts and ``None``."""
    return pd.Series(values, dtype=object)
