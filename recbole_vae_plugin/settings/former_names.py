"""Keys that were renamed: files with the former names can still be read."""

from __future__ import annotations

from typing import Any

from recbole_vae_plugin.settings.validation import Refused

#: Former key -> current key, in experiment files and in results folders.
RENAMED = {"contestant": "method", "contestants": "methods", "contestant_seeds": "method_seeds"}


def with_current_names(content: Any) -> Any:
    """Rename the former keys of a mapping; anything else is returned unchanged.

    Raises:
        ValueError: a value is given under both names.
    """
    if not isinstance(content, dict):
        return content
    for former, current in RENAMED.items():
        if former in content and current in content:
            raise Refused(f"{former}: is the former name of {current}; give only one of them")
    return {RENAMED.get(key, key): value for key, value in content.items()}
