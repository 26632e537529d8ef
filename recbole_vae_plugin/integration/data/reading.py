"""Reading RecBole's atomic files: fast, completely, and with file and line in error messages."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch, module_with
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.validation import Refused

if TYPE_CHECKING:
    import pandas as pd


@repair(
    "recbole.data.dataset.dataset",
    replaces={"pd": None},
    reads={"Dataset._load_feat": "13dd88f0"},
    after=("read_tables_as_pandas_2_does",),
)
def read_files_fast_and_completely(patch: Patch, dataset: ModuleType) -> None:
    """RecBole parses its files with pandas' Python engine, which is about ten times slower than the C engine
    and gives the same result, floats to the last bit; and it reads a quotation mark as the start of a quoted
    field, which may span hundreds of lines."""
    read_csv = dataset.pd.read_csv

    @functools.wraps(read_csv)
    def read_faster(
        file: str | Path, *args: Any, delimiter: str, engine: str | None = None, **kwargs: Any
    ) -> pd.DataFrame:
        # atomic files have no quoting
        kwargs |= {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
        try:
            if len(delimiter) > 1:  # only the Python engine supports regular expressions
                return read_csv(file, *args, engine=engine, **kwargs)
            table = read_csv(file, *args, engine="c", **kwargs)
        except (ValueError, OverflowError) as problem:
            reason = describe_bad_number(read_csv, file, kwargs) or " ".join(str(problem).split())
            raise Refused(f"{file}: {reason}") from problem
        check_rows(file, delimiter, len(table))
        return table

    patch.replace("pd", module_with(dataset.pd, read_csv=read_faster))


def describe_bad_number(
    read_csv: Callable[..., pd.DataFrame], file: str | Path, options: dict[str, Any]
) -> str | None:
    """Describe where the first invalid number of a file is; ``None`` if all numbers are valid."""
    import pandas as pd

    dtype = options.get("dtype")
    types = dtype if isinstance(dtype, dict) else {}
    as_strings = {**options, "dtype": dict.fromkeys(types, object), "engine": "python"}
    as_strings["skip_blank_lines"] = False
    try:
        table = read_csv(file, **as_strings)
    except ValueError:
        return None
    for column in (name for name in types if name.endswith(":float")):
        numbers = pd.Series(pd.to_numeric(table[column], errors="coerce"))
        invalid = (numbers.isna() & table[column].notna()).to_numpy()
        if invalid.any():
            row = int(invalid.argmax())
            value = table[column].iloc[row]
            # the header is line 1
            return f"line {row + 2} has {value!r}; cannot convert column {column} to type float64"
    return None


def check_rows(file: str | Path, delimiter: str, found: int) -> None:
    """Refuse a file if a row, or the end of one, was not read.

    Args:
        file: its path.
        delimiter: a single character.
        found: the number of rows that were read.

    Raises:
        ValueError: names the file and, if possible, the line.
    """
    rows, delimiters, in_header = count_rows(file, delimiter.encode())
    if found != rows:
        raise Refused(f"{file}: has {rows} rows, of which {found} could be read")
    if delimiters == in_header * (rows + 1):
        return
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            in_line = line.count(delimiter.encode())
            if in_line > in_header:
                raise Refused(
                    f"{file}: line {number} has {in_line + 1} fields; the first line names {in_header + 1}"
                )


def count_rows(file: str | Path, delimiter: bytes) -> tuple[int, int, int]:
    """Count the non-blank lines of a file without the header, all delimiters, and those in the header."""
    lines, delimiters, remainder, in_header = 0, 0, b"", None
    with open(file, "rb") as stream:
        while block := stream.read(2**22):
            if in_header is None:
                in_header = block.partition(b"\n")[0].count(delimiter)
            delimiters += block.count(delimiter)
            complete = (remainder + block.replace(b"\r", b"\n")).split(b"\n")
            remainder = complete.pop()
            lines += sum(map(bool, complete))
    return max(0, lines + bool(remainder) - 1), delimiters, in_header or 0
