"""Text with separators: CSV, TSV and the like."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, NoReturn, cast

import pandas as pd

from recbole_vae_plugin.datafiles.chunks import CHUNK_ROWS, Chunk, texts
from recbole_vae_plugin.datafiles.columns import USUAL_NAMES, looks_like_value, plain
from recbole_vae_plugin.datafiles.opening import SourceFile, suffix_of
from recbole_vae_plugin.settings.validation import Refused

#: In groups: one that is hardly ever part of a value, and those that may be. A space also stands around them.
SEPARATORS = (("\t",), ("::", ";", "|", ","))
NAMES_OF_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
#: Lines by which the separator is found.
SAMPLE_LINES = 50
#: Bytes that are decoded at a time in the search for a fault.
BLOCK = 2**16
#: The longest value in characters; csv's own limit is shorter than many a review.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class TextOptions:
    """How text is read; ``None`` means: found from the file.

    Attributes:
        header: whether the first line names the columns.
        quotes: whether values may stand in quotation marks; not in RecBole's atomic files.
        named: the columns that the user named.
    """

    separator: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    encoding: str | None = None
    named: tuple[str, ...] = ()


class TextReader:
    """Reads a file of text, and refuses it if a row has more or fewer values than the first.

    Raises:
        Refused: names the file, the line and what is wrong.
    """

    def __init__(self, file: SourceFile, options: TextOptions) -> None:
        self.file = file
        self.encoding = options.encoding or encoding_of(file)
        self.quotes = suffix_of(file.path) != ".inter" if options.quotes is None else options.quotes
        with self._lines() as lines:
            sample = list(islice(lines, SAMPLE_LINES))
        self._sample_is_cut = len(sample) == SAMPLE_LINES
        first_line = next((number for number, line in enumerate(sample, 1) if line.strip()), 1)
        self.place = f"{file.path}, line {first_line}"
        self.separator = options.separator or self._find_separator([line for line in sample if line.strip()])
        first = self._first_row()
        self.width = len(first)
        if self.width == 1:
            raise Refused(
                f"{self.place}: {first[0]!r} is one value, separated by {self.separator!r}; "
                "give another --separator"
            )
        if self.separator == " " and "" in first:
            raise Refused(
                f"{self.place}: {' '.join(first)[:80]!r} has several spaces together or at an end; allowed: "
                "one separator between values"
            )
        header = is_header(first, options, self.place) if first else False
        self.names = [name.strip() for name in first] if header else None

    def chunks(self, columns: dict[str, int]) -> Iterator[Chunk]:
        with self.file.open() as (raw, content):
            rows = self._numbered(decoded_lines(self.file, content, self.encoding))
            skip_header = self.names is not None
            first_name = self.names[0] if self.names else None
            while batch := self._batch(rows):
                starts: list[int] = []
                kept = []
                for line, row in batch:
                    if len(row) != self.width:
                        self._refuse_ragged(line, row)
                    if starts and row[0].strip() == first_name and [*map(str.strip, row)] == self.names:
                        raise Refused(f"{self.file.path}, line {line}: repeats the header; remove it")
                    starts.append(line)
                    kept.append(row)
                if skip_header and kept:
                    del starts[0], kept[0]
                    skip_header = False
                if kept:
                    found = {role: texts([row[place] for row in kept]) for role, place in columns.items()}
                    self._refuse_spaced_quotes(starts, found)
                    yield Chunk(self.file.path, starts, found, raw.tell())

    def _numbered(self, lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank, each with the line in which it begins."""
        rows: Any = self._rows(lines)
        line = 0
        for row in rows:
            if row:
                yield line + 1, row
            # a value in quotation marks may go over several lines
            line = getattr(rows, "line_num", line + 1)

    def _batch(self, rows: Iterator[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
        try:
            return list(islice(rows, CHUNK_ROWS))
        except csv.Error as problem:
            self._refuse_quotes(problem)

    def _refuse_spaced_quotes(self, lines: list[int], columns: dict[str, pd.Series]) -> None:
        """Refuse a quotation mark after a space, which csv takes for a part of the value."""
        for values in columns.values() if self.quotes else ():
            for line, value in zip(lines, values):
                if value[:1] == " " and value.lstrip()[:1] == '"':
                    raise Refused(
                        f"{self.file.path}, line {line}: {value[:80]!r} has a space before the quotation "
                        "mark; remove it, or read quotation marks as characters with --no-quotes"
                    )

    def _refuse_ragged(self, line: int, row: list[str]) -> NoReturn:
        raise Refused(
            f"{self.file.path}, line {line}: has {len(row)} values, the first line {self.width}, separated "
            f"by {self.separator!r}; correct the line, or give --separator"
        )

    def _refuse_quotes(self, problem: csv.Error) -> NoReturn:
        """Name the line in which the row begins whose quotation marks do not match."""
        with self._lines() as lines:
            reader = csv.reader(lines, delimiter=self.separator, strict=True)
            line = 1
            try:
                for _ in reader:
                    line = reader.line_num + 1
            except csv.Error:
                raise Refused(
                    f"{self.file.path}, line {line}: a quotation mark without its counterpart ({problem}); "
                    "correct the line, or read quotation marks as characters with --no-quotes"
                ) from problem
        raise Refused(f"{self.file.path}: {problem}") from problem

    def _lines(self) -> contextlib.AbstractContextManager[Iterator[str]]:
        return opened_lines(self.file, self.encoding)

    def _rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        if len(self.separator) == 1:
            if self.quotes:
                return csv.reader(lines, delimiter=self.separator, strict=True)
            return csv.reader(lines, delimiter=self.separator, strict=True, quoting=csv.QUOTE_NONE)
        return self._split(lines)

    def _split(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Rows by a separator of several characters, which csv does not know."""
        for number, line in enumerate(lines, 1):
            stripped = line.rstrip("\r\n")
            row = stripped.split(self.separator) if stripped else []
            if self.quotes and len(row) > 1 and any(value.startswith('"') for value in row):
                raise Refused(
                    f"{self.file.path}, line {number}: values in quotation marks cannot be read with the "
                    f"separator {self.separator!r}; give --no-quotes to take the marks as characters"
                )
            yield row

    def _first_row(self) -> list[str]:
        with self._lines() as lines:
            try:
                return next(filter(None, self._rows(lines)), [])
            except csv.Error as problem:
                self._refuse_quotes(problem)

    def _widths(self, separator: str, sample: list[str]) -> tuple[list[int], bool]:
        """The number of values of each row of the sample, and whether its quotation marks match."""
        self.separator = separator
        widths = []
        try:
            for row in filter(None, self._rows(iter(sample))):
                widths.append(len(row))
        except csv.Error as problem:
            # a value in quotation marks may go on after the sample
            return widths, self._sample_is_cut and "unexpected end of data" in str(problem)
        except Refused:
            return widths, False
        return widths, True

    def _find_separator(self, sample: list[str]) -> str:
        """The separator that gives every line of the sample the same number of values.

        Raises:
            Refused: there is none, or several may be it.
        """
        if not sample:
            return SEPARATORS[0][0]

        def divides(separator: str) -> bool:
            widths, is_right = self._widths(separator, sample)
            return is_right and len(set(widths)) == 1 and widths[0] > 1

        def lines_as_the_first(separator: str) -> int:
            widths, _ = self._widths(separator, sample)
            return widths.count(widths[0]) if widths and widths[0] > 1 else 0

        for candidates in SEPARATORS:
            found = [each for each in candidates if divides(each)]
            if len(found) > 1:
                several = " and ".join(map(repr, found))
                raise Refused(
                    f"{self.place}: {several} may both be the separator of {sample[0].strip()[:80]!r}; "
                    "give --separator"
                )
            if found:
                return found[0]
        # a fault somewhere, or a space, which also stands around other separators
        present = [each for each in chain(*SEPARATORS) if each in sample[0]]
        best = max(present or [" "], key=lines_as_the_first)
        if not lines_as_the_first(best):
            raise Refused(f"{self.place}: no separator found in {sample[0].strip()[:80]!r}; give --separator")
        return best


def decoded_lines(file: SourceFile, content: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines of an opened file with their ends, whichever these are.

    Raises:
        Refused: names the first line that is not in the encoding.
    """
    wrapper = io.TextIOWrapper(cast(io.BufferedReader, content), encoding, newline="")
    try:
        yield from wrapper
    except UnicodeError as problem:
        refuse_undecodable(file, encoding, problem)
    finally:
        # else the file would be closed with the wrapper
        with contextlib.suppress(ValueError):
            wrapper.detach()


@contextlib.contextmanager
def opened_lines(file: SourceFile, encoding: str) -> Iterator[Iterator[str]]:
    """The lines of a file that is opened for them."""
    with file.open() as (_, content):
        yield decoded_lines(file, content, encoding)


def refuse_undecodable(file: SourceFile, encoding: str, problem: UnicodeError) -> NoReturn:
    """Name the first line that is not in the encoding: what decodes in blocks does not know."""
    name = encoding.removesuffix("-sig")
    with file.open() as (_, content):
        line, found = first_undecodable(content, encoding)
    what = repr(found.object[found.start : found.end]) if isinstance(found, UnicodeDecodeError) else "it"
    raise Refused(
        f"{file.path}, line {line}: {what} is not {name}; give --encoding, such as latin-1 or cp1252"
    ) from problem


def first_undecodable(content: BinaryIO, encoding: str) -> tuple[int, UnicodeError | None]:
    """The line of the first bytes that are not in an encoding, and the error that they cause."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    line, state = 1, decoder.getstate()
    while block := content.read(BLOCK):
        try:
            line += decoder.decode(block).count("\n")
        except UnicodeError:
            break
        state = decoder.getstate()
    decoder.setstate(state)
    # the block with the fault, and the end, at which half a character may be left
    for place in range(len(block) + 1):
        try:
            byte = block[place : place + 1]
            line += decoder.decode(byte, final=not byte).count("\n")
        except UnicodeError as problem:
            # a carriage return that waits for a line feed
            return line + (decoder.getstate()[1] & 1), problem
    return line, None


def encoding_of(file: SourceFile) -> str:
    """By the byte-order mark, and UTF-8 without one."""
    with file.open() as (_, content):
        start = content.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def is_header(first: list[str], options: TextOptions, where: str) -> bool:
    """Whether the first row names the columns.

    Raises:
        Refused: that is not clear, as with 0, 1, 2, which pandas writes where columns have no names.
    """
    if options.header is not None:
        return options.header
    usual = {name for names in USUAL_NAMES.values() for name in names}
    if any(name.strip() in options.named or plain(name) in usual for name in first):
        return True
    if first != [str(place) for place in range(len(first))] and all(map(looks_like_value, first)):
        return False
    raise Refused(f"{where}: {first} may be names of columns or values; give --header or --no-header")
