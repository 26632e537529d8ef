"""Data sets with gaps are read alike on pandas 2 and 3; the right values are written down here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from packaging.version import Version
from recbole.config import Config
from recbole.data import create_dataset

from recbole_vae_plugin.integration.patching.patch import APPLIED, NOT_NEEDED
from recbole_vae_plugin.integration.patching.registry import PATCHES

INTERACTIONS = """user_id:token\titem_id:token\trating:float\tplace:token
007\ta\t1\thome
007\tb\t\t
8\ta\t4\twork
8\tb\t1\thome
"""
ITEMS = """item_id:token\tgenres:token_seq\tyear:token\tprice:float\tvector:float_seq
a\tdrama war\t1990\t1.5\t1 2
b\t\t\t\t
d\twar\t1991\t4.5\t3
"""


@pytest.fixture
def dataset(settings):
    folder = Path("data/gaps")
    folder.mkdir(parents=True)
    (folder / "gaps.inter").write_text(INTERACTIONS)
    (folder / "gaps.item").write_text(ITEMS)

    def load(**more):
        keys = {**settings, "data_path": "data", "load_col": None, **more}
        found = create_dataset(Config(model="BPR", dataset="gaps", config_dict=keys))
        found._change_feat_format()
        return found

    return load


def tokens(dataset, field: str, values) -> list[str]:
    return list(dataset.id2token(field, values))


def test_texts_stay_texts(dataset):
    found = dataset()
    assert tokens(found, "user_id", found.inter_feat["user_id"]) == ["007", "007", "8", "8"]
    assert tokens(found, "item_id", found.inter_feat["item_id"]) == ["a", "b", "a", "b"]


def test_a_missing_token_is_the_padding_and_a_missing_number_the_mean(dataset):
    found = dataset()
    assert tokens(found, "place", found.inter_feat["place"]) == ["home", "[PAD]", "work", "home"]
    assert found.inter_feat["rating"].tolist() == [1, 2, 4, 1]
    # d has no interaction; row 0 is the padding
    names = tokens(found, "item_id", found.item_feat["item_id"])
    years = dict(zip(names, tokens(found, "year", found.item_feat["year"])))
    assert years == {"[PAD]": "[PAD]", "a": "1990", "b": "[PAD]", "d": "1991"}
    prices = dict(zip(names, found.item_feat["price"].tolist()))
    assert prices == {"[PAD]": 3, "a": 1.5, "b": 3, "d": 4.5}


def test_missing_sequences_are_empty(dataset):
    found = dataset()
    names = tokens(found, "item_id", found.item_feat["item_id"])
    genres = {
        name: [genre for genre in tokens(found, "genres", row) if genre != "[PAD]"]
        for name, row in zip(names, found.item_feat["genres"])
    }
    assert genres == {"[PAD]": [], "a": ["drama", "war"], "b": [], "d": ["war"]}
    assert dict(zip(names, found.item_feat["vector"].sum(1).tolist()))["a"] == 3


def test_sequences_of_numbers_are_normalised_one_by_one(dataset):
    found = dataset(normalize_field=["vector"])
    names = tokens(found, "item_id", found.item_feat["item_id"])
    vectors = dict(zip(names, found.item_feat["vector"].tolist()))
    assert vectors["a"] == [0, 0.5] and vectors["d"] == [1, 0] and vectors["b"] == [0, 0]


def test_the_repairs_are_in_force_where_they_are_needed():
    import pandas as pd

    expected = APPLIED if Version(pd.__version__).major >= 3 else NOT_NEEDED
    states = {
        patch.name: patch.state for patch in PATCHES.values() if "pandas_3" in patch.function.__module__
    }
    assert len(states) == 2 and set(states.values()) == {expected}


def test_tensors_of_a_column_are_whole_numbers(dataset):
    assert dataset().inter_feat["place"].dtype == torch.int64
