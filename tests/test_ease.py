"""The linear branch against an independent solution, and its weight from choice to checkpoint."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import CONFIGS
from histories import ITEMS, PENALTIES, USERS, interactions_of, square_roots_of_weights, uneven_histories
from recbole.trainer import Trainer

from recbole_vae_plugin.integration.config.keys import default_keys
from recbole_vae_plugin.integration.training.line_search import MAX_FACTOR, line_search
from recbole_vae_plugin.nn import ease as ease_module
from recbole_vae_plugin.nn import linear as linear_module
from recbole_vae_plugin.nn.ease import EASE, ease
from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.settings.validation import number
from recbole_vae_plugin.testing.contract import fit, scores_of
from recbole_vae_plugin.testing.fixtures import interaction_of, users_of


@pytest.fixture
def dense():
    return uneven_histories()


@pytest.fixture
def interactions(dense):
    return interactions_of(dense)


def solved_one_by_one(dense, reg_weight, dropout_prob, user_power):
    """Each item's regression on the other items, by least squares over stacked rows: no inverse, no
    closed form with a diagonal to be divided by."""
    roots = square_roots_of_weights(dense, user_power)
    B = torch.zeros(ITEMS, ITEMS, dtype=torch.float64)
    for item in range(ITEMS):
        others = [other for other in range(ITEMS) if other != item]
        X, y = dense[:, others] * roots, dense[:, item] * roots[:, 0]
        dropped = dropout_prob / (1 - dropout_prob) * X.square().sum(0)
        ridge = torch.diag((reg_weight + dropped).sqrt())
        rows, targets = torch.cat([X, ridge]), torch.cat([y, torch.zeros(len(others), dtype=torch.float64)])
        B[others, item] = torch.linalg.lstsq(rows, targets[:, None]).solution[:, 0]
    return B


@pytest.mark.parametrize("reg_weight, dropout_prob, user_power", PENALTIES)
@pytest.mark.parametrize("part", [2**24, 5 * ITEMS])
@pytest.mark.parametrize("users, inverted", [(USERS, "items"), (9, "users")])
def test_closed_form_is_the_regression_of_each_item_on_the_others(
    dense, reg_weight, dropout_prob, user_power, part, users, inverted, monkeypatch
):
    """Of 9 users one has no history: 8 are at most half of 17 items."""
    monkeypatch.setattr(ease_module, "CHUNK_SIZE", part)
    sizes, inverse = [], ease_module.inverse
    monkeypatch.setattr(ease_module, "inverse", lambda matrix: (sizes.append(len(matrix)), inverse(matrix)))
    dense = dense[:users]
    B = ease(Interactions(*dense.nonzero().T, users, ITEMS), reg_weight, dropout_prob, user_power)
    assert sizes == [ITEMS if inverted == "items" else 8]
    expected = solved_one_by_one(dense, reg_weight, dropout_prob, user_power)
    torch.testing.assert_close(B.double(), expected, rtol=1e-4, atol=1e-5)
    assert (B.diagonal() == 0).all()


@pytest.mark.parametrize("reg_weight, dropout_prob", [(300, 0.5), (30, 0), (1, 0)])
def test_the_inverse_of_the_users_and_that_of_the_items_agree(reg_weight, dropout_prob):
    """Also with popular items, whose leverage comes near 1 where little is regularised."""
    generator = torch.Generator().manual_seed(1)
    popularity = torch.linspace(0, 1, 500) ** 6
    pairs = (torch.rand(200, 500, generator=generator) < popularity).nonzero().T
    rows = ease_module.weighted_rows(Interactions(*pairs, 200, 500), 0.5)
    users_of_items = rows.multiply(rows).sum(axis=0).A1
    penalty = (reg_weight + dropout_prob / (1 - dropout_prob) * users_of_items).astype(np.float32)
    by_items, by_users = (np.empty((500, 500), np.float32) for _ in range(2))
    ease_module.primal(rows, penalty, by_items)
    ease_module.dual(rows, penalty, by_users)
    np.testing.assert_allclose(by_users, by_items, rtol=1e-4, atol=1e-4 * np.abs(by_items).max())


def test_dropout_is_regularised_for_in_expectation(dense, interactions):
    """Least squares over many noisy copies of the histories comes near the closed form."""
    p, copies = 0.5, 400
    generator = torch.Generator().manual_seed(0)
    item, others = 5, [other for other in range(ITEMS) if other != 5]
    X = dense[:, others].repeat(copies, 1)
    X = X * (torch.rand(X.shape, generator=generator) >= p) / (1 - p)
    gram = X.T @ X / copies + torch.eye(len(others), dtype=torch.float64)
    sampled = torch.linalg.solve(gram, X.T @ dense[:, item].repeat(copies) / copies)
    torch.testing.assert_close(ease(interactions, 1, p, 0)[others, item].double(), sampled, rtol=0, atol=0.02)


@pytest.mark.parametrize("users", [USERS, 9])
@pytest.mark.parametrize("dropout_prob", [0, 0.5])
def test_without_regularisation_an_item_that_nobody_has_is_refused(dense, users, dropout_prob):
    few = Interactions(*dense[:users].nonzero().T, users, ITEMS)
    with pytest.raises(ValueError, match="linear_reg_weight is too small"):
        ease(few, 0, dropout_prob, 0)


@pytest.mark.parametrize("users", [USERS, 9])
def test_a_weight_that_float32_cannot_hold_is_refused(dense, users):
    few = Interactions(*dense[:users].nonzero().T, users, ITEMS)
    with pytest.raises(ValueError, match="linear_reg_weight is too large"):
        ease(few, 1e39, 0, 0)


def test_the_branch_adds_its_weighted_product(dense, interactions):
    branch = EASE(ITEMS)
    branch.B.normal_()
    branch.weight.fill_(2.5)
    users = torch.tensor([7, 0, 59])
    torch.testing.assert_close(
        branch(interactions.rows(users)), 2.5 * dense[users].float() @ branch.B, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("room", [0, 2 * ITEMS, 100 * ITEMS])
def test_kept_products_change_nothing(dense, interactions, monkeypatch, room):
    """Rows in and out of the room, in another order, with other values, with another weight."""
    monkeypatch.setattr(linear_module, "MAX_CACHED", room)
    branch = EASE(ITEMS)
    branch.B.copy_(torch.randn(ITEMS, ITEMS))
    batches = [interactions.rows(torch.tensor(users)) for users in ([7, 9], [9, 7], [3], [7, 9])]
    batches.append(batches[0].with_values(batches[0].values * 2))
    with branch.caching_products():
        for weight in (1.0, 0.5):
            branch.weight.fill_(weight)
            for rows in batches:
                torch.testing.assert_close(branch(rows), weight * (rows @ branch.B), rtol=0, atol=0)
    branch.B.zero_()
    assert not branch(batches[0]).any(), "nothing is kept beyond"


@pytest.mark.parametrize("top", [0.03, 0.9, 1.0, 7.7, 300.0])
def test_a_line_search_ends_near_the_top(top):
    tried = []

    def quality(factor):
        tried.append(factor)
        return -abs(torch.tensor(factor / top).log().item())

    at = line_search(quality, 1.0)
    at = line_search(quality, at)
    assert top / 1.6 < at < top * 1.6
    assert len(tried) < 40
    assert quality(at) == max(map(quality, set(tried)))


def test_a_line_search_without_a_top_ends():
    assert line_search(lambda factor: factor, 1.0) <= MAX_FACTOR


def test_a_plateau_is_crossed():
    """Rounded metrics, and a factor so large that nothing else counts."""
    assert 5 < line_search(lambda factor: round(1 / (1 + abs(factor - 6)), 2), 900.0) < 10


@pytest.mark.parametrize(
    "left, right, level, expected",
    [(1.2, 200.0, 0.25, (1.2, 200.0)), (1e-3, 0.7, 0.25, (1e-3, 0.7)), (3.0, 4.0, 0.2, (1.0, 1.0))],
    ids=["better above", "better below", "nowhere better"],
)
def test_a_line_search_does_not_settle_on_a_plateau(left, right, level, expected):
    at = line_search(lambda factor: level if left <= factor <= right else 0.2, 1.0)
    assert expected[0] <= at <= expected[1]


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_a_line_search_begins_within_its_limits(start):
    assert 3 < line_search(lambda factor: -abs(factor - 6), start) < 12


class TestInTraining:
    def test_it_is_recboles_ease(self, prepare):
        keys = {
            "linear_reg_weight": 30.0,
            "linear_dropout_prob": 0,
            "linear_user_power": 0,
            "linear_item_power": 0,
        }
        run = prepare("VAESplit", linear_branch="ease", **keys)
        fit(run, epochs=1)
        theirs = prepare("EASE", reg_weight=30.0)
        batch = interaction_of(run, users_of(run))
        expected = theirs.model.full_sort_predict(batch).view(len(batch), -1)
        found = run.model.interactions.rows(users_of(run)) @ run.model.network.linear.B
        torch.testing.assert_close(found, torch.as_tensor(expected), rtol=1e-3, atol=1e-4)

    def test_deep_training_is_the_same_without_it(self, prepare):
        weights = []
        for linear_branch in ("none", "ease"):
            run = prepare("VAESplit", linear_branch=linear_branch)
            torch.manual_seed(5)
            fit(run, epochs=2)
            weights.append(run.model.network.output.weight)
        assert torch.equal(*weights)

    def test_the_chosen_weight_is_the_best_of_its_neighbours_and_is_kept(self, prepare):
        run = prepare("VAESplit", linear_branch="ease", linear_reg_weight=1.0, valid_metric="MRR@3")
        fit(run, epochs=4, valid=True)
        linear = run.model.network.linear

        def valid_score(weight):
            linear.weight.fill_(weight)
            return run.trainer.evaluate(run.valid, load_best_model=False)["mrr@3"]

        state = torch.load(run.trainer.saved_model_file, weights_only=False)
        chosen = state["state_dict"]["network.linear.weight"].item()
        run.trainer.resume_checkpoint(run.trainer.saved_model_file)
        assert linear.weight == chosen
        expected = scores_of(run, users_of(run))
        assert valid_score(chosen) == pytest.approx(run.trainer.best_valid_score)
        assert max(map(valid_score, (chosen / 1.25, chosen * 1.25))) <= valid_score(chosen)
        assert chosen != 1.0, "it was moved"

        again = prepare("VAESplit", linear_branch="ease", linear_reg_weight=1.0)
        again.trainer.resume_checkpoint(run.trainer.saved_model_file)
        assert torch.equal(scores_of(again, users_of(run)), expected)

    @pytest.mark.parametrize("linear_weight", [None, 2.0])
    def test_early_stopping_waits_while_the_deep_model_alone_gets_better(
        self, prepare, monkeypatch, linear_weight
    ):
        """The sum is best at first; the deep model learns until the fifth epoch."""
        run = prepare("VAESplit", linear_branch="ease", linear_weight=linear_weight, stopping_step=2)
        alone, ended = iter([0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.4, 0.4, 0.4]), 8

        def scripted(trainer, *_args, **_kwargs):
            falling = 0.9 - 0.01 * len(trainer.train_loss_dict)
            score = falling if trainer.model.network.linear.weight else next(alone)
            return score, {"score": score}

        monkeypatch.setattr(Trainer, "_valid_epoch", scripted)
        losses = fit(run, epochs=20, valid=True)
        assert len(losses) == ended
        assert run.trainer.best_valid_score == pytest.approx(0.89)
        assert torch.load(run.trainer.saved_model_file, weights_only=False)["epoch"] == 0

    @pytest.mark.parametrize("file", sorted((CONFIGS / "tuned").glob("*.yaml")), ids=lambda file: file.stem)
    def test_tuned_settings_are_known_and_train(self, prepare, file):
        # the KL term's weight stays the same, so that losses compare
        keys = yaml.safe_load(file.read_text()) | {"epochs": 4, "eval_step": 2, "total_anneal_steps": 0}
        defaults = default_keys(keys["model"])
        recboles = {"model", "learning_rate", "epochs", "eval_step", "stopping_step"}
        assert set(keys) - set(defaults) <= recboles
        run = prepare(keys.pop("model"), **keys)
        losses = fit(run, valid=True)
        assert losses[-1] < losses[0]

    def test_each_weight_is_judged_by_the_same_negatives(self, prepare):
        eval_args = {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "user", "order": "RO", "mode": "uni5"}
        run = prepare("VAESplit", linear_branch="ease", eval_args=eval_args)
        fit(run, epochs=2)
        np.random.seed(3)
        _, chosen = run.trainer._valid_epoch(run.valid)
        np.random.seed(3)
        assert run.trainer.evaluate(run.valid, load_best_model=False) == chosen

    def test_resuming_takes_a_given_weight_and_refuses_another_matrix(self, prepare):
        run = prepare("VAESplit", linear_branch="ease")
        fit(run, epochs=1)
        file = run.trainer.saved_model_file
        again = prepare("VAESplit", linear_branch="ease", linear_weight=0.7)
        again.trainer.resume_checkpoint(file)
        assert again.model.network.linear.weight == pytest.approx(0.7)
        with pytest.raises(ValueError, match="linear_user_power: 0.5 in the checkpoint, 0.0 in this run"):
            other = prepare("VAESplit", linear_branch="ease", linear_user_power=0)
            other.trainer.resume_checkpoint(file)

    def test_a_given_weight_is_left_alone(self, prepare):
        run = prepare("DAE", linear_branch="ease", linear_weight=0.7)
        fit(run, epochs=2, valid=True)
        assert run.model.network.linear.weight == number("linear_weight", 0.7, 0) == pytest.approx(0.7)

    def test_a_catalogue_too_large_is_refused_before_its_matrix_is_made(self, prepare, monkeypatch):
        monkeypatch.setattr("recbole_vae_plugin.nn.ease.MAX_ITEMS", 40)
        with pytest.raises(
            ValueError, match="linear_branch: got 'ease'; allowed: none or sparse_ease with 41"
        ):
            prepare("VAESplit", linear_branch="ease")

    def test_flops_are_counted_without_a_copy_of_the_matrix(self, prepare, monkeypatch):
        from recbole.data.transform import construct_transform
        from recbole.utils import get_flops

        copied = []

        def __deepcopy__(branch, memo):  # noqa: N807  a method of the branch
            copied.append(branch)
            return branch

        monkeypatch.setattr(EASE, "__deepcopy__", __deepcopy__, raising=False)
        counted: list[int] = []
        for linear_branch in ("none", "ease"):
            run = prepare("DAE", linear_branch=linear_branch)
            linear, names = run.model.network.linear, list(run.model.state_dict())
            transform = construct_transform(run.config)
            counted.append(get_flops(run.model, run.dataset, run.config["device"], None, transform))
            assert run.model.network.linear is linear and list(run.model.state_dict()) == names
        (user,) = run.dataset[torch.tensor([1])][run.dataset.uid_field]
        entries = len(run.model.histories.rows(user[None]).items)
        assert counted[1] - counted[0] == entries * run.model.n_items > 0
        assert not copied


MEASURE = """
import sys

import torch
from recbole_vae_plugin.runs.machine import reset_peak_memory, peak_memory
from recbole_vae_plugin.nn.ease import ease
from recbole_vae_plugin.nn.interactions import Interactions

torch.manual_seed(0)
warm = Interactions(torch.arange(40), torch.arange(40), 40, 40)
ease(warm, 1.0, 0.5, 0.5)
n_users, n_items = int(sys.argv[1]), 4000
pairs = torch.rand(n_users, n_items).lt(0.01).nonzero().T
interactions = Interactions(*pairs, n_users, n_items)
B = torch.ones(n_items, n_items)
reset_peak_memory()
before = peak_memory()
assert ease(interactions, 10.0, 0.5, 0.5, out=B) is B and B.diagonal().abs().max() == 0
print(peak_memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory can be measured anew on Linux only")
@pytest.mark.parametrize("users", ["1000", "2100"])
def test_the_matrix_is_worked_out_in_its_own_memory(users):
    """4,000 items: 61 MiB, which are there before. RecBole is not needed."""
    command = [sys.executable, "-c", MEASURE, users]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(found.stdout) < 61
