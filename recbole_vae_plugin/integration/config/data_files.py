"""The files that a config's data set is read from, and the hash of their content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.content import hash_of_files

#: Read where ``load_col`` does not say what is.
DEFAULT_FILES = ("inter", "user", "item")
#: Read for knowledge-aware models whatever ``load_col`` says.
KNOWLEDGE_FILES = ("kg", "link")


def files_of(config: Mapping[str, Any]) -> list[Path]:
    """The atomic files that a run reads, interactions first; those that do not exist are left out.

    Args:
        config: RecBole's ``Config``.
    """
    folder, name = Path(config["data_path"]), config["dataset"]
    selected = config["load_col"]
    others = [kind for kind in (DEFAULT_FILES if selected is None else selected) if kind != "inter"]
    others += [kind for kind in config["additional_feat_suffix"] or () if kind not in others]
    # by its name: RecBole takes seconds to import
    if getattr(config["MODEL_TYPE"], "name", None) == "KNOWLEDGE":
        others += [kind for kind in KNOWLEDGE_FILES if kind not in others]
    parts = [f"{part}.inter" for part in config["benchmark_filename"] or ()] or ["inter"]
    files = (folder / f"{name}.{suffix}" for suffix in (*parts, *others))
    return [file for file in files if file.is_file()]


def hash_of_data(config: Mapping[str, Any]) -> str | None:
    """The hash of the content of :func:`files_of`; ``None`` if there are none, as before a download."""
    files = files_of(config)
    return hash_of_files(files) if files else None


def check_stated_hash(config: Mapping[str, Any]) -> None:
    """Refuse data that is not what the key ``data_hash`` of its config says.

    Raises:
        Refused: names the files, the hash that they should have and the one that they have.
    """
    stated = config["data_hash"]
    if stated is None:
        return
    if not isinstance(stated, str) or not stated.startswith("sha256:"):
        refuse("data_hash", stated, "sha256: and 64 hexadecimal digits, as recbole-vae data writes it")
    found = hash_of_data(config)
    if found != stated:
        raise Refused(
            f"data_hash: {names_of(config)} has {found}, the config of {config['dataset']} says {stated}: "
            "the data has changed, or load_col asks for other files than before. Restore it, or remove the "
            "key data_hash if it is meant to be other data"
        )


def names_of(config: Mapping[str, Any]) -> str:
    """The paths of :func:`files_of`, for messages."""
    return ", ".join(map(str, files_of(config)))
