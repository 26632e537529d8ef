"""Checks of single config values: one kind of error, naming the key, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, NoReturn

#: Hidden layers of an encoder or a decoder.
MAX_LAYERS = 100


class Refused(ValueError):
    """What was typed, or stands in a file, cannot be used; the message is enough to mend it."""


def refuse(key: str, value: Any, allowed: str) -> NoReturn:
    """Raise the one kind of error that a bad value gets.

    Raises:
        Refused: always; it names the key, the value it got and what is allowed.
    """
    raise Refused(f"{key}: got {value!r}; allowed: {allowed}")


def did_you_mean(wrong: str, names: Iterable[str], most: int = 1) -> str:
    """ " (did you mean x?)" with the nearest of ``names``, whatever the case; else ""."""
    spelling = {name.lower(): name for name in names}
    near = [spelling[name] for name in get_close_matches(wrong.lower(), spelling, n=most)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def one_of(key: str, value: Any, names: Iterable[str]) -> str:
    """``value`` as it is spelt in ``names``, whatever its case; ``None`` means ``none``."""
    names = list(names)
    spelling = {name.lower(): name for name in names}
    wanted = "none" if value is None else str(value).lower()
    if wanted not in spelling:
        refuse(key, value, ", ".join(names) + did_you_mean(wanted, names))
    return spelling[wanted]


def integer(key: str, value: Any, least: int) -> int:
    """``value`` if it is an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        refuse(key, value, f"a whole number of at least {least}")
    return int(value)


def number(key: str, value: Any, least: float, below: float = float("inf")) -> float:
    """``value`` if it is a number in [least, below)."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < below:
        upper = f" and below {below:g}" if below != float("inf") else ""
        refuse(key, value, f"a number of at least {least:g}{upper}")
    return float(value)


def sizes(key: str, value: Any, output: int | None = None) -> tuple[int, ...]:
    """``value`` if it is a list of hidden widths that does not end in the ``output`` layer's."""
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
    """The check of a whole number of at least ``least``."""

    least: int
    type = "int"

    def __call__(self, key: str, value: Any) -> int:
        return integer(key, value, self.least)


@dataclass(frozen=True)
class Number:
    """The check of a number in [least, below)."""

    least: float
    below: float = float("inf")
    type = "float"

    def __call__(self, key: str, value: Any) -> float:
        return number(key, value, self.least, self.below)


@dataclass(frozen=True)
class OneOf:
    """The check of a name, whatever its case."""

    names: Iterable[str]
    type = "str"

    def allowed_names(self) -> list[str]:
        return list(self.names)

    def __call__(self, key: str, value: Any) -> str:
        return one_of(key, value, self.allowed_names())


@dataclass(frozen=True)
class OneOfOrNone(OneOf):
    """The check of a name, or the word ``none``."""

    def allowed_names(self) -> list[str]:
        return ["none", *self.names]


@dataclass(frozen=True)
class Sizes:
    """The check of a list of layers' widths."""

    type = "list of int"

    def __call__(self, key: str, value: Any) -> tuple[int, ...]:
        return sizes(key, value)


@dataclass(frozen=True)
class Optional:
    """``None``, or what another check allows."""

    check: Any

    @property
    def type(self) -> str:
        return self.check.type

    def __call__(self, key: str, value: Any) -> Any:
        return None if value is None else self.check(key, value)


@dataclass(frozen=True)
class CheckedByRecBole:
    """A key of RecBole's of which a model changes the default only.

    Attributes:
        type: as in the comments of RecBole's default files.
    """

    type: str

    def __call__(self, key: str, value: Any) -> Any:
        return value
