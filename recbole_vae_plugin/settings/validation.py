"""Checks of single config values. All raise the same error, with the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, NoReturn

from recbole_vae_plugin.settings.declaration import Check

#: The most hidden layers of an encoder or a decoder.
MAX_LAYERS = 100


class Refused(ValueError):
    """Invalid input, from the command line or a file; the message says how to fix it."""


def refuse(key: str, value: Any, allowed: str) -> NoReturn:
    """Raise the error for an invalid value.

    Raises:
        Refused: always; the message has the key, the value and what is allowed.
    """
    raise Refused(f"{key}: got {value!r}; allowed: {allowed}")


def did_you_mean(wrong: str, names: Iterable[str], most: int = 1) -> str:
    """``" (did you mean x?)"`` with the closest of ``names``, ignoring case; empty if none is close."""
    spelling = {name.lower(): name for name in names}
    close = [spelling[name] for name in get_close_matches(wrong.lower(), spelling, n=most)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def one_of(key: str, value: Any, names: Iterable[str]) -> str:
    """``value`` as it is spelt in ``names``, ignoring case; ``None`` means ``none``."""
    names = list(names)
    spelling = {name.lower(): name for name in names}
    lowered = "none" if value is None else str(value).lower()
    if lowered not in spelling:
        refuse(key, value, ", ".join(names) + did_you_mean(lowered, names))
    return spelling[lowered]


def integer(key: str, value: Any, least: int) -> int:
    """``value`` as an int, if it is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        refuse(key, value, f"a whole number of at least {least}")
    return int(value)


def number(key: str, value: Any, least: float, below: float = float("inf")) -> float:
    """``value`` as a float, if it is a number in [least, below)."""
    if isinstance(value, bool) or not isinstance(value, Real) or value < least or not value < below:
        upper = f" and below {below:g}" if below != float("inf") else ""
        refuse(key, value, f"a number of at least {least:g}{upper}")
    return float(value)


def sizes(key: str, value: Any, output: int | None = None) -> tuple[int, ...]:
    """``value`` as a tuple, if it is a list of hidden widths without the output layer's.

    Args:
        output: the width of the output layer, if known; the list must not end in it.
    """
    allowed = "a list of layer widths of at least 1, such as [600] or [600, 300]"
    if isinstance(value, str) or not isinstance(value, Sequence):
        refuse(key, value, allowed)
    if len(value) > MAX_LAYERS:
        refuse(key, f"{len(value)} widths", f"at most {MAX_LAYERS}")
    if any(isinstance(width, bool) or not isinstance(width, int) or width < 1 for width in value):
        refuse(key, value, allowed)
    if output is not None and value and value[-1] == output:
        refuse(
            key,
            value,
            f"hidden layers only; the output layer over {output} items is added by the model",
        )
    return tuple(value)


@dataclass(frozen=True)
class Integer:
    """Accepts a whole number of at least ``least``."""

    least: int
    type = "int"

    def __call__(self, key: str, value: Any) -> int:
        return integer(key, value, self.least)


@dataclass(frozen=True)
class Number:
    """Accepts a number in [least, below)."""

    least: float
    below: float = float("inf")
    type = "float"

    def __call__(self, key: str, value: Any) -> float:
        return number(key, value, self.least, self.below)


@dataclass(frozen=True)
class OneOf:
    """Accepts one of some names, ignoring case."""

    names: Iterable[str]
    type = "str"

    def allowed_names(self) -> list[str]:
        """The names to choose from."""
        return list(self.names)

    def __call__(self, key: str, value: Any) -> str:
        return one_of(key, value, self.allowed_names())


@dataclass(frozen=True)
class OneOfOr(OneOf):
    """Accepts one of some names, or one of the words ``also``."""

    also: tuple[str, ...] = ()

    def allowed_names(self) -> list[str]:
        return [*self.also, *self.names]


@dataclass(frozen=True)
class Sizes:
    """Accepts a list of layer widths."""

    type = "list of int"

    def __call__(self, key: str, value: Any) -> tuple[int, ...]:
        return sizes(key, value)


@dataclass(frozen=True)
class Optional:
    """Accepts ``None``, and what another check accepts."""

    check: Check

    @property
    def type(self) -> str:
        return self.check.type

    def __call__(self, key: str, value: Any) -> Any:
        return None if value is None else self.check(key, value)


@dataclass(frozen=True)
class CheckedByRecBole:
    """Accepts anything: one of RecBole's own keys, of which a model only changes the default.

    Attributes:
        type: as in the comments of RecBole's default files.
    """

    type: str

    def __call__(self, key: str, value: Any) -> Any:
        return value
