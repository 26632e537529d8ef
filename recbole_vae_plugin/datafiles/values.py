"""Numbers and times of a chunk, and ids as the numbers of a vocabulary."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pandas as pd

from recbole_vae_plugin.datafiles.chunks import Chunk
from recbole_vae_plugin.settings.validation import refuse

#: What RecBole takes for a missing value when it reads a file, and what it drops, therefore.
MISSING = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
#: What databases write for a missing value.
MISSING.add(r"\N")
#: Characters that a value of an atomic file cannot have: there is no quoting, and UTF-8 has no surrogates.
NOT_IN_IDS = re.compile("[\t\n\r\0\ud800-\udfff]")
PADDING = "[PAD]"

FIRST_YEAR, LAST_YEAR = 1678, 2261
#: Unit -> how many make a second.
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
#: Numbers below are times in that unit: of the years up to 5138.
LARGEST = {"seconds": 1e11, "milliseconds": 1e14, "microseconds": 1e17, "nanoseconds": 1e20}


def is_missing(values: pd.Series) -> np.ndarray:
    """Bool ``[n]``."""
    missing = values.isna()
    return (missing | values.isin(MISSING) if values.dtype == object else missing).to_numpy(dtype=bool)


def numbers_of(chunk: Chunk, role: str) -> np.ndarray:
    """A column as float64 ``[n]``, NaN where it is missing.

    Raises:
        Refused: a value is not a finite number; names file and line.
    """
    values, missing = chunk.columns[role], is_missing(chunk.columns[role])
    parsed = pd.to_numeric(values.where(~missing), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = ~missing & ~np.isfinite(parsed)
    if wrong.any():
        row = int(wrong.argmax())
        hint = "; decimals need a point" if re.fullmatch(r"[-+]?\d+,\d+", str(values[row])) else ""
        chunk.refuse(row, f"{role} {values[row]!r} is not a number{hint}")
    return parsed


class Times:
    """Parses the timestamps of a source, all in one form, which the first ones show.

    Args:
        form: ``seconds``, ``milliseconds``, ``microseconds``, ``nanoseconds``, ``iso``, or a pattern such as
            ``%d.%m.%Y``; ``None`` to find it.
    """

    def __init__(self, form: str | None = None) -> None:
        self.given = form is not None
        self.form = form
        if form is not None and form not in (*UNITS, "iso") and "%" not in form:
            refuse("--time-format", form, f"{', '.join(UNITS)}, iso, or a pattern such as %d.%m.%Y")
        try:
            datetime.strptime("", form or "")
        except ValueError as problem:
            if "directive" in str(problem) or "stray" in str(problem):
                refuse("--time-format", form, f"a pattern such as %d.%m.%Y; in this one {problem}")

    def seconds(self, chunk: Chunk) -> np.ndarray:
        """Seconds since 1970, float64 ``[n]``, NaN where they are missing. Times without a zone are UTC.

        Raises:
            Refused: a value is not of the form; names file and line.
        """
        values = chunk.columns["timestamp"]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            return since_1970(chunk, values)
        missing = is_missing(values)
        if missing.all():
            return np.full(len(chunk), np.nan)
        if self.form is None:
            first = values[int((~missing).argmax())]
            is_number = pd.notna(pd.to_numeric(pd.Series([first]), errors="coerce")[0])
            self.form = self._unit_of(chunk, missing) if is_number else "iso"
        if self.form in UNITS:
            numbers = numbers_of(chunk, "timestamp")
            self._check_unit(chunk, numbers)
            return numbers / UNITS[self.form]
        form = "ISO8601" if self.form == "iso" else self.form
        if values.dtype != object:
            values = pd.Series(values.map(lambda number: f"{number:.17g}"), dtype=object)
        strings = values.where(~missing).astype(object)
        try:
            parsed = pd.Series(pd.to_datetime(strings, format=form, utc=True, errors="coerce"))
        except ValueError as problem:
            refuse("--time-format", self.form, f"a pattern such as %d.%m.%Y; in this one {problem}")
        # pandas takes these for the time of the conversion
        now = strings.str.strip().str.lower().isin({"now", "today"}).to_numpy(dtype=bool)
        wrong = (parsed.isna().to_numpy() | now) & ~missing
        if wrong.any():
            row = int(wrong.argmax())
            expected = (
                "in ISO 8601, such as 2020-01-31 or 2020-01-31T10:00:00Z" if self.form == "iso" else self.form
            )
            chunk.refuse(
                row, f"timestamp {values[row]!r} is not {expected}; give --time-format, such as %d.%m.%Y"
            )
        return since_1970(chunk, parsed)

    def _unit_of(self, chunk: Chunk, missing: np.ndarray) -> str:
        numbers = numbers_of(chunk, "timestamp")[~missing]
        pattern, unit = date_pattern(numbers), unit_of(float(np.abs(numbers).max()))
        if pattern:
            row = int((~missing).argmax())
            chunk.refuse(
                row,
                f"timestamp {chunk.columns['timestamp'][row]!r} may be a date or {unit}; give --time-format "
                f"{pattern} or --time-format {unit}",
            )
        return unit_of(float(np.abs(numbers).max()))

    def _check_unit(self, chunk: Chunk, numbers: np.ndarray) -> None:
        """Refuse a number that looks like another unit, unless the unit was given: a source does not mix
        them."""
        if self.given or self.form is None:
            return
        # zero and small numbers stand for "unknown" or count steps, in any unit
        magnitudes = np.nan_to_num(np.abs(numbers))
        if (magnitudes >= LARGEST["nanoseconds"]).any():
            row = int(magnitudes.argmax())
            value = chunk.columns["timestamp"][row]
            chunk.refuse(row, f"timestamp {value!r} is too large for a time, even in nanoseconds")
        units = np.searchsorted(list(LARGEST.values()), magnitudes, side="right")
        other = (magnitudes >= 1e8) & (units != list(LARGEST).index(self.form))
        if other.any():
            row = int(other.argmax())
            unit = unit_of(magnitudes[row])
            chunk.refuse(
                row,
                f"timestamp {chunk.columns['timestamp'][row]!r} looks like {unit}, others like {self.form}; "
                f"give --time-format {self.form} or --time-format {unit}",
            )


def unit_of(largest: float) -> str:
    """The unit of times, by the largest of them."""
    return next((unit for unit, limit in LARGEST.items() if largest < limit), "nanoseconds")


def date_pattern(numbers: np.ndarray) -> str | None:
    """The pattern of numbers that are all dates such as 20200131 or 20200131123000; ``None`` for others."""
    for pattern, digits in (("%Y%m%d", 8), ("%Y%m%d%H%M", 12), ("%Y%m%d%H%M%S", 14)):
        if not ((numbers >= 10.0 ** (digits - 1)) & (numbers < 10.0**digits)).all():
            continue
        strings = pd.Series(numbers.astype(np.int64).astype(str))
        dates = pd.to_datetime(strings, format=pattern, errors="coerce")
        if (numbers % 1 == 0).all() and dates.dt.year.between(1900, 2100).all():
            return pattern
    return None


def since_1970(chunk: Chunk, times: pd.Series) -> np.ndarray:
    """Seconds, float64, NaN where there is no time.

    Raises:
        Refused: a year is not among those that pandas knows in nanoseconds; it stands for "unknown".
    """
    years = times.dt.year.to_numpy(dtype=float, na_value=np.nan)
    wrong = (years < FIRST_YEAR) | (years > LAST_YEAR)
    if wrong.any():
        row = int(wrong.argmax())
        value = chunk.columns["timestamp"][row]
        chunk.refuse(row, f"timestamp {str(value)!r} is not of the years {FIRST_YEAR} to {LAST_YEAR}")
    return ((times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(
        dtype=float, na_value=np.nan
    )


class Vocabulary:
    """Ids in the order in which they appear, exactly as written.

    Args:
        role: ``user`` or ``item``.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self._codes: dict[str, int] = {}
        self.spaces = 0

    @property
    def ids(self) -> list[str]:
        """The ids by their numbers."""
        return list(self._codes)

    def encode(self, chunk: Chunk) -> np.ndarray:
        """The numbers of a chunk's ids, int32 ``[n]``, -1 where they are missing.

        Raises:
            Refused: an atomic file cannot hold an id; names file and line.
        """
        places, found = pd.factorize(chunk.columns[self.role].to_numpy(dtype=object))
        codes = np.empty(len(found) + 1, dtype=np.int32)
        codes[-1] = -1
        for place, name in enumerate(found):
            if name in MISSING or not name.strip():
                codes[place] = -1
                continue
            if name not in self._codes:
                if NOT_IN_IDS.search(name) or name == PADDING:
                    self._refuse(chunk, int((places == place).argmax()), name)
                self.spaces += name != name.strip()
            codes[place] = self._codes.setdefault(name, len(self._codes))
        return codes[places]

    def _refuse(self, chunk: Chunk, row: int, name: str) -> None:
        reason = (
            "RecBole uses this id for padding"
            if name == PADDING
            else "an id cannot have tabs or line ends (RecBole's files have no quoting), nor surrogates"
        )
        chunk.refuse(row, f"{self.role} {name[:80]!r}: {reason}")
