"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from recbole_vae_plugin.datafiles.chunks import CHUNK_ROWS, Chunk, texts
from recbole_vae_plugin.datafiles.opening import SourceFile
from recbole_vae_plugin.datafiles.text import decoded_lines, encoding_of, opened_lines
from recbole_vae_plugin.settings.validation import Refused

KINDS: dict[type, str] = {dict: "an object", list: "an array"}


class JsonReader:
    """Reads a file of JSON Lines; numbers stay as they are written.

    Raises:
        Refused: names the file, the line and what is wrong.
    """

    def __init__(self, file: SourceFile, encoding: str | None = None) -> None:
        self.file, self.encoding = file, encoding or encoding_of(file)
        with opened_lines(file, self.encoding) as lines:
            # all of them: a key may be missing from the first objects
            found: dict[str, None] = {}
            for _, entry in self._objects(lines):
                found |= dict.fromkeys(entry)
        self.names = list(found)
        self.width = len(found)

    def chunks(self, columns: dict[str, int]) -> Iterator[Chunk]:
        keys = {role: self.names[place] for role, place in columns.items()}
        with self.file.open() as (raw, content):
            objects = self._objects(decoded_lines(self.file, content, self.encoding))
            while batch := list(islice(objects, CHUNK_ROWS)):
                for line, entry in batch:
                    for key in keys.values():
                        if isinstance(entry.get(key), (dict, list)):
                            raise Refused(
                                f"{self.file.path}, line {line}: {key} is {KINDS[type(entry[key])]}; "
                                "allowed: a text or a number"
                            )
                found = {role: texts([entry.get(key) for _, entry in batch]) for role, key in keys.items()}
                yield Chunk(self.file.path, [line for line, _ in batch], found, raw.tell())

    def _objects(self, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(
                    line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=unique
                )
            except (ValueError, RecursionError) as problem:
                hint = "; allowed: JSON Lines, one object a line" if number == 1 else ""
                raise Refused(f"{self.file.path}, line {number}: is not JSON ({problem}){hint}") from problem
            if not isinstance(entry, dict):
                raise Refused(
                    f"{self.file.path}, line {number}: is {KINDS.get(type(entry), 'a single value')}; "
                    "allowed: JSON Lines, one object a line"
                )
            for key, value in entry.items():
                if isinstance(value, bool):
                    entry[key] = str(value).lower()
            yield number, entry


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, which has each key once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice} is there twice")
    return found
