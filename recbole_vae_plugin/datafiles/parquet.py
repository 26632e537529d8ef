"""Parquet, read in batches of the needed columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from recbole_vae_plugin.datafiles.chunks import CHUNK_ROWS, Chunk, texts
from recbole_vae_plugin.datafiles.opening import SourceFile
from recbole_vae_plugin.settings.validation import Refused

ID_ROLES = ("user", "item", "title")
#: Whole numbers up to here are exact in float64.
MAX_EXACT = 2**53


class ParquetReader:
    """Reads a Parquet file.

    Raises:
        Refused: pyarrow is not installed, or the file is damaged or has columns of other types.
    """

    def __init__(self, file: SourceFile) -> None:
        try:
            import pyarrow as arrow
            from pyarrow import parquet
        except ModuleNotFoundError as problem:
            raise Refused(
                f'{file.path}: Parquet needs pyarrow; run: pip install "recbole-vae-plugin[data]"'
            ) from problem
        self.file, self._error = file, arrow.ArrowException
        try:
            # Spark's times, of which nanoseconds are of some years only
            self._parquet = parquet.ParquetFile(file.path, coerce_int96_timestamp_unit="us")
        except (arrow.ArrowException, OSError) as problem:
            raise self._damaged(problem) from problem
        self.names: list[str] = list(self._parquet.schema_arrow.names)
        self.width = len(self.names)

    def chunks(self, columns: dict[str, int]) -> Iterator[Chunk]:
        names = {role: self.names[place] for role, place in columns.items()}
        for name in names.values():
            if self.names.count(name) > 1:
                raise Refused(
                    f"{self.file.path}: {self.names.count(name)} columns are named {name}; rename them"
                )
        n_rows, row = self._parquet.metadata.num_rows, 0
        try:
            for batch in self._parquet.iter_batches(CHUNK_ROWS, columns=list(names.values())):
                lines = range(row + 1, row + batch.num_rows + 1)
                row += batch.num_rows
                found = {role: self._column(role, name, batch.column(name)) for role, name in names.items()}
                yield Chunk(self.file.path, lines, found, int(self.file.size * row / n_rows))
        except (self._error, OSError) as problem:
            raise self._damaged(problem) from problem

    def _column(self, role: str, name: str, values: Any) -> pd.Series:
        try:
            return self._converted(role, name, values)
        except UnicodeDecodeError as problem:
            raise Refused(f"{self.file.path}: the column {name} has texts that are not UTF-8") from problem
        except OverflowError as problem:
            raise Refused(f"{self.file.path}: the column {name} has times after the year 9999") from problem

    def _converted(self, role: str, name: str, values: Any) -> pd.Series:
        """Ids as texts, numbers as float64, times as times or as what they are stored as."""
        from pyarrow import types

        if types.is_dictionary(values.type):
            values = values.dictionary_decode()
        kind = values.type
        text = types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
        text = text or types.is_string_view(kind)
        whole = types.is_integer(kind)
        if text or (whole and role in ID_ROLES):
            found = values.to_pylist()
            return texts(found if text else [None if value is None else str(value) for value in found])
        if types.is_floating(kind) and role in ID_ROLES:
            return texts([self._whole(name, value) for value in values.to_pylist()])
        if types.is_decimal(kind) and kind.scale == 0 and role in ID_ROLES:
            return texts([None if value is None else str(int(value)) for value in values.to_pylist()])
        if types.is_floating(kind) and kind.bit_width < 64:
            # 4.1 as it was before it was rounded to float32, not 4.099999904632568
            short = np.float32 if kind.bit_width == 32 else np.float16
            return pd.Series(
                [np.nan if each is None else float(str(short(each))) for each in values.to_pylist()]
            )
        if role not in ID_ROLES and (whole or types.is_floating(kind) or types.is_decimal(kind)):
            numbers = [float("nan") if value is None else float(value) for value in values.to_pylist()]
            return pd.Series(numbers, dtype="float64")
        if role == "timestamp" and (types.is_timestamp(kind) or types.is_date(kind)):
            return pd.Series(pd.to_datetime(pd.Series(values.to_pylist(), dtype=object), utc=True))
        allowed = "texts or whole numbers" if role in ID_ROLES else "numbers or texts"
        allowed += ", or times" if role == "timestamp" else ""
        raise Refused(
            f"{self.file.path}: the column {name} of type {kind} cannot be the {role}'s; allowed: {allowed}"
        )

    def _whole(self, name: str, value: float | None) -> str | None:
        """An id that was stored as a number with decimals, as pandas does where some are missing."""
        if value is None or value != value:
            return None
        if not value.is_integer() or abs(value) >= MAX_EXACT:
            raise Refused(
                f"{self.file.path}: the column {name} has {value!r}; allowed for ids: texts or whole numbers"
            )
        return str(int(value))

    def _damaged(self, problem: Exception) -> Refused:
        return Refused(f"{self.file.path}: the Parquet file is damaged: {' '.join(str(problem).split())}")
