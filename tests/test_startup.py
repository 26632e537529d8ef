"""What starts faster must start the same."""

from __future__ import annotations

import csv
import re

import numpy as np
import pandas as pd
import pytest
from recbole.data.dataset import dataset as dataset_module

ODD = """item:token\ttitle:token_seq\tscore:float
007\t"a ""b"" c"\t0.1
8\t\t
nï\td' e\t1e-17
9\tlast\t2.675
"""


@pytest.mark.parametrize("engine", ["python", "c"])
def test_files_are_read_as_pandas_reads_them_in_python(engine, tmp_path):
    generator = np.random.default_rng(0)
    floats = "".join(f"{i}\tt\t{value!r}\n" for i, value in enumerate(generator.normal(size=1000).tolist()))
    file = tmp_path / "odd.item"
    file.write_text(ODD + floats, encoding="utf-8")
    kinds = {"item:token": str, "title:token_seq": str, "score:float": np.float64}
    # atomic files have no quoting
    options = {"usecols": [*kinds], "encoding": "utf-8", "quoting": csv.QUOTE_NONE}
    ours = dataset_module.pd.read_csv(file, delimiter="\t", engine=engine, dtype=kinds, **options)
    # texts are objects, as pandas 2 has them and RecBole expects them
    objects = {column: object if kind is str else kind for column, kind in kinds.items()}
    expected = pd.read_csv(file, delimiter="\t", engine="python", dtype=objects, **options)
    sequences = ["title:token_seq"]
    for table in (ours, expected):
        table[sequences] = table[sequences].fillna("")
    pd.testing.assert_frame_equal(pd.DataFrame(ours), expected, check_exact=True)


def test_separators_of_several_characters_are_still_read(tmp_path):
    (tmp_path / "wide.inter").write_text("a:token::b:token\n1::2\n")
    kinds = {"a:token": str, "b:token": str}
    read = dataset_module.pd.read_csv(tmp_path / "wide.inter", delimiter="::", engine="python", dtype=kinds)
    assert read.values.tolist() == [["1", "2"]]


def test_the_rest_of_pandas_is_the_same():
    assert pd.read_csv.__name__ == dataset_module.pd.read_csv.__name__ == "read_csv"
    assert dataset_module.pd.DataFrame is pd.DataFrame
    assert pd.read_csv is not dataset_module.pd.read_csv


def test_the_log_still_says_how_busy_the_processor_is(settings):
    from recbole.config import Config
    from recbole.utils import get_environment

    table = get_environment(Config(model="VAESplit", dataset="ml-100k", config_dict=settings))
    assert re.search(r"CPU\s*\|\s*[0-9.]+ %", table.draw())


def test_interactions_are_grouped_as_recbole_groups_them():
    users = np.random.default_rng(0).integers(0, 50, 1000)
    expected: dict[int, list[int]] = {}
    for row, user in enumerate(users.tolist()):
        expected.setdefault(user, []).append(row)
    assert dataset_module.Dataset._grouped_index(None, users) == list(expected.values())
    assert dataset_module.Dataset._grouped_index(None, np.array([], dtype=np.int64)) == []
