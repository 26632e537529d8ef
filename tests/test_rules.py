"""The settings that are computed from the data: the arithmetic of each rule, and who wins over it."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from recbole_vae_plugin.nn.likelihoods import LIKELIHOODS
from recbole_vae_plugin.nn.rules import KL_SHARE, KL_SHARES, RULES, TrainingData, null_loss
from recbole_vae_plugin.testing.fixtures import BLOCK_USERS, BLOCKS

OPEN = {"train_batch_size": None, "epochs": None, "eval_step": None, "stopping_step": None}


def data_of(users, items=50, length=20):
    """Users with ``length`` items each, on average, and a long tail of items."""
    shares = torch.arange(1, items + 1, dtype=torch.float64) ** -0.3
    return TrainingData(users, torch.cat([torch.zeros(1), shares / shares.sum() * users * length]).double())


def set_in_order(data, **given):
    """The values of the rules for RecBole's keys, as for a config that leaves all others open."""
    config = {**OPEN, **given}
    for key in RULES:
        if key in OPEN and config[key] is None:
            config[key] = RULES[key](data, config)
    return config


@pytest.mark.parametrize(
    "users, expected",
    [
        # batch, epochs between validations, validations tolerated, epochs
        (10, dict(train_batch_size=250, eval_step=50, stopping_step=8, epochs=6000)),
        (943, dict(train_batch_size=250, eval_step=12, stopping_step=8, epochs=1500)),
        (6033, dict(train_batch_size=250, eval_step=2, stopping_step=8, epochs=240)),
        (10_000, dict(train_batch_size=400, eval_step=2, stopping_step=8, epochs=240)),
        (136_677, dict(train_batch_size=500, eval_step=1, stopping_step=2, epochs=22)),
        (10_000_000, dict(train_batch_size=500, eval_step=1, stopping_step=2, epochs=1)),
    ],
)
def test_training_is_as_long_in_steps_whatever_the_number_of_users(users, expected):
    config = set_in_order(data_of(users))
    assert {key: config[key] for key in expected} == expected
    assert config["epochs"] % config["eval_step"] == 0, "the last epoch is validated"


def test_rules_follow_what_is_given():
    assert set_in_order(data_of(6033), train_batch_size=6033)["eval_step"] == 50
    assert set_in_order(data_of(6033), eval_step=1)["stopping_step"] == round(400 / 25)
    assert set_in_order(data_of(6033), eval_step=7)["epochs"] % 7 == 0
    alternating = set_in_order(data_of(6033), alternating_updates=[3, 1])
    assert alternating["eval_step"] == 1, "four passes an epoch are four times the steps"


@pytest.mark.parametrize(
    "epochs, expected", [(20, 10), (10, 10), (13, 12), (1, 1), (1200, 12), (26, 12), (47, 11), (9, 9)]
)
def test_given_epochs_are_validated_to_the_end_or_nearly(epochs, expected):
    """ml-100k: every 12 epochs where nothing is given."""
    config = set_in_order(data_of(943), epochs=epochs)
    assert config["eval_step"] == expected and epochs % expected <= epochs // 10


def entropy(shares):
    return -torch.special.xlogy(shares, shares).sum()


@pytest.mark.parametrize("loss_type", ["MSE", "BCE", "CE"])
def test_the_null_loss_is_that_of_the_popularity(loss_type):
    """In closed form: the best constant scores are the probabilities, their logits, or their logarithms."""
    data = data_of(users=300)
    p = data.popularity / data.users
    expected = {
        "MSE": 0.5 * (p * (1 - p)).sum(),
        "BCE": entropy(p) + entropy(1 - p),
        "CE": p.sum() * entropy(p / p.sum()),
    }[loss_type]
    likelihood = LIKELIHOODS.build(loss_type, {"sampled_items": 0})
    assert null_loss(likelihood, data) == pytest.approx(expected.item(), rel=1e-4)


def test_the_weight_of_the_kl_term_is_a_share_of_the_null_loss():
    data = data_of(users=300, length=20)
    config = {"loss_type": "CE", "kl_weighting": "none", "sampled_items": 0}
    whole = RULES["anneal_cap"](data, config)
    assert whole == pytest.approx(KL_SHARE * null_loss(LIKELIHOODS.build("CE", config), data))
    an_item = RULES["anneal_cap"](data, {**config, "kl_weighting": "profile_length"})
    assert an_item == pytest.approx(whole / 20)
    longer = data_of(users=300, length=40)
    assert RULES["anneal_cap"](longer, config) == pytest.approx(2 * whole)
    squared = RULES["anneal_cap"](data, {**config, "loss_type": "MSE"})
    assert squared == pytest.approx(KL_SHARES["MSE"] * null_loss(LIKELIHOODS.build("MSE", config), data))


def test_the_linear_branch_suits_the_catalogue():
    for items, branch in ((20_000, "ease"), (20_001, "sparse_ease")):
        assert RULES["linear_branch"](data_of(users=300, items=items), {}) == branch


def test_lambda_is_half_the_number_of_users_of_an_item_over_interactions():
    data = TrainingData(100, torch.tensor([0.0, 10.0, 30.0]))
    assert RULES["linear_reg_weight"](data, {"linear_branch": "ease"}) == 0.5 * (10 * 10 + 30 * 30) / 40
    assert RULES["linear_reg_weight"](data, {"linear_branch": "none"}) is None


class TestInARun:
    def test_what_is_open_is_set_and_logged_and_what_is_given_stays(self, prepare, caplog):
        with caplog.at_level(logging.INFO):
            logging.getLogger().addHandler(caplog.handler)
            run = prepare("VAESplit", **OPEN | {"epochs": 7}, anneal_cap=None)
        users = BLOCKS * BLOCK_USERS
        assert run.config["epochs"] == run.trainer.epochs == 7
        assert run.train.batch_size == run.config["train_batch_size"] == 250
        assert run.config["eval_step"] == 7 and run.trainer.stopping_step == 57
        data = TrainingData(users, run.model.interactions.popularity().double())
        expected = KL_SHARE * null_loss(run.model.likelihood, data)
        assert run.model.kl.anneal_cap == pytest.approx(expected)
        assert math.isclose(run.config["anneal_cap"], expected)
        (line,) = {record.message for record in caplog.records if "set from the data" in record.message}
        assert "train_batch_size 250" in line and "epochs" not in line

    def test_all_defaults_together(self, prepare):
        open_keys = dict.fromkeys(key for key in RULES if key != "linear_branch")
        run = prepare("VAESplit", **open_keys, linear_branch="auto")
        assert run.config["linear_branch"] == "ease"
        popularity = run.model.interactions.popularity().double()
        mean_users = (popularity**2).sum() / popularity.sum()
        assert run.model.linear_settings.reg_weight == pytest.approx(0.5 * mean_users.item())

    def test_names_in_another_case_mean_the_same(self, prepare):
        spelt = [dict(loss_type="mse", kl_weighting="Profile_Length", linear_branch="AUTO")]
        spelt.append(dict(loss_type="MSE", kl_weighting="profile_length", linear_branch="auto"))
        runs = [prepare("VAESplit", anneal_cap=None, linear_reg_weight=None, **keys) for keys in spelt]
        for key in ("anneal_cap", "linear_branch", "linear_reg_weight"):
            assert runs[0].config[key] == runs[1].config[key] is not None

    def test_no_branch_may_be_given_as_none(self, prepare):
        assert prepare("VAESplit", linear_branch=None).model.network.linear is None

    def test_repeated_interactions_count_once(self, prepare, blocks_path, tmp_path):
        """Otherwise an item might have more users than there are, and the null loss of BCE no minimum."""
        header, *rows = (blocks_path / "blocks" / "blocks.inter").read_text().splitlines()
        folder = tmp_path / "often" / "blocks"
        folder.mkdir(parents=True)
        (folder / "blocks.inter").write_text("\n".join([header, *rows * 20]) + "\n")
        whole = {"split": {"RS": [1, 0, 0]}, "mode": "full", "order": "RO"}
        keys = dict(loss_type="BCE", anneal_cap=None, eval_args=whole, eval_step=0)
        once, often = (
            prepare("VAESplit", data_path=str(path), **keys) for path in (blocks_path, folder.parent)
        )
        assert often.config["anneal_cap"] == pytest.approx(once.config["anneal_cap"])
        assert 0 < often.config["anneal_cap"] < 0.1

    def test_a_checkpoint_contains_what_was_used(self, prepare):
        run = prepare("VAESplit", **OPEN, anneal_cap=None)
        run.trainer.epochs = 1
        run.trainer.fit(run.train, saved=True, verbose=False)
        saved = torch.load(run.trainer.saved_model_file, weights_only=False)["config"]
        assert not [key for key in (*OPEN, "anneal_cap") if saved[key] is None]
