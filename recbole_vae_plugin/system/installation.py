"""What must be installed for training, and what to run where it is not.

RecBole is no requirement of this package: its own requirements (ray <= 2.6.3) cannot be met on
Python 3.12 and later, so a requirement on it would be refused there. The extra ``train`` lists what
RecBole really needs, and RecBole is installed without its requirements.
"""

from __future__ import annotations

import re
from importlib import metadata, util

PACKAGE = "recbole-vae-plugin"
INSTALL_RECBOLE = "pip install --no-deps recbole==1.2.1"
INSTALL_TRAINING = f'pip install "{PACKAGE}[train]" && {INSTALL_RECBOLE}'


class RegistrationError(ImportError):
    """RecBole cannot take the models: its version is not supported, or a name is taken."""


def has_recbole() -> bool:
    """Whether ``import recbole`` would find something.

    Raises:
        RegistrationError: what it would find is no package.
    """
    try:
        return util.find_spec("recbole") is not None
    except ValueError as problem:
        raise RegistrationError(f"what is imported as recbole is not RecBole: {problem}") from problem


def missing_requirements(extra: str = "train") -> list[str]:
    """Names of the distributions that the extra asks for and that are not installed."""
    try:
        stated = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return []
    names = [
        re.match(r"[\w.-]+", line)[0] for line in stated if re.search(rf"extra == ['\"]{extra}['\"]", line)
    ]
    return [name for name in names if not _is_installed(name)]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def is_for_serving() -> bool:
    """Whether neither RecBole nor what it needs is installed."""
    return not has_recbole() and bool(missing_requirements())


def what_to_run() -> str | None:
    """One line for whoever wants to train and cannot; ``None`` where nothing is missing."""
    missing = missing_requirements()
    if missing:
        lacking = missing if has_recbole() else ["recbole", *missing]
        named = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        return f"training needs packages that are not installed: {named}; run: {INSTALL_TRAINING}"
    if not has_recbole():
        return f"training needs recbole, which is not installed; run: {INSTALL_RECBOLE}"
    return None
