"""The searches of a comparison: run, recorded in ``search.json``, and read back.

A search sees the validation data alone: its runs are executed without a test (``test=False``). Its record is
written when it has ended; only then is its method run with all seeds and tested.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict, cast

from recbole_vae_plugin.compare.experiment import Experiment, SearchKey
from recbole_vae_plugin.runs.files import RESULT, Damaged, load_result_if_whole
from recbole_vae_plugin.runs.run import slug
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.system.atomic import write_text
from recbole_vae_plugin.tune.space import UNLIMITED, Space, format_values

TUNE, RECORD = "tune", "search.json"


class RequiredOfRecord(TypedDict):
    """The content of ``search.json``: what a search has cost, and what it has found.

    ``trials`` counts those that finished, pruned and failed ones included; ``search_seconds`` is the sum of
    the seconds of their runs. ``values`` are those that the best trial has changed, empty if the method's own
    settings were the best (``own_settings``), and ``shown`` the values of every parameter then; ``values`` is
    ``None`` if no trial finished. ``whole_space`` says that there are no further configurations, ``cut`` that
    the limit of hours ended the search before its number of trials. ``fingerprint`` is that of the space and
    of the settings beneath it.
    """

    dataset: str
    method: str
    split_seed: int
    space: str
    fingerprint: str
    budget: dict[str, Any]
    trials: int
    pruned: int
    failed: int
    search_seconds: float
    whole_space: bool
    cut: bool
    own_settings: bool
    best_trial: int | None
    valid_score: float | None
    values: dict[str, Any] | None
    shown: dict[str, Any]


class Record(RequiredOfRecord, total=False):
    """A record, with what may be missing from it: ``data_hash``, the hash of the content of the data set's
    files."""

    data_hash: str | None


def folder_of(results: Path, search: SearchKey) -> Path:
    """The folder of a search in a results folder."""
    return results / TUNE / slug(search.dataset) / slug(search.method) / f"split-{search.split_seed}"


def budget_of(space: Space) -> dict[str, Any]:
    """What must not change once a search has ended."""
    return {"trials": space.trials, "hours": space.hours, "warm_up_epochs": space.warm_up_epochs}


def fingerprint_of(space: Space) -> str:
    """A hash of what trials depend on, independent of their number and of where the data is stored."""
    from recbole_vae_plugin.tune.study import definition_of

    text = json.dumps(definition_of(space), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_record(results: Path, search: SearchKey) -> Record | None:
    """What a search has found; ``None`` if it has not ended, or if the file is damaged: the study has all of
    it, so that the next call writes it again."""
    file = folder_of(results, search) / RECORD
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or Record.__required_keys__ - content.keys():
            raise ValueError("it is not complete")
    except (ValueError, RecursionError, OSError) as problem:
        print(f"warning: {Damaged(f'{file} is damaged: {problem}')}; it counts as missing", file=sys.stderr)
        return None
    return cast(Record, content)


def read_records(experiment: Experiment, results: Path) -> dict[SearchKey, Record]:
    """The records of the searches that have ended."""
    found = {search: read_record(results, search) for search in experiment.searches()}
    return {search: record for search, record in found.items() if record is not None}


def is_begun(results: Path, search: SearchKey) -> bool:
    """Whether there is a study of a search, which may have ended."""
    return (folder_of(results, search) / "space.yaml").is_file()


def winners(records: dict[SearchKey, Record]) -> dict[SearchKey, dict[str, Any]]:
    """Search -> the values of its best trial, without searches that found none."""
    return {search: each["values"] for search, each in records.items() if each["values"] is not None}


def winner_line(record: Record) -> str:
    """The values of the best trial on one line; empty if there is none."""
    if record["values"] is None:
        return ""
    shown = {key: "set from the data" if value is None else value for key, value in record["shown"].items()}
    return format_values(shown) + (" (its own settings)" if record["own_settings"] else "")


def trial_seconds(results: Path, search: SearchKey) -> Iterator[float]:
    """The seconds of each run that a search has finished so far."""
    for file in (folder_of(results, search) / "trials").glob(f"*/*/split-*/{RESULT}"):
        result = load_result_if_whole(file.parent)
        if result is not None:
            yield result["seconds"]


def run_search(
    experiment: Experiment, search: SearchKey, results: Path, jobs: int, storage: str | None
) -> Record:
    """Start or resume a search, and write its record, the table of its trials and ``best.yaml``.

    Args:
        storage: see :func:`~recbole_vae_plugin.tune.study.open_study`.
    """
    from recbole_vae_plugin.tune.outcome import write_winner
    from recbole_vae_plugin.tune.search import Rules
    from recbole_vae_plugin.tune.search import search as run_trials
    from recbole_vae_plugin.tune.trial import DEFAULTS

    space, folder = experiment.space_of(search), folder_of(results, search)
    # the results folder is locked, so that only a database elsewhere has trials of other processes
    rules = Rules(space.own_values(), count_run_time=True, exclusive=storage is None)
    study = run_trials(space, folder, jobs, storage, rules)
    record = costs(search, space, experiment.spaces[search.method]["source"], study, rules)
    try:
        best = write_winner(space, study, folder)
    except Refused as problem:
        print(f"FAILED search of {search}: {problem}", file=sys.stderr)
    else:
        own, values = DEFAULTS in best.user_attrs, best.user_attrs["values"]
        shown = best.user_attrs[DEFAULTS] if own else values
        found: Any = {
            "own_settings": own,
            "best_trial": best.number,
            "valid_score": best.value,
            "values": values,
            "shown": shown,
        }
        record |= found
    write_text(folder / RECORD, json.dumps(record, indent=1))
    return record


def costs(search: SearchKey, space: Space, source: str, study: Any, rules: Any) -> Record:
    """The record of a search, without what it has found.

    Args:
        source: see :class:`~recbole_vae_plugin.compare.tuning.MethodSpace`.
        study: Optuna's.
        rules: a :class:`~recbole_vae_plugin.tune.search.Rules`, which only a search imports.
    """
    from recbole_vae_plugin.tune.trial import is_finished, seconds_of

    finished = [trial for trial in study.get_trials(deepcopy=False) if is_finished(trial)]
    states = [trial.state.name for trial in finished]
    whole = len(finished) >= space.configurations(rules.defaults)
    return {
        "dataset": search.dataset,
        "method": search.method,
        "split_seed": search.split_seed,
        "space": source,
        "fingerprint": fingerprint_of(space),
        "budget": budget_of(space),
        "trials": len(finished),
        "pruned": states.count("PRUNED"),
        "failed": states.count("FAIL"),
        "search_seconds": seconds_of(finished),
        "whole_space": whole,
        # where only time is limited, it is the budget
        "cut": not whole and len(finished) < space.trials < UNLIMITED and space.hours is not None,
        "own_settings": False,
        "best_trial": None,
        "valid_score": None,
        "values": None,
        "shown": {},
        "data_hash": study.user_attrs.get("data_hash"),
    }
