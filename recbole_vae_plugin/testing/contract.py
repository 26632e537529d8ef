"""The tests that every model must pass. A model's test file subclasses them and lists its variants."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from recbole_vae_plugin.testing.fixtures import BLOCK_ITEMS, BLOCKS, interaction_of, users_of

BAD_VALUES = [
    ("mlp_hidden_size", 600),
    ("mlp_hidden_size", [600, 0]),
    ("mlp_hidden_size", ["wide"]),
    ("latent_dimension", 0),
    ("latent_dimension", 2.5),
    ("decoder_hidden_size", 600),
    ("decoder_hidden_size", [-1]),
    ("decoder_hidden_size", [32, 41]),  # ends in the output layer: 40 items and RecBole's padding
    ("activation", "tanhh"),
    ("denoising", "drop"),
    ("dropout_prob", 1.0),
    ("noise_std", -0.1),
    ("loss_type", "BPR"),
    ("sampled_items", -1),
    ("encoder", "denser"),
    ("ema_decay", 1.0),
    ("linear_branch", "slim"),
    ("linear_reg_weight", -1.0),
    ("linear_dropout_prob", 1.0),
    ("linear_user_power", "half"),
    ("linear_weight", -0.5),
]
BAD_KL_VALUES = [
    ("anneal_cap", -1),
    ("anneal_cap", "high"),
    ("total_anneal_steps", -5),
    ("total_anneal_steps", 1.5),
    ("kl_reduction", "max"),
    ("kl_weighting", "length"),
    ("prior", "normal"),
    ("prior_components", 0),
    ("alternating_updates", 3),
    ("alternating_updates", [3]),
]


def fit(run, epochs=None, valid=False):
    """Train, and return the losses of the epochs."""
    if epochs is not None:
        run.trainer.epochs = epochs
    run.trainer.fit(run.train, run.valid if valid else None, verbose=False, saved=True)
    return list(run.trainer.train_loss_dict.values())


def scores_of(run, users):
    run.model.eval()
    with torch.no_grad():
        return run.model.full_sort_predict(interaction_of(run, users)).view(len(users), -1)


def assert_same_weights(one, other):
    expected = other.state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


class Contract:
    """Tests of any model.

    Attributes:
        model: the name of the model.
        variants: name -> config, for each variant to test.
        bad_values: (key, value) pairs that must be rejected.
    """

    model: ClassVar[str]
    variants: ClassVar[dict[str, dict]]
    bad_values: ClassVar[list] = BAD_VALUES

    def test_shapes(self, prepare, variant):
        run = prepare(self.model, **variant)
        users = users_of(run)[:5]
        items = torch.tensor([1, 2, 3, 4, 5])
        assert run.model.full_sort_predict(interaction_of(run, users)).shape == (5 * run.dataset.item_num,)
        assert run.model.predict(interaction_of(run, users, items)).shape == (5,)
        assert run.model.calculate_loss(interaction_of(run, users)).shape == ()
        mu, logvar = run.model.encode_users(users)
        assert mu.shape == (5, 8)
        assert logvar is None or logvar.shape == (5, 8)

    def test_a_training_epoch_is_each_user_with_training_items_once(self, prepare, variant):
        run = prepare(self.model, **variant)
        seen = torch.cat([batch[run.dataset.uid_field] for batch in run.train])
        expected = run.train.dataset.inter_feat[run.dataset.uid_field].unique()
        assert torch.equal(seen.sort().values, expected)
        assert 0 not in seen
        assert not torch.equal(seen, expected), "the order is shuffled"

    def test_scoring_is_deterministic(self, prepare, variant):
        run = prepare(self.model, **variant)
        assert torch.equal(scores_of(run, users_of(run)), scores_of(run, users_of(run)))

    def test_one_batch_equals_many(self, prepare, variant):
        run = prepare(self.model, **variant)
        users = users_of(run)
        singly = torch.cat([scores_of(run, user.view(1)) for user in users])
        torch.testing.assert_close(scores_of(run, users), singly)

    def test_predict_agrees_with_full_ranking(self, prepare, variant):
        run = prepare(self.model, **variant)
        fit(run, epochs=1)  # before, a linear branch is all zeros
        users = users_of(run)[:7].repeat(3)
        items = torch.randint(1, run.dataset.item_num, (21,))
        every = scores_of(run, users)
        some = run.model.predict(interaction_of(run, users, items))
        torch.testing.assert_close(some, every[torch.arange(21), items])

    def test_a_seed_reproduces_a_run(self, prepare, variant):
        first, again, other = (prepare(self.model, **variant, seed=seed) for seed in (1, 1, 2))
        for run in (first, again, other):
            torch.manual_seed(run.config["seed"])
            fit(run)
        assert_same_weights(first.model, again.model)
        assert not torch.equal(first.model.network.output.weight, other.model.network.output.weight)

    def test_resuming_equals_never_having_stopped(self, prepare, variant):
        straight = prepare(self.model, **variant)
        torch.manual_seed(7)
        fit(straight, epochs=5, valid=True)

        stopped = prepare(self.model, **variant)
        torch.manual_seed(7)
        fit(stopped, epochs=2, valid=True)
        resumed = prepare(self.model, **variant)
        resumed.trainer.resume_checkpoint(stopped.trainer.saved_model_file)
        fit(resumed, epochs=5, valid=True)

        assert 1 <= resumed.trainer.start_epoch <= 2, "from the best epoch of the two"
        assert_same_weights(resumed.model, straight.model)
        for kept in ("best_valid_score", "best_valid_result", "cur_step", "patience"):
            assert getattr(resumed.trainer, kept) == getattr(straight.trainer, kept)

    def test_a_saved_model_scores_the_same(self, prepare, variant):
        from recbole.quick_start import load_data_and_model, run_recbole

        run = prepare(self.model, **variant)
        trained = run_recbole(self.model, "blocks", config_dict={**run.config.external_config_dict})
        (file,) = Path(run.config["checkpoint_dir"]).glob(f"{self.model}-*.pth")
        run.model = load_data_and_model(str(file))[1]
        run.trainer.model = run.model
        run.trainer.eval_collector.data_collect(run.train)
        assert run.trainer.evaluate(run.test, load_best_model=False) == trained["test_result"]

        run.model.train()
        means = [run.model.encode_users(users_of(run)).mu for _ in range(2)]
        assert torch.equal(*means) and run.model.training, "posteriors are without noise in either mode"

    def test_resuming_what_is_finished_leaves_it(self, prepare, variant):
        run = prepare(self.model, **variant)
        fit(run, epochs=2)
        run.trainer.model.eval()
        expected = scores_of(run, users_of(run))
        file = run.trainer.saved_model_file
        again = prepare(self.model, **variant)
        again.trainer.resume_checkpoint(file)
        assert torch.equal(scores_of(again, users_of(run)), expected), "what was saved is in the model"
        fit(again, epochs=2)
        before, after = (
            torch.load(each.trainer.saved_model_file, weights_only=False) for each in (run, again)
        )
        assert after["epoch"] == before["epoch"] == 1
        assert torch.equal(scores_of(again, users_of(run)), expected)

    def test_resuming_with_other_sizes_is_refused(self, prepare, variant):
        run = prepare(self.model, **variant)
        fit(run, epochs=1)
        other = prepare(self.model, **{**variant, "latent_dimension": 9})
        with pytest.raises(ValueError, match="latent_dimension: 8 in the checkpoint, 9 in this run"):
            other.trainer.resume_checkpoint(run.trainer.saved_model_file)

    def test_resuming_from_another_model_is_refused_by_its_name(self, prepare, variant):
        run = prepare("MultiVAE")
        run.trainer.fit(run.train, saved=True)
        with pytest.raises(
            ValueError,
            match=f"cannot resume .*: model: MultiVAE in the checkpoint, {self.model} in this run$",
        ):
            prepare(self.model, **variant).trainer.resume_checkpoint(run.trainer.saved_model_file)

    def test_loss_falls_and_planted_blocks_are_recovered(self, prepare, variant):
        run = prepare(self.model, **variant, learning_rate=0.01)
        losses = fit(run, epochs=40)
        assert losses[-1] < 0.9 * losses[0]

        from recbole.utils.case_study import full_sort_topk

        users = users_of(run)
        _, top = full_sort_topk(users.numpy(), run.model, run.test, k=1)
        item_names, user_names = (run.dataset.field2id_token[field] for field in ("item_id", "user_id"))
        hits = [
            int(item_names[item][1:]) // BLOCK_ITEMS == int(user_names[user][1:]) % BLOCKS
            for user, item in zip(users, top[:, 0])
        ]
        # by chance one recommendation in four would hit
        assert sum(hits) >= 0.9 * len(hits)

    def test_history_is_masked(self, prepare, variant):
        from recbole.utils.case_study import full_sort_scores

        run = prepare(self.model, **variant)
        users = users_of(run)
        scores = full_sort_scores(users.numpy(), run.model, run.test)
        history = run.train.dataset.inter_feat
        taken = scores[history[run.dataset.uid_field] - 1, history[run.dataset.iid_field]]
        assert (taken == -torch.inf).all()
        assert (scores[:, 0] == -torch.inf).all()
        assert torch.isfinite(scores).any(dim=1).all()

    def test_a_copied_model_shares_the_histories(self, prepare, variant):
        run = prepare(self.model, **variant)
        copied = copy.deepcopy(run.model).interactions
        assert copied is not run.model.interactions
        assert copied.items.data_ptr() == run.model.interactions.items.data_ptr()
        assert copied.rows(users_of(run)).items.equal(run.model.interactions.rows(users_of(run)).items)

    def test_bad_values_are_refused_by_name(self, prepare, variant):
        for key, value in self.bad_values:
            with pytest.raises(ValueError, match=key) as refusal:
                prepare(self.model, **{**variant, key: value})
            assert repr(value) in str(refusal.value)
            assert "allowed" in str(refusal.value)


class VariationalContract(Contract):
    """Tests of a variational model."""

    bad_values = BAD_VALUES + BAD_KL_VALUES

    def test_training_samples_and_scoring_does_not(self, prepare, variant):
        run = prepare(self.model, **{**variant, "denoising": "none"})
        users = users_of(run)
        rows = run.model.interactions.rows(users)
        run.model.train()
        assert not torch.equal(run.model.network(rows)[0], run.model.network(rows)[0])
        posterior = run.model.encode_users(users)
        noise = (
            torch.stack([posterior.sample() - posterior.mu for _ in range(400)])
            / (0.5 * posterior.logvar).exp()
        )
        assert noise.mean().abs() < 0.01
        assert (noise.std() - 1).abs() < 0.01

    def test_beta_climbs_to_its_cap_and_survives_a_checkpoint(self, prepare, variant):
        times = sum(variant.get("alternating_updates") or [1])
        annealing = {"anneal_cap": 0.3, "total_anneal_steps": 40 * times}
        run = prepare(self.model, **{**variant, **annealing})
        assert run.model.beta.item() == 0
        fit(run, epochs=2)
        steps = 2 * len(run.train) * times
        assert run.model.beta.item() == pytest.approx(steps / (40 * times))
        resumed = prepare(self.model, **{**variant, **annealing})
        resumed.trainer.resume_checkpoint(run.trainer.saved_model_file)
        assert resumed.model.n_updates == steps
        fit(resumed, epochs=4)
        assert resumed.model.beta.item() == pytest.approx(0.3)

    def test_by_default_beta_reaches_its_cap_after_ten_epochs(self, prepare, variant):
        run = prepare(self.model, **variant)
        fit(run, epochs=9)
        assert run.model.beta < run.config["anneal_cap"]
        run.trainer.start_epoch = 9
        fit(run, epochs=10)
        assert run.model.beta.item() == pytest.approx(run.config["anneal_cap"])

    def test_kl_is_averaged_or_added_up(self, prepare, variant):
        posterior, penalties = None, {}
        for reduction in ("mean", "sum"):
            run = prepare(self.model, **{**variant, "kl_reduction": reduction, "total_anneal_steps": 0})
            run.model.eval()
            rows = run.model.interactions.rows(users_of(run)[:12])
            posterior = posterior or run.model.encode_users(users_of(run)[:12])
            penalties[reduction] = run.model.penalty(posterior, posterior.mu, torch.zeros(()), rows).item()
        assert penalties["sum"] == pytest.approx(12 * penalties["mean"], rel=1e-5)

    def test_kl_can_weigh_users_by_their_items(self, prepare, variant):
        weighting = {"kl_weighting": "profile_length", "prior": "standard", "total_anneal_steps": 0}
        run = prepare(self.model, **{**variant, **weighting})
        run.model.eval()
        users = users_of(run)
        rows = run.model.interactions.rows(users).slice(0, 20)
        posterior = run.model.encode_users(users[:20])
        kl = 0.5 * (posterior.logvar.exp() + posterior.mu**2 - 1 - posterior.logvar).sum(1)
        expected = run.model.beta * (kl * rows.to_dense().sum(1)).mean()
        torch.testing.assert_close(
            run.model.penalty(posterior, posterior.mu, torch.zeros(()), rows), expected
        )
