"""The results folder, read as tables."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from recbole_vae_plugin.compare.experiment import Experiment, SearchKey
from recbole_vae_plugin.compare.searches import Record, read_records, winner_line, winners
from recbole_vae_plugin.runs.files import CONFIG, CURVE, USERS, Damaged, Result, result_of
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import refuse

EXPERIMENT, RUNS = "experiment.yaml", "runs"
#: The first columns of tables of users and of epochs.
KEYS_OF_RUNS = ("dataset", "method", "split_seed", "model_seed")


def read_experiment(folder: Path, names: Collection[str] | None = None) -> dict:
    """The content of ``experiment.yaml`` in a results folder.

    Args:
        names: keys that it must have; by default exactly those of an experiment, of which what
            earlier versions did not write is added.

    Raises:
        Damaged: the file is not a complete experiment.
    """
    file = folder / EXPERIMENT
    try:
        content = with_current_names(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as problem:
        raise Damaged(f"{file} is damaged: {' '.join(str(problem).split())}") from problem
    all_names = {each.name for each in fields(Experiment)}
    if names is None and isinstance(content, dict):
        content = {**later_keys(), **content}
    complete = isinstance(content, dict) and (
        content.keys() == all_names if names is None else content.keys() >= set(names)
    )
    if not complete:
        raise Damaged(f"{file} is damaged: it should have the keys {', '.join(sorted(names or all_names))}")
    return content


def later_keys() -> dict[str, Any]:
    """The keys of an experiment that earlier versions did not write, with their defaults."""
    defaults = {each.name: each.default for each in fields(Experiment) if each.default is not MISSING}
    factories = {each.name: each.default_factory for each in fields(Experiment)}
    made = {name: make() for name, make in factories.items() if make is not MISSING}
    return {**defaults, **made}


@dataclass(frozen=True)
class Results:
    """All results of an experiment so far.

    Attributes:
        folder: the results folder.
        experiment: the content of ``experiment.yaml``.
    """

    folder: Path
    experiment: dict

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Read the experiment of a results folder.

        Raises:
            ValueError: the folder has no results.
        """
        folder = Path(folder)
        if not (folder / EXPERIMENT).is_file():
            refuse("results", str(folder), "a folder that `recbole-vae compare` wrote")
        return cls(folder, read_experiment(folder))

    @cached_property
    def definition(self) -> Experiment:
        """The experiment as an object."""
        return Experiment(**self.experiment)

    @cached_property
    def records(self) -> dict[SearchKey, Record]:
        """What the searches that have ended have cost and found."""
        return read_records(self.definition, self.folder)

    @cached_property
    def searches(self) -> pd.DataFrame:
        """One row per search that has ended: ``dataset``, ``method``, ``split_seed``, ``trials`` (finished,
        those ``pruned`` and ``failed`` included), ``search_seconds`` (the sum over its runs), ``space`` (the
        name of a shipped one or of a file, or where else it comes from), ``best_trial``, ``valid_score``,
        ``own_settings`` (whether these were the best) and ``values`` (those of the best trial, on one line).

        A method without a search has no row.
        """
        columns = [*SearchKey._fields, "trials", "pruned", "failed", "search_seconds", "space"]
        columns += ["best_trial", "valid_score", "own_settings"]
        rows = [{**record, "values": winner_line(record)} for record in self.records.values()]
        return pd.DataFrame(rows, columns=[*columns, "values"])

    def settings_of(self, dataset: str, method: str, split_seed: int) -> dict[str, Any]:
        """The given keys of a method, with what its search has found."""
        return self._settings[dataset, method, split_seed]

    @cached_property
    def _settings(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        runs = self.definition.runs(winners(self.records))
        return {(run.dataset, run.method, run.split_seed): run.settings for run in runs}

    @cached_property
    def _found(self) -> list[tuple[Path, Result]]:
        """Folders and results of the runs that the experiment defines, with their present configuration."""
        found = []
        for run in self.definition.runs(winners(self.records)):
            result = result_of(run, self.folder / RUNS)
            if result:
                found.append((self.folder / RUNS / run.folder, result))
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: labels, seeds, ``test_<metric>``, ``valid_<metric>``, cost, ``failed``."""
        rows = []
        for _, result in self._found:
            row: dict[str, Any] = {"failed": None, **result}
            for key in ("environment", "fingerprint", "data_hash"):
                row.pop(key, None)
            for phase in ("valid", "test"):
                metrics = row.pop(phase, {})
                row |= {f"{phase}_{metric}": value for metric, value in metrics.items()}
            rows.append(row)
        return pd.DataFrame(rows, columns=None if rows else ["dataset", "method", "failed"])

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row per run and user: labels, seeds, ``user``, one column per metric."""
        return self._collect(USERS, {"user": str})

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per run and epoch: labels, seeds, losses, seconds, validation metrics."""
        return self._collect(CURVE, None)

    def _collect(self, name: str, dtype: dict[str, type] | None) -> pd.DataFrame:
        """The files of that name of all runs, with the labels and seeds of the run in front."""
        tables = []
        for folder, result in self._found:
            if "failed" not in result:
                table = read_table(folder / name, dtype)
                labels = [result["dataset"], result["method"], result["split_seed"], result["model_seed"]]
                for place, (key, value) in enumerate(zip(KEYS_OF_RUNS, labels)):
                    table.insert(place, key, value)
                tables.append(table)
        if not tables:
            return pd.DataFrame(columns=["dataset", "method"])
        return pd.concat(tables, ignore_index=True)

    @property
    def environments(self) -> list[dict]:
        """The distinct machines and versions that produced the results."""
        found = (result["environment"] for _, result in self._found)
        return list({json.dumps(each): each for each in found if each}.values())

    def config_of(self, dataset: str, method: str) -> Path:
        """The resolved config of a method's first finished run."""
        for folder, result in self._found:
            if (result["dataset"], result["method"]) == (dataset, method) and "failed" not in result:
                return folder / CONFIG
        refuse("method", method, f"one with a finished run on {dataset}")

    def finished(self) -> pd.DataFrame:
        """The runs that did not fail."""
        return self.runs[self.runs["failed"].isna()]


def read_table(file: Path, dtype: dict[str, type] | None) -> pd.DataFrame:
    """A CSV file of a run.

    Raises:
        Damaged: it is missing or cannot be read.
    """
    try:
        return pd.read_csv(file, dtype=dtype)
    except (ValueError, OSError, EOFError, zlib.error) as problem:
        raise Damaged(
            f"{file} is missing or damaged ({problem}); remove the folder {file.parent} and run compare again"
        ) from problem
