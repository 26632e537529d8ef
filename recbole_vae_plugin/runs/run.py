"""One run: a method on a data set, with a seed for the split and one for the model."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict

#: Characters of a label in the name of a folder.
MAX_NAME_LENGTH = 80

#: Keys that have no effect on results.
WITHOUT_EFFECT = {"data_path", "data_hash", "log_wandb", "wandb_project", "log_mlflow"}


def slug(label: str) -> str:
    """The folder name of a label; labels that differ only in special characters get different names."""
    plain = re.sub(r"[^\w.+-]+", "-", label).strip("-.")[:MAX_NAME_LENGTH]
    return plain if plain == label else f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


class RunLabels(TypedDict):
    """The entries of a result that identify its run."""

    dataset: str
    method: str
    model: str
    split_seed: int
    model_seed: int
    fingerprint: str


@dataclass(frozen=True)
class Run:
    """One training and test of a method.

    Attributes:
        dataset: the data set's label.
        method: the method's label.
        settings: keys of RecBole's config, ``model`` and ``dataset`` among them.
    """

    dataset: str
    method: str
    split_seed: int
    model_seed: int
    settings: dict

    def with_settings(self, changes: dict) -> Run:
        """The same run with some settings changed."""
        return replace(self, settings={**self.settings, **changes})

    @property
    def folder(self) -> Path:
        """The path of its results, relative to the folder of all runs."""
        seeds = f"split-{self.split_seed}-model-{self.model_seed}"
        return Path(slug(self.dataset), slug(self.method), seeds)

    @property
    def fingerprint(self) -> str:
        """A hash of the configuration, independent of where the data is stored and what is logged; whether
        the data has changed is asked of the results' ``data_hash``."""
        settings = {key: value for key, value in self.settings.items() if key not in WITHOUT_EFFECT}
        content = asdict(replace(self, settings=settings))
        # the former name: results of earlier versions have fingerprints made with it
        content["contestant"] = content.pop("method")
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def labels(self) -> RunLabels:
        """The entries that identify it in ``result.json``."""
        return {
            "dataset": self.dataset,
            "method": self.method,
            "model": self.settings["model"],
            "split_seed": self.split_seed,
            "model_seed": self.model_seed,
            "fingerprint": self.fingerprint,
        }

    def shares_data_with(self, other: Run | None) -> bool:
        """Whether both are trained on the same split of the same data set."""
        return other is not None and (self.dataset, self.split_seed) == (other.dataset, other.split_seed)

    def __str__(self) -> str:
        return f"{self.method} on {self.dataset}, split {self.split_seed}, seed {self.model_seed}"
