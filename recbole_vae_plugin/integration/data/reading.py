"""How RecBole's atomic files are read: fast, every row, and with file and line where one is wrong."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch, module_with
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.validation import Refused


@repair(
    "recbole.data.dataset.dataset",
    replaces={"pd": None},
    reads={"Dataset._load_feat": "13dd88f0"},
    after=("read_tables_as_pandas_2_does",),
)
def read_files_fast_and_to_the_last_row(patch: Patch, dataset: ModuleType) -> None:
    """RecBole parses its files with pandas' engine in Python, which takes about ten times as long
    as the one in C and yields the same, floats to the last bit; and it takes a quotation mark for the
    beginning of a text that may go on for hundreds of lines."""
    read_csv = dataset.pd.read_csv

    @functools.wraps(read_csv)
    def read_faster(file: str | Path, *args: Any, delimiter: Any, engine: Any = None, **kwargs: Any) -> Any:
        # atomic files have no quoting
        kwargs |= {"delimiter": delimiter, "quoting": csv.QUOTE_NONE}
        try:
            if len(delimiter) > 1:  # the engine in Python alone knows regular expressions
                return read_csv(file, *args, engine=engine, **kwargs)
            table = read_csv(file, *args, engine="c", **kwargs)
        except (ValueError, OverflowError) as problem:
            where = bad_number(read_csv, file, kwargs) or " ".join(str(problem).split())
            raise Refused(f"{file}: {where}") from problem
        check_rows(file, delimiter, len(table))
        return table

    patch.replace("pd", module_with(dataset.pd, read_csv=read_faster))


def bad_number(read_csv: Any, file: str | Path, options: dict) -> str | None:
    """Where the first number stands that is none, for a message; ``None`` if that is not what is wrong."""
    import pandas as pd

    kinds = options.get("dtype")
    kinds = kinds if isinstance(kinds, dict) else {}
    numbers = [column for column in kinds if column.endswith(":float")]
    texts = {**options, "dtype": dict.fromkeys(kinds, object), "engine": "python"}
    texts["skip_blank_lines"] = False
    try:
        table = read_csv(file, **texts)
    except ValueError:
        return None
    for column in numbers:
        wrong = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            value = table[column].iloc[row]
            # the header is line 1
            return f"line {row + 2} has {value!r}; cannot convert column {column} to type float64"
    return None


def check_rows(file: str | Path, delimiter: str, found: int) -> None:
    """Refuse a file of which a row, or the end of one, was not read.

    Args:
        found: rows that were.

    Raises:
        ValueError: names the file, and the line where there is one.
    """
    rows, separators, of_header = shape_of(file, delimiter.encode())
    if found != rows:
        raise Refused(f"{file}: has {rows} rows, of which {found} could be read")
    if separators == of_header * (rows + 1):
        return
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            fields = line.count(delimiter.encode())
            if fields > of_header:
                raise Refused(
                    f"{file}: line {number} has {fields + 1} fields; the first line names {of_header + 1}"
                )


def shape_of(file: str | Path, delimiter: bytes) -> tuple[int, int, int]:
    """Lines of a file that are not blank, without the header; separators in all, and in the header."""
    lines, separators, rest, of_header = 0, 0, b"", None
    with open(file, "rb") as stream:
        while block := stream.read(2**22):
            if of_header is None:
                of_header = block.partition(b"\n")[0].count(delimiter)
            separators += block.count(delimiter)
            whole = (rest + block.replace(b"\r", b"\n")).split(b"\n")
            rest = whole.pop()
            lines += sum(map(bool, whole))
    return max(0, lines + bool(rest) - 1), separators, of_header or 0
