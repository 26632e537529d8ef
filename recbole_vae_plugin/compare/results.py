"""The results folder: what is in it, read back as tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from recbole_vae_plugin.compare.cell_files import CONFIG, CURVE, RESULT, USERS
from recbole_vae_plugin.compare.experiment import Experiment
from recbole_vae_plugin.values import refuse

EXPERIMENT, RUNS = "experiment.yaml", "runs"


def read_result(folder: Path) -> dict | None:
    """What a finished or failed run left, or ``None``: a run that was killed leaves nothing."""
    file = folder / RESULT
    return json.loads(file.read_text()) if file.is_file() else None


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
        file = folder / EXPERIMENT
        if not file.is_file():
            refuse("results", str(folder), "a folder that `recbole-vae compare` wrote")
        return cls(folder, yaml.safe_load(file.read_text(encoding="utf-8")))

    @cached_property
    def _found(self) -> list[tuple[Path, dict]]:
        """Folders and results of the experiment's own runs, as it is configured now."""
        found = []
        for cell in Experiment(**self.experiment).cells():
            folder = self.folder / RUNS / cell.folder
            result = read_result(folder)
            if result and result["fingerprint"] == cell.fingerprint:
                found.append((folder, result))
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A row a run: labels, seeds, ``test_<metric>``, ``valid_<metric>``, cost, ``failed``."""
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
        return pd.DataFrame(rows, columns=None if rows else ["dataset", "contestant", "failed"])

    @cached_property
    def users(self) -> pd.DataFrame:
        """A row a run and user: labels, seeds, ``user``, a column a metric."""
        return self._collect(USERS, {"user": str})

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a run and epoch: labels, seeds, losses, seconds, validation metrics."""
        return self._collect(CURVE, None)

    def _collect(self, name: str, dtype) -> pd.DataFrame:
        tables = []
        for folder, result in self._found:
            if "failed" not in result:
                table = pd.read_csv(folder / name, dtype=dtype)
                for place, key in enumerate(("dataset", "contestant", "split_seed", "model_seed")):
                    table.insert(place, key, result[key])
                tables.append(table)
        if not tables:
            return pd.DataFrame(columns=["dataset", "contestant"])
        return pd.concat(tables, ignore_index=True)

    @property
    def environments(self) -> list[dict]:
        """The machines and versions that results come from, each once."""
        found = (result["environment"] for _, result in self._found)
        return list({json.dumps(each): each for each in found if each}.values())

    def config_of(self, dataset: str, contestant: str) -> Path:
        """The resolved config of a contestant's first finished run."""
        for folder, result in self._found:
            if (result["dataset"], result["contestant"]) == (dataset, contestant) and "failed" not in result:
                return folder / CONFIG
        refuse("contestant", contestant, f"one with a finished run on {dataset}")

    def finished(self) -> pd.DataFrame:
        """The runs that did not fail."""
        return self.runs[self.runs["failed"].isna()]
