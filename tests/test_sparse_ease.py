"""The sparse linear branch against least squares on each item's neighbours, and against EASE."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from bundles import small_bundle
from histories import ITEMS, PENALTIES, USERS, interactions_of, square_roots_of_weights, uneven_histories

from recbole_vae_plugin.nn import sparse_ease as sparse_module
from recbole_vae_plugin.nn.ease import ease
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.sparse_ease import SparseEASE, sparse_ease
from recbole_vae_plugin.serving.bundle import read_bundle, write_bundle
from recbole_vae_plugin.testing.contract import fit


@pytest.fixture
def dense():
    return uneven_histories()


@pytest.fixture
def interactions(dense):
    return interactions_of(dense)


def solved_on_neighbors(dense, n_neighbors, reg_weight, dropout_prob, user_power):
    """Each item's regression on the items with the highest correlations, by least squares."""
    X = dense * square_roots_of_weights(dense, user_power)
    gram = X.T @ X
    penalty = reg_weight + dropout_prob / (1 - dropout_prob) * gram.diagonal()
    B = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for item in range(ITEMS):
        explained = gram[:, item] ** 2 / (gram.diagonal() + penalty)
        explained[item] = 0
        nearest = explained.topk(n_neighbors).indices
        nearest = nearest[explained[nearest] > 0]
        rows = torch.cat([X[:, nearest], penalty[nearest].sqrt().diag()])
        targets = torch.cat([X[:, item], torch.zeros(len(nearest), dtype=torch.float64)])
        B[nearest, item] = torch.linalg.lstsq(rows, targets[:, None]).solution[:, 0]
    return B


@pytest.mark.parametrize("reg_weight, dropout_prob, user_power", PENALTIES)
@pytest.mark.parametrize("n_neighbors", [1, 4, ITEMS])
@pytest.mark.parametrize("part", [2**24, 5 * ITEMS])
def test_each_item_is_regressed_on_its_neighbors(
    dense,
    interactions,
    reg_weight,
    dropout_prob,
    user_power,
    n_neighbors,
    part,
    monkeypatch,
):
    monkeypatch.setattr(sparse_module, "CHUNK_SIZE", part)
    B = sparse_ease(interactions, n_neighbors, reg_weight, dropout_prob, user_power)
    expected = solved_on_neighbors(dense, min(n_neighbors, ITEMS), reg_weight, dropout_prob, user_power)
    torch.testing.assert_close(torch.from_numpy(B.toarray()).double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reg_weight, dropout_prob, user_power", PENALTIES)
def test_with_all_items_as_neighbors_it_is_ease(interactions, reg_weight, dropout_prob, user_power):
    B = sparse_ease(interactions, ITEMS, reg_weight, dropout_prob, user_power).toarray()
    expected = ease(interactions, reg_weight, dropout_prob, user_power)
    torch.testing.assert_close(torch.from_numpy(B), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("power", [0.15, 1.0])
def test_items_are_scaled_by_powers_of_their_numbers_of_users(dense, interactions, power):
    n = dense.sum(0).clamp(min=1)
    for method in (ease, partial(sparse_ease, n_neighbors=4)):
        plain, scaled = (
            method(interactions, reg_weight=2, dropout_prob=0.5, user_power=0.5, item_power=a)
            for a in (0, power)
        )
        if not isinstance(plain, torch.Tensor):
            plain, scaled = torch.from_numpy(plain.toarray()), torch.from_numpy(scaled.toarray())
        expected = plain.double() * n[:, None] ** power / n**power
        torch.testing.assert_close(scaled.double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reg_weight, dropout_prob, user_power", PENALTIES)
@pytest.mark.parametrize("max_diagonal", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("users", [USERS, 9])
def test_the_diagonal_may_be_relaxed(dense, reg_weight, dropout_prob, user_power, max_diagonal, users):
    """Each item is regressed on all, itself included; where its own weight comes out too large, that weight
    is fixed, and what it leaves of the item is regressed on the others."""
    dense = dense[:users]
    X = dense / dense.sum(1, keepdim=True).clamp(min=1) ** (user_power / 2)
    X = X * (dense.any(1).sum() / (X.square().sum(1) / dense.sum(1).clamp(min=1)).sum()).sqrt()
    gram = X.T @ X
    D = reg_weight + dropout_prob / (1 - dropout_prob) * gram.diagonal()
    free = torch.linalg.solve(gram + D.diag(), gram)
    expected, fixed = free.clone(), 0
    for item in range(ITEMS):
        if free[item, item] > max_diagonal:
            others = [other for other in range(ITEMS) if other != item]
            left = gram[others, item] * (1 - max_diagonal)
            system = gram[others][:, others] + D[others].diag()
            expected[others, item] = torch.linalg.solve(system, left)
            fixed += 1
    expected.fill_diagonal_(0)
    assert (0 < fixed) == (max_diagonal < free.diagonal().max())
    relaxed = Interactions(*dense.nonzero().T, users, ITEMS)
    penalty = {"reg_weight": reg_weight, "dropout_prob": dropout_prob, "user_power": user_power}
    B = ease(relaxed, **penalty, max_diagonal=max_diagonal)
    torch.testing.assert_close(B.double(), expected, rtol=1e-4, atol=1e-5)
    if users == USERS:
        sparse = sparse_ease(relaxed, ITEMS, **penalty, max_diagonal=max_diagonal)
        torch.testing.assert_close(torch.from_numpy(sparse.toarray()), B, rtol=1e-4, atol=1e-5)


def fitted(interactions, n_neighbors=4):
    branch = SparseEASE(ITEMS, n_neighbors)
    branch.fit(interactions, SparseEASE.Settings(neighbors=n_neighbors, reg_weight=1.0, item_power=0.0))
    again = SparseEASE(ITEMS, n_neighbors)
    again.load_state_dict(branch.state_dict())
    return again


@pytest.mark.parametrize("part", [2**22, 1, 9])
def test_the_branch_adds_its_weighted_product(dense, interactions, part, monkeypatch):
    branch = fitted(interactions)
    branch.weight.fill_(2.5)
    B = torch.from_numpy(sparse_ease(interactions, 4, 1.0, 0.5, 0.5).toarray())
    monkeypatch.setattr(sparse_module, "CHUNK_SIZE", part)
    users = torch.tensor([7, 0, 59, 7])
    rows = interactions.rows(users)
    rows = rows.with_values(torch.rand(len(rows.items)))
    torch.testing.assert_close(branch(rows), 2.5 * rows.to_dense() @ B, rtol=1e-4, atol=1e-5)
    empty = interactions.rows(users[:0])
    assert branch(empty).shape == (0, ITEMS)


def test_by_columns_it_is_the_same(interactions):
    """The form for export, of histories with fewer entries than columns are wide, an empty one among them."""
    branch = fitted(interactions)
    branch.weight.fill_(2.5)
    rows = interactions.rows(torch.tensor([7, 0, 59]))
    torch.testing.assert_close(branch.for_export()(rows), branch(rows), rtol=1e-5, atol=1e-6)


def test_operations_are_counted_before_the_branch_is_fitted(interactions):
    """Every item has four neighbours, so that four entries are read for an item in the mean over items."""
    rows = interactions.rows(torch.tensor([7, 9]))
    assert SparseEASE(ITEMS, 4).operations(rows) == 4 * len(rows.items) > 0


def test_what_is_not_kept_of_the_gram_matrix_is_what_blocks_do_not_share(monkeypatch):
    """Users have items of one of five blocks and one more, which correlates with little."""
    generator = torch.Generator().manual_seed(2)
    block = torch.randint(5, (400,), generator=generator)
    wanted = (torch.arange(30) % 5 == block[:, None]) & (torch.rand(400, 30, generator=generator) < 0.7)
    wanted[torch.arange(400), torch.randint(30, (400,), generator=generator)] = True
    planted = Interactions(*wanted.nonzero().T, 400, 30)
    whole = sparse_ease(planted, 5, 10.0, 0.0, 0.0)
    monkeypatch.setattr(sparse_module, "MAX_GRAM", 30 * 6)
    part = sparse_ease(planted, 5, 10.0, 0.0, 0.0)
    np.testing.assert_allclose(part.toarray(), whole.toarray(), rtol=1e-4, atol=1e-5)
    source, target = whole.nonzero()
    assert (source % 5 == target % 5).all() and whole.nnz == 30 * 5


def test_a_weight_that_float32_cannot_hold_is_refused(interactions):
    with pytest.raises(ValueError, match="linear_reg_weight is too large"):
        sparse_ease(interactions, 4, 1e39, 0, 0)


def test_without_regularisation_items_that_always_come_together_are_refused(dense):
    dense[:, 4] = dense[:, 5] = dense[:, 6]
    together = interactions_of(dense)
    with pytest.raises(ValueError, match="linear_reg_weight is too small"):
        sparse_ease(together, 4, 0, 0, 0)


@pytest.mark.parametrize("name, value", [("items", -1), ("items", 41), ("offsets", -1), ("offsets", 2**60)])
def test_a_bundle_whose_matrix_has_no_such_rows_is_refused(tmp_path, name, value):
    bundle = small_bundle(linear_branch="sparse_ease", linear_neighbors=3)
    linear = bundle.network.linear
    linear.offsets.copy_(torch.arange(42) * 3)
    write_bundle(bundle, tmp_path / "good.vae")
    read_bundle(tmp_path / "good.vae")
    getattr(linear, name)[20] = value
    write_bundle(bundle, tmp_path / "bad.vae")
    with pytest.raises(ValueError, match=r"bad.vae: the sparse linear branch is damaged"):
        read_bundle(tmp_path / "bad.vae")


class TestInTraining:
    def test_a_catalogue_too_large_for_ease_is_not_for_it(self, prepare, monkeypatch):
        monkeypatch.setattr("recbole_vae_plugin.nn.ease.MAX_ITEMS", 40)
        with pytest.raises(ValueError, match="allowed: none or sparse_ease with 41 items"):
            prepare("VAESplit", linear_branch="ease")
        prepare("VAESplit", linear_branch="sparse_ease")

    def test_another_number_of_neighbors_is_refused_on_resumption(self, prepare):
        run = prepare("DAE", linear_branch="sparse_ease", linear_neighbors=5)
        fit(run, epochs=1)
        other = prepare("DAE", linear_branch="sparse_ease", linear_neighbors=6)
        with pytest.raises(ValueError, match="linear_neighbors: 5 in the checkpoint, 6 in this run"):
            other.trainer.resume_checkpoint(run.trainer.saved_model_file)
