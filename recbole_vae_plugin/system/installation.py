"""What must be installed for training, and how to install it.

RecBole is not a requirement of this package: its own requirements (ray <= 2.6.3) cannot be met on
Python 3.12 and later, so that pip would reject it there. The extra ``train`` lists what RecBole
actually needs, and RecBole is installed without its requirements.
"""

from __future__ import annotations

import re
from importlib import metadata, util

PACKAGE = "recbole-vae-plugin"
INSTALL_RECBOLE = "pip install --no-deps recbole==1.2.1"
INSTALL_TRAINING = f'pip install "{PACKAGE}[train]" && {INSTALL_RECBOLE}'


class RegistrationError(ImportError):
    """The models cannot be registered: RecBole's version is not supported, or a name is taken."""


def has_recbole() -> bool:
    """Whether ``import recbole`` would find a package.

    Raises:
        RegistrationError: it would find something else.
    """
    try:
        return util.find_spec("recbole") is not None
    except ValueError as problem:
        raise RegistrationError(f"what is imported as recbole is not RecBole: {problem}") from problem


def missing_requirements(extra: str = "train") -> list[str]:
    """The names of the distributions that an extra requires and that are not installed."""
    try:
        requirements = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    required = [line for line in requirements if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required]
    return [name for name in names if not _is_installed(name)]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def require(key: str, library: str, extra: str) -> None:
    """Refuse a key that needs a library which is not installed.

    Args:
        key: the key that was set.
        library: the name by which it is imported.
        extra: the extra of this package that installs it.

    Raises:
        Refused: it is missing; the message has the command that installs it.
    """
    if util.find_spec(library) is None:
        # torch imports this module, and nothing but the standard library with it
        from recbole_vae_plugin.settings.validation import Refused

        raise Refused(
            f'{key}: needs {library}, which is not installed; run: pip install "{PACKAGE}[{extra}]", or set '
            f"{key}: false"
        )


def is_for_serving() -> bool:
    """Whether neither RecBole nor what it needs is installed."""
    return not has_recbole() and bool(missing_requirements())


def what_to_run() -> str | None:
    """A hint on how to install what training needs, in one line; ``None`` if nothing is missing."""
    missing = missing_requirements()
    if missing:
        lacking = missing if has_recbole() else ["recbole", *missing]
        named = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        return f"training needs packages that are not installed: {named}; run: {INSTALL_TRAINING}"
    if not has_recbole():
        return f"training needs recbole, which is not installed; run: {INSTALL_RECBOLE}"
    return None
