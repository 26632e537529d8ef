"""The Optuna study of a search: created or opened, and refused if it is damaged."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import warnings
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

import optuna
import yaml

from recbole_vae_plugin.runs.changed_data import refuse_changed_data
from recbole_vae_plugin.runs.run import WITHOUT_EFFECT
from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.atomic import write_text
from recbole_vae_plugin.tune.heartbeat import storage_with_heartbeat
from recbole_vae_plugin.tune.space import Space

SPACE, TRIALS, STUDY = "space.yaml", "trials", "study.db"
#: How many trials finish before any is pruned.
WARM_UP_TRIALS = 5
RECOVERY_HINT = "restore it, give another folder (--results), or move this folder away and start over"


def open_study(space: Space, folder: Path, storage: str | None) -> optuna.Study:
    """Create or open the study of a search.

    Args:
        space: checked.
        folder: of the results; the database is a file in it unless ``storage`` is given.
        storage: a database URL in SQLAlchemy's notation.

    Raises:
        ValueError: the folder or the study belongs to another search, or is damaged.
    """
    if (folder / SPACE).is_file():
        known = name_of_search(folder / SPACE)
        if known != space.name:
            refuse("results", str(folder), f"another folder: it has results of the search {known}")
    if storage is None:
        check_integrity(folder / STUDY)
    # multivariate sampling and heartbeats are experimental in Optuna
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage or f"sqlite:///{(folder / STUDY).resolve()}"
    try:
        backend = storage_with_heartbeat(url)
    except Exception as problem:
        missing = (
            '. For PostgreSQL: pip install "psycopg[binary]"' if isinstance(problem, ImportError) else ""
        )
        allowed = "the address of a database, such as postgresql+psycopg://user:password@host/name"
        if storage is None:
            reason = " ".join(str(problem).split())
            raise Refused(f"{folder / STUDY} cannot be opened ({reason}); {RECOVERY_HINT}") from problem
        reason = f"this one cannot be opened: {without_password(str(problem), url)}".rstrip(".")
        # without a cause: its message may have the address with the password
        raise Refused(
            f"--storage: got {without_password(url, url)!r}; allowed: {allowed}; {reason}{missing}"
        ) from None
    study = optuna.create_study(
        storage=backend,
        study_name=space.name,
        direction="maximize",
        load_if_exists=True,
        # constant_liar: processes that share a search should not propose the same
        sampler=optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(WARM_UP_TRIALS, space.warm_up_epochs),
    )
    check_knows_all_trials(study, folder, storage)
    definition = json.dumps(definition_of(space), sort_keys=True, default=str)
    if study.user_attrs.setdefault("space", definition) != definition:
        refuse(
            "results",
            str(folder),
            f"another folder or name: in this one {space.name} is a search with other settings",
        )
    study.set_user_attr("space", definition)
    any_run = space.run({parameter.name: parameter.values[0] for parameter in space.parameters}, "any", 0)
    data_hash = refuse_changed_data(any_run, study.user_attrs.get("data_hash"), folder)
    if data_hash is not None:
        study.set_user_attr("data_hash", data_hash)
    write_text(folder / SPACE, yaml.safe_dump(json.loads(definition), sort_keys=False))
    return study


def name_of_search(file: Path) -> str:
    """The name of the search in the ``space.yaml`` of a results folder.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["name"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as problem:
        reason = " ".join(str(problem).split())
        raise Refused(
            f"{file} is damaged ({reason}); remove it, and the same command writes it again"
        ) from problem


def check_integrity(file: Path) -> None:
    """Refuse a damaged study file.

    Raises:
        ValueError: names the file and what to do.
    """
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
            found = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.OperationalError:
        return  # it is locked or cannot be opened, which Optuna reports
    except sqlite3.DatabaseError as problem:
        found = str(problem)
    if found != "ok":
        raise Refused(f"{file} is damaged, or not a database of Optuna ({found}); {RECOVERY_HINT}")


def check_knows_all_trials(study: optuna.Study, folder: Path, storage: str | None) -> None:
    """Refuse a study without trials whose files are in the folder: it would start over and overwrite them.

    Raises:
        ValueError: names the study and what to do.
    """
    form = re.compile(r"trial-(\d+)")
    matches = (form.fullmatch(path.name) for path in (folder / TRIALS).glob("*/*/"))
    on_disk = {int(match[1]) for match in matches if match}
    known = len(study.get_trials(deepcopy=False))
    if on_disk and max(on_disk) >= known:
        where = folder / STUDY if storage is None else without_password(storage, storage)
        raise Refused(
            f"{where} has been emptied or lost: it knows {known} trials, but {folder / TRIALS} has files "
            f"of {len(on_disk)}, up to number {max(on_disk)}; {RECOVERY_HINT}"
        )


def without_password(text: str, url: str) -> str:
    """The text with the password of the database URL masked, in plain and in percent-encoded form."""
    match = re.match(r"[^:/]+://[^:/@]*:(?P<password>.*)@", url)
    if not match or not match["password"]:
        return text
    for secret in sorted({match["password"], unquote(match["password"])}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def definition_of(space: Space) -> dict:
    """The settings that must not change when a search is resumed; its length and pruning may."""
    content = asdict(space)
    for changeable in ("trials", "hours", "warm_up_epochs"):
        content.pop(changeable)
    for part in ("dataset", "settings"):
        for key in WITHOUT_EFFECT:
            content[part].pop(key, None)
    return content
