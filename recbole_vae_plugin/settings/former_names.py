"""Names of earlier versions: files that have them are still read."""

from __future__ import annotations

from recbole_vae_plugin.settings.validation import Refused

#: Former key -> its name now, in experiment files and in results folders.
FORMER = {"contestant": "method", "contestants": "methods", "contestant_seeds": "method_seeds"}


def with_current_names(content):
    """A mapping with its values under the names of this version; anything else as it is.

    Raises:
        ValueError: a value is given under both names.
    """
    if not isinstance(content, dict):
        return content
    for former, current in FORMER.items():
        if former in content and current in content:
            raise Refused(f"{former}: is the former name of {current}, and both are given")
    return {FORMER.get(key, key): value for key, value in content.items()}
