"""What ``recommend`` is given: read if it can be understood, else refused with words; never a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sparse
import torch
from bundles import small_bundle

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.serving.bundle import BundleError, read_bundle, write_bundle
from recbole_vae_plugin.serving.recommender import Recommender


@pytest.fixture(scope="module")
def numbered() -> Recommender:
    """Its items are called 0, 1, ..."""
    bundle = small_bundle()
    bundle.vocabulary.ids[:] = [name[1:] for name in bundle.vocabulary.ids]
    bundle.vocabulary.__dict__.pop("columns", None)
    return Recommender(bundle)


@pytest.mark.parametrize(
    "items",
    [
        np.array([1, 2]),
        torch.tensor([1, 2]),
        [np.array(1), np.array(2)],
        [torch.tensor(1), torch.tensor(2)],
        (np.int32(1), "2"),
        iter(["1", 2]),
        {"1", "2"},
        range(1, 3),
    ],
)
def test_forms_of_one_history(numbered, items):
    assert numbered.recommend(items, k=4) == numbered.recommend(["1", "2"], k=4)


@pytest.mark.parametrize(
    "columns", [lambda: map(str, range(40)), lambda: np.arange(40), lambda: list(range(40))]
)
def test_forms_of_a_vocabulary(numbered, columns):
    matrix = sparse.csr_matrix(([1.0, 1.0], ([0, 0], [1, 2])), shape=(1, 40))
    assert numbered.recommend(matrix, k=4, vocabulary=columns()) == [numbered.recommend(["1", "2"], k=4)]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"items": np.array(5)}, "items: got 'ndarray'"),
        ({"items": torch.tensor(5)}, "items: got 'Tensor'"),
        ({"items": 5}, "items: got 5"),
        ({"items": [1.5]}, "item: got 1.5"),
        ({"items": [[1], 2]}, "items: got 2"),
        ({"items": ["1"], "include_seen": "no"}, "include_seen: got 'no'; allowed: True or False"),
        ({"items": ["1"], "with_scores": 1}, "with_scores: got 1"),
        ({"items": sparse.csr_matrix((1, 4)), "vocabulary": "abcd"}, "vocabulary: got 'abcd'"),
        ({"items": sparse.csr_matrix((1, 4)), "vocabulary": {"a": 1}}, "vocabulary: got {'a': 1}"),
        ({"items": sparse.csr_matrix((1, 4)), "vocabulary": 4}, "vocabulary: got 4"),
        ({"items": sparse.coo_array(([1.0], ([0],)), shape=(4,)), "vocabulary": range(4)}, "1 dimension"),
        ({"items": sparse.csr_matrix([[np.nan, 1.0]]), "vocabulary": [1, 2]}, "a matrix with NaN"),
    ],
)
def test_what_cannot_be_understood_is_refused(numbered, arguments, said):
    with pytest.raises(ValueError) as refused:
        numbered.recommend(**arguments)
    assert said in str(refused.value)


def test_a_user_that_is_not_json_is_a_bad_line(numbered, capsys):
    write_bundle(numbered.bundle, Path("n.vae"))
    Path("users.jsonl").write_text('{"user": NaN, "items": ["1"]}\n{"user": "b", "items": ["1"]}\n')
    assert main(["recommend", "n.vae", "--input", "users.jsonl", "--output", "out.jsonl"]) == 0
    assert "line 1 skipped: NaN is not JSON" in capsys.readouterr().err
    (line,) = Path("out.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["user"] == "b"


def test_titles_do_not_steer_the_terminal(numbered, capsys):
    bundle = small_bundle()
    bundle.vocabulary.titles[:] = ["\x1b[2J\x1b]0;owned\x07Film\nnext"] * 40
    write_bundle(bundle, Path("hostile.vae"))
    assert main(["recommend", "hostile.vae", "--items", "i1", "-k", "2"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\x07" not in shown and "[2J" in shown
    assert len(shown.splitlines()) == 5


def test_weights_that_overflow_give_an_error_and_no_ranking():
    bundle = small_bundle()
    for weight in bundle.network.parameters():
        weight.fill_(3e38)
    write_bundle(bundle, Path("large.vae"))
    with pytest.raises(ValueError, match="scores are not finite"):
        Recommender.load("large.vae").recommend(["i1"])


def test_sixty_thousand_layers_are_refused_at_once():
    from bundles import archived, parts_of

    write_bundle(small_bundle(), Path("small.vae"))
    parts = parts_of(Path("small.vae"))
    manifest = json.loads(parts["manifest.json"])
    manifest["settings"]["mlp_hidden_size"] = [1] * 60_000
    Path("deep.vae").write_bytes(archived(parts | {"manifest.json": json.dumps(manifest).encode()}))
    with pytest.raises(BundleError, match="mlp_hidden_size: got '60000 widths'; allowed: at most 100"):
        read_bundle("deep.vae")


FORKED = """
import multiprocessing, sys
import torch
from recbole_vae_plugin import Recommender
torch.set_num_threads(2)
recommender = Recommender.load("wide.vae")
histories = [[f"i{item}" for item in range(first, first + 50)] for first in range(300)]
before = recommender.recommend(histories, k=3)
def again(_):
    return recommender.recommend(histories, k=3)
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers = pool.map_async(again, range(2)).get(timeout=60)
assert answers == [before] * 2
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process that has threads")
def test_a_child_that_is_forked_after_an_answer_answers_too():
    write_bundle(small_bundle(items=5000, mlp_hidden_size=[600], latent_dimension=200), Path("wide.vae"))
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


class TestNoUsers:
    """An empty batch has an empty answer; one user without items gets the popular ones."""

    IDS = tuple(str(number) for number in range(40))

    @pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.coo_array])
    @pytest.mark.parametrize("batch", [None, True])
    def test_a_matrix_without_rows(self, numbered, form, batch, recwarn):
        matrix = form((0, 40))
        assert numbered.recommend(matrix, vocabulary=self.IDS, batch=batch) == []
        assert len(numbered.encode(matrix, vocabulary=self.IDS, batch=batch).mu) == 0
        assert not recwarn

    @pytest.mark.parametrize("empty", [[], (), set(), iter([]), np.array([]), pd.Series([])])
    def test_a_list_that_is_said_to_be_a_batch(self, numbered, empty, recwarn):
        assert numbered.recommend(empty, batch=True) == []
        assert numbered.encode(empty, batch=True).mu.shape == (0, 4)
        assert not recwarn

    @pytest.mark.parametrize("batch", [None, False])
    def test_an_empty_list_is_one_user(self, numbered, batch):
        with pytest.warns(
            UserWarning, match="popular items; with batch=True an empty list is a batch without"
        ):
            found = numbered.recommend([], k=3, batch=batch)
        with pytest.warns(UserWarning, match="1 of 1 histories"):
            assert [found] == numbered.recommend([[]], k=3, batch=True)
        assert len(found) == 3

    @pytest.mark.parametrize("table", [np.zeros((0, 3)), torch.zeros(0, 3), pd.DataFrame({"a": []})])
    def test_dense_tables_are_refused_without_rows_as_with_them(self, numbered, table):
        for batch in (None, True):
            with pytest.raises(ValueError, match="items: got .*; allowed: a list of lists of item ids"):
                numbered.recommend(table, batch=batch)

    @pytest.mark.parametrize(
        "items, batch, said",
        [
            (["1"], True, "items: got '1'; allowed: lists of item ids with batch=True"),
            ([["1"]], False, r"items: got \['1'\]; allowed: item ids with batch=False"),
            (sparse.csr_matrix((0, 40)), False, "batch: got False; allowed: True or None with a matrix"),
            (["1"], "yes", "batch: got 'yes'; allowed: True, False or None"),
        ],
    )
    def test_a_batch_that_is_none_is_refused(self, numbered, items, batch, said):
        with pytest.raises(ValueError, match=said):
            numbered.recommend(items, batch=batch)
