"""Optuna's study of a search: opened, new or as far as it has come, and refused where it is damaged."""

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

from recbole_vae_plugin.settings.validation import Refused, refuse
from recbole_vae_plugin.system.atomic import write_text
from recbole_vae_plugin.tune.heartbeat import storage_with_heartbeat
from recbole_vae_plugin.tune.space import Space

SPACE, TRIALS, STUDY = "space.yaml", "trials", "study.db"
#: Trials that finish before weak ones are stopped.
WARM_UP_TRIALS = 5
WAY_ON = "put back a whole one, give another folder (--results), or move this folder away and begin anew"


def open_study(space: Space, folder: Path, storage: str | None) -> optuna.Study:
    """The study of this search, new or as far as it has come.

    Args:
        space: checked.
        folder: of the results; the database is a file in it unless ``storage`` is given.
        storage: an address as SQLAlchemy writes them.

    Raises:
        ValueError: the folder or the study is of another search.
    """
    if (folder / SPACE).is_file():
        known = name_of_search(folder / SPACE)
        if known != space.name:
            refuse("results", str(folder), f"another folder: it holds the search {known}")
    if storage is None:
        check_whole(folder / STUDY)
    # experimental: sampling several parameters together, and heartbeats
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
            raise Refused(f"{folder / STUDY} cannot be opened ({reason}); {WAY_ON}") from problem
        reason = f"this one cannot be opened: {without_password(str(problem), url)}".rstrip(".")
        # no cause is shown: it may hold the address with its password
        raise Refused(
            f"--storage: got {without_password(url, url)!r}; allowed: {allowed}; {reason}{missing}"
        ) from None
    study = optuna.create_study(
        storage=backend,
        study_name=space.name,
        direction="maximize",
        load_if_exists=True,
        # processes that search together must not propose the same
        sampler=optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(WARM_UP_TRIALS, space.warm_up_epochs),
    )
    check_knows_trials(study, folder, storage)
    definition = json.dumps(definition_of(space), sort_keys=True, default=str)
    if study.user_attrs.setdefault("space", definition) != definition:
        refuse(
            "results",
            str(folder),
            f"another folder or name: there {space.name} is a search with other settings",
        )
    study.set_user_attr("space", definition)
    write_text(folder / SPACE, yaml.safe_dump(json.loads(definition), sort_keys=False))
    return study


def name_of_search(file: Path) -> str:
    """What the search is called whose space a results folder holds.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))["name"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as problem:
        reason = " ".join(str(problem).split())
        raise Refused(
            f"{file} is damaged ({reason}); remove it, and the same command writes it anew"
        ) from problem


def check_whole(file: Path) -> None:
    """Refuse the file of a study in which anything is damaged.

    Raises:
        ValueError: names the file and the way on.
    """
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
            found = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.OperationalError:
        return  # it is busy, or cannot be opened, which Optuna says, too
    except sqlite3.DatabaseError as problem:
        found = str(problem)
    if found != "ok":
        raise Refused(f"{file} is damaged, or no database of Optuna's ({found}); {WAY_ON}")


def check_knows_trials(study: optuna.Study, folder: Path, storage: str | None) -> None:
    """Refuse a study that does not know trials whose files the folder holds: it would begin anew, and
    overwrite them.

    Raises:
        ValueError: names the study and the way on.
    """
    form = re.compile(r"trial-(\d+)")
    matches = (form.fullmatch(path.name) for path in (folder / TRIALS).glob("*/*/"))
    there = {int(match[1]) for match in matches if match}
    known = len(study.get_trials(deepcopy=False))
    if there and max(there) >= known:
        where = folder / STUDY if storage is None else without_password(storage, storage)
        raise Refused(
            f"{where} has been emptied or lost: it knows {known} trials, and {folder / TRIALS} holds files "
            f"of {len(there)}, up to number {max(there)}; {WAY_ON}"
        )


def without_password(text: str, url: str) -> str:
    """The text with the password of a database's address hidden, however it is written there."""
    match = re.match(r"[^:/]+://[^:/@]*:(?P<password>.*)@", url)
    if not match or not match["password"]:
        return text
    for secret in sorted({match["password"], unquote(match["password"])}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def definition_of(space: Space) -> dict:
    """What must stay as it is while a search goes on; how long it and its trials last may change."""
    content = asdict(space)
    for changeable in ("trials", "hours", "warm_up_epochs"):
        content.pop(changeable)
    content["dataset"].pop("data_path")
    return content
