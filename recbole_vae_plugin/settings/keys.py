"""Declaring a setting: its default, its check and its help in one place.

A component's settings are a frozen dataclass whose fields are made by :func:`setting`. Everything else
(the default files, ``--help``, the table of keys, the refusals, the defaults of bundles) is derived from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

S = TypeVar("S")

#: Called with a key and its value; returns the value to use or raises ``ValueError``. Its attribute ``type``
#: says in YAML's words what is allowed.
Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Key:
    """A setting as a user sees it.

    Attributes:
        name: the key in config files and on the command line.
        field: the name of the dataclass' field.
        default: its value if it is not given.
        check: see :data:`Check`.
        help: one sentence.
        exclusive: whether only its own component may have another value than the default.
    """

    name: str
    field: str
    default: Any
    check: Check
    help: str
    exclusive: bool = False

    @property
    def plain_default(self) -> Any:
        """The default as YAML has it, with lists instead of tuples."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    @property
    def described(self) -> str:
        """The comment of a default file: the type, the help, and the names that can be chosen."""
        names = getattr(self.check, "allowed_names", None)
        said = self.help if names is None else f"{self.help}, ranging in {names()}."
        return f"({self.check.type}) {said}"


def setting(default: Any, check: Check, help: str, key: str | None = None, exclusive: bool = False) -> Any:
    """A field of a component's settings.

    Args:
        default: its value if it is not given; checked like any other.
        check: such as :class:`~recbole_vae_plugin.settings.validation.Number`.
        help: one sentence.
        key: the key in config files, where it is not the field's name.
        exclusive: refuse another value than the default unless the component is the chosen one.
    """
    return dataclasses.field(
        default=default, metadata={"check": check, "help": help, "key": key, "exclusive": exclusive}
    )


def keys_of(settings: type) -> list[Key]:
    """The keys of a class of settings, in the order of its fields."""
    return [
        Key(
            field.metadata["key"] or field.name,
            field.name,
            field.default,
            field.metadata["check"],
            field.metadata["help"],
            field.metadata["exclusive"],
        )
        for field in dataclasses.fields(settings)
        if "check" in field.metadata
    ]


def checked(key: Key, config: Mapping[str, Any]) -> Any:
    """The checked value of a key in a config; its default where the config is older than the key.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    # RecBole's Config has no get
    given = key.name in config
    return key.check(key.name, config[key.name] if given else key.default)


def read(settings: type[S], config: Mapping[str, Any]) -> S:
    """The checked settings in a config.

    Args:
        settings: a dataclass with fields made by :func:`setting`.
        config: RecBole's ``Config``, or a dict; see :func:`checked`.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    return settings(**{key.field: checked(key, config) for key in keys_of(settings)})
