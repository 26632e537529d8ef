"""The results folder: what is in it, read back as tables."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.runs.files import CONFIG, CURVE, USERS, Damaged, result_of
from recbole_vae_plugin.settings.former_names import with_current_names
from recbole_vae_plugin.settings.validation import refuse

EXPERIMENT, RUNS = "experiment.yaml", "runs"


def read_experiment(folder: Path, names: Collection[str] | None = None) -> dict:
    """The experiment that a results folder says it holds.

    Args:
        names: keys that it must have; ``None``: all that an experiment has, and no others.

    Raises:
        Damaged: the file is not a whole experiment.
    """
    file = folder / EXPERIMENT
    try:
        content = with_current_names(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValueError) as problem:
        raise Damaged(f"{file} is damaged: {' '.join(str(problem).split())}") from problem
    every = {each.name for each in fields(Experiment)}
    whole = isinstance(content, dict) and (
        content.keys() == every if names is None else content.keys() >= set(names)
    )
    if not whole:
        raise Damaged(f"{file} is damaged: it should have the keys {', '.join(sorted(names or every))}")
    return content


@dataclass(frozen=True)
class Results:
    """All that an experiment has found so far.

    Attributes:
        folder: the results folder.
        experiment: what ran, as in ``experiment.yaml``.
    """

    folder: Path
    experiment: dict

    @classmethod
    def read(cls, folder: str | Path) -> Results:
        """Raises ``ValueError`` where there are no results."""
        folder = Path(folder)
        if not (folder / EXPERIMENT).is_file():
            refuse("results", str(folder), "a folder that `recbole-vae compare` wrote")
        return cls(folder, read_experiment(folder))

    @cached_property
    def _found(self) -> list[tuple[Path, dict]]:
        """Folders and results of the experiment's own runs, as it is configured now."""
        found = []
        for run in Experiment(**self.experiment).runs():
            result = result_of(run, self.folder / RUNS)
            if result:
                found.append((self.folder / RUNS / run.folder, result))
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run: labels, seeds, ``test_<metric>``, ``valid_<metric>``, cost, ``failed``."""
        rows = []
        for _, result in self._found:
            row = {
                key: value
                for key, value in result.items()
                if key not in ("test", "valid", "environment", "fingerprint")
            }
            for phase in ("valid", "test"):
                row |= {f"{phase}_{metric}": value for metric, value in result.get(phase, {}).items()}
            rows.append({"failed": None} | row)
        return pd.DataFrame(rows, columns=None if rows else ["dataset", "method", "failed"])

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row per run and user: labels, seeds, ``user``, one column per metric."""
        return self._collect(USERS, {"user": str})

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per run and epoch: labels, seeds, losses, seconds, validation metrics."""
        return self._collect(CURVE, None)

    def _collect(self, name: str, dtype) -> pd.DataFrame:
        tables = []
        for folder, result in self._found:
            if "failed" not in result:
                table = read_table(folder / name, dtype)
                for place, key in enumerate(("dataset", "method", "split_seed", "model_seed")):
                    table.insert(place, key, result[key])
                tables.append(table)
        if not tables:
            return pd.DataFrame(columns=["dataset", "method"])
        return pd.concat(tables, ignore_index=True)

    @property
    def environments(self) -> list[dict]:
        """The machines and versions that results come from, each once."""
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


def read_table(file: Path, dtype) -> pd.DataFrame:
    """A table that a run wrote.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        return pd.read_csv(file, dtype=dtype)
    except (ValueError, OSError, EOFError, zlib.error) as problem:
        raise Damaged(
            f"{file} is missing or damaged ({problem}); remove the folder {file.parent} and run compare again"
        ) from problem
