"""Declaring a setting: its default, its check and its help text in one place.

A component's settings are a frozen dataclass whose fields are made by :func:`setting`. Everything else
(default files, ``--help``, the table of keys, error messages, the defaults of bundles) is derived from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

#: A dataclass of settings.
S = TypeVar("S")


class Config(Protocol):
    """RecBole's ``Config``, or a dict: the values of keys."""

    def __getitem__(self, key: str, /) -> Any:
        """The value of a key."""
        ...

    def __contains__(self, key: str, /) -> bool:
        """Whether a key is given."""
        ...


class Check(Protocol):
    """Validates the value of a key."""

    @property
    def type(self) -> str:
        """The allowed type in YAML's terms, such as ``int``."""
        ...

    def __call__(self, key: str, value: Any, /) -> Any:
        """Return the value to use, or raise ``ValueError``."""
        ...


@dataclass(frozen=True)
class Key:
    """A setting as a user sees it.

    Attributes:
        name: the key in config files and on the command line.
        field: the name of the dataclass field.
        default: the value if the key is not given.
        check: validates a value.
        help: one sentence.
        exclusive: whether the key must keep its default unless its own component is selected.
        before: the value that applies where a checkpoint or bundle predates the key.
    """

    name: str
    field: str
    default: Any
    check: Check
    help: str
    exclusive: bool = False
    before: Any = None

    @property
    def plain_default(self) -> Any:
        """The default as YAML represents it, with lists instead of tuples."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def described(self) -> str:
        """The comment in a default file: the type, the help, and the names to choose from."""
        names = getattr(self.check, "allowed_names", None)
        text = self.help if names is None else f"{self.help}, ranging in {names()}."
        return f"({self.check.type}) {text}"


def setting(
    default: Any,
    check: Check,
    help: str,
    key: str | None = None,
    exclusive: bool = False,
    before: Any = dataclasses.MISSING,
) -> Any:
    """Declare a field of a component's settings.

    Args:
        default: the value if the key is not given; checked like any other.
        check: such as :class:`~recbole_vae_plugin.settings.validation.Number`.
        help: one sentence.
        key: the key in config files, if it differs from the field's name.
        exclusive: reject any value but the default unless the component is selected.
        before: the value that applies where a checkpoint or bundle predates the key, if it differs from the
            default.
    """
    before = default if before is dataclasses.MISSING else before
    metadata = {"check": check, "help": help, "key": key, "exclusive": exclusive, "before": before}
    return dataclasses.field(default=default, metadata=metadata)


def keys_of(settings: type) -> list[Key]:
    """The keys of a settings dataclass, in the order of its fields."""
    return [
        Key(
            field.metadata["key"] or field.name,
            field.name,
            field.default,
            field.metadata["check"],
            field.metadata["help"],
            field.metadata["exclusive"],
            field.metadata["before"],
        )
        for field in dataclasses.fields(settings)
        if "check" in field.metadata
    ]


def checked(key: Key, config: Config) -> Any:
    """The checked value of a key in a config; ``key.before`` if the config predates the key.

    Raises:
        ValueError: the value is invalid; the message names the key, the value and what is allowed.
    """
    given = key.name in config
    return key.check(key.name, config[key.name] if given else key.before)


def read(settings: type[S], config: Config) -> S:
    """Read the settings from a config, and check them.

    Args:
        settings: a dataclass whose fields are made by :func:`setting`.
        config: RecBole's ``Config``, or a dict; see :func:`checked`.

    Raises:
        ValueError: a value is invalid; the message names the key, the value and what is allowed.
    """
    return settings(**{key.field: checked(key, config) for key in keys_of(settings)})
