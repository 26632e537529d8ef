"""One run: a method on a data set, with a seed for the split and one for the model."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

#: Characters of a label in the name of a folder.
LONGEST_NAME = 80


def slug(label: str) -> str:
    """A label as the name of a folder; labels that differ only in odd characters stay apart."""
    plain = re.sub(r"[^\w.+-]+", "-", label).strip("-.")[:LONGEST_NAME]
    return plain if plain == label else f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Run:
    """What is trained and tested once.

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

    @property
    def folder(self) -> Path:
        """Where its results lie, below the folder of all runs."""
        seeds = f"split-{self.split_seed}-model-{self.model_seed}"
        return Path(slug(self.dataset), slug(self.method), seeds)

    @property
    def fingerprint(self) -> str:
        """Equal for runs that are configured alike, wherever their data lies."""
        settings = {key: value for key, value in self.settings.items() if key != "data_path"}
        content = asdict(replace(self, settings=settings))
        # the former name, so that results of earlier versions are recognised
        content["contestant"] = content.pop("method")
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def labels(self) -> dict:
        """What tells its results from others."""
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
