"""Our loaders, sampler and collector against RecBole's own, on the same model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_metrics import METRICS

TOP = ["Recall", "MRR", "NDCG", "Hit", "MAP", "Precision", "ItemCoverage", "AveragePopularity"]


def recbole_evaluator(run):
    """RecBole's trainer, collector and samplers around our model."""
    from recbole.sampler import Sampler
    from recbole.trainer import Trainer

    trainer = Trainer(run.config, run.model)
    trainer.eval_collector.data_collect(run.train)
    run.trainer.eval_collector.data_collect(run.train)
    parts = [loader.dataset for loader in (run.train, run.valid, run.test)]
    return trainer, Sampler(["train", "valid", "test"], parts, "uniform")


@pytest.mark.parametrize("metrics", [METRICS, TOP], ids=["all metrics", "metrics of the top"])
@pytest.mark.parametrize("phase", ["valid", "test"])
def test_full_ranking_equals_recboles(prepare, metrics, phase):
    from recbole.data.dataloader import FullSortEvalDataLoader

    run = prepare("VAESplit", metrics=metrics, topk=[1, 5], valid_metric="NDCG@5")
    trainer, sampler = recbole_evaluator(run)
    ours = run.valid if phase == "valid" else run.test
    theirs = FullSortEvalDataLoader(run.config, ours.dataset, sampler.set_phase(phase))
    expected = trainer.evaluate(theirs, load_best_model=False)
    assert run.trainer.evaluate(ours, load_best_model=False) == expected


def test_batches_of_full_ranking_equal_recboles(prepare):
    from recbole.data.dataloader import FullSortEvalDataLoader

    run = prepare("DAE", eval_batch_size=7)
    _, sampler = recbole_evaluator(run)
    theirs = FullSortEvalDataLoader(run.config, run.test.dataset, sampler.set_phase("test"))
    theirs = theirs.collate_fn(np.arange(theirs.sample_size))
    ours = run.test.collate_fn(np.arange(run.test.sample_size))
    assert torch.equal(ours[0]["user_id"], theirs[0]["user_id"])
    for (rows, items), (their_rows, their_items) in ((ours[1], theirs[1]), (ours[2:], theirs[2:])):
        pairs = set(zip(rows.tolist(), items.tolist()))
        assert pairs == set(zip(their_rows.tolist(), their_items.tolist()))
        assert len(pairs) == len(rows)


@pytest.mark.parametrize("mode", ["uni20", "pop20"])
def test_sampled_evaluation_equals_recboles_on_the_same_candidates(prepare, mode):
    from recbole.data.interaction import Interaction
    from recbole.evaluator import Collector

    run = prepare("VAETwin", eval_args={"mode": mode}, metrics=TOP, topk=[5], valid_metric="NDCG@5")
    trainer, _ = recbole_evaluator(run)
    batch = run.test.collate_fn(np.arange(run.test.sample_size))
    users, candidates, positive_u, positive_i = batch
    rows, items = candidates // run.dataset.item_num, candidates % run.dataset.item_num

    pairs = Interaction({"user_id": users["user_id"][rows], "item_id": items})
    collector = Collector(run.config)
    collector.data_collect(run.train)
    run.model.eval()
    for evaluator in (trainer, run.trainer):
        evaluator.tot_item_num = run.dataset.item_num
    with torch.no_grad():
        interaction, scores, *_ = trainer._neg_sample_batch_eval((pairs, rows, positive_u, positive_i))
        collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
        interaction, scores, *_ = run.trainer._neg_sample_batch_eval(batch)
        run.trainer.eval_collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    expected = trainer.evaluator.evaluate(collector.get_data_struct())
    assert trainer.evaluator.evaluate(run.trainer.eval_collector.get_data_struct()) == expected


@pytest.mark.parametrize("mode", ["uni20", "pop20"])
def test_candidates_are_the_wanted_items_and_unused_ones(prepare, mode):
    run = prepare("DAE", eval_args={"mode": mode})
    users, places, positive_u, positive_i = run.test.collate_fn(np.arange(run.test.sample_size))
    rows, items = places // run.dataset.item_num, places % run.dataset.item_num
    assert len(items) == 21 * len(positive_i)
    sampler = run.test._sampler
    for row, user in enumerate(users["user_id"].tolist()):
        wanted = set(positive_i[positive_u == row].tolist())
        candidates = set(items[rows == row].tolist())
        assert wanted <= candidates
        assert not (candidates - wanted) & sampler.used_ids[user]
        assert 0 not in candidates


def test_each_phase_samples_in_its_own_way(prepare):
    run = prepare("DAE", eval_args={"mode": {"valid": "uni5", "test": "pop5"}})
    assert (run.valid._sampler.distribution, run.test._sampler.distribution) == ("uniform", "popularity")
    before, after = (loader._sampler.used_ids.interactions for loader in (run.valid, run.test))
    assert len(after.items) - len(before.items) == len(run.test.dataset)


def test_negatives_follow_their_distribution(prepare):
    run = prepare("DAE", eval_args={"mode": "pop20"})
    sampler = run.test._sampler
    assert sampler.popularity[-1] == 1, "no random number below 1 falls beyond the last item"
    drawn = np.bincount(sampler.sampling(200_000), minlength=run.dataset.item_num) / 200_000
    every = torch.cat([loader.dataset.inter_feat["item_id"] for loader in (run.train, run.valid, run.test)])
    expected = np.bincount(every.numpy(), minlength=run.dataset.item_num) / len(every)
    np.testing.assert_allclose(drawn, expected, atol=0.003)
    sampler.distribution = "uniform"
    drawn = np.bincount(sampler.sampling(200_000), minlength=run.dataset.item_num) / 200_000
    np.testing.assert_allclose(drawn[1:], 1 / 40, atol=0.003)
    assert drawn[0] == 0


def test_users_who_have_everything_are_refused(prepare, blocks_path):
    folder = blocks_path / "everything"
    folder.mkdir(exist_ok=True)
    lines = ["user_id:token\titem_id:token", *(f"a\t{item}" for item in range(20)), "b\t0", "b\t1", "b\t2"]
    (folder / "everything.inter").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="interacted with all items.*user_inter_num_interval"):
        prepare("DAE", dataset="everything")


def test_a_repeatable_evaluation_falls_back_on_recboles(prepare):
    run = prepare("DAE", repeatable=True)
    assert type(run.test).__name__ == "FullSortEvalDataLoader"
    assert 0 <= run.trainer.evaluate(run.test, load_best_model=False)["ndcg@3"] <= 1


def test_a_step_on_histories_that_no_table_could_hold():
    """One user with 2 million items: a table of 100,000 users would be 2.4 TB."""
    from recbole_vae_plugin.nn.interactions import Interactions
    from recbole_vae_plugin.nn.likelihoods import multinomial, reconstruction_loss
    from recbole_vae_plugin.nn.network import build_network
    from recbole_vae_plugin.nn.settings import Settings

    n_users, n_items = 100_000, 2_000_000
    users = torch.cat([torch.zeros(n_items, dtype=torch.int64), torch.arange(n_users)])
    items = torch.cat([torch.arange(n_items), torch.arange(n_users) * 7 % n_items])
    interactions = Interactions(users, items, n_users, n_items)
    size = sum(buffer.numel() * buffer.element_size() for buffer in interactions.buffers())
    assert size <= 12 * (n_items + n_users)

    settings = Settings.from_config({"mlp_hidden_size": [4], "latent_dimension": 2}, "SplitHead")
    network = build_network(settings, n_items)
    rows = interactions.rows(torch.tensor([0, 1, 99_999]))
    hidden = network.decode(network.latent(network.encode(rows)))
    output = network.output
    loss = reconstruction_loss(hidden, output.weight, output.bias, rows, multinomial, max_scores=n_items)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("model", ["EASE", "ItemKNN", "Pop"])
def test_the_only_epoch_of_a_closed_form_is_validated(prepare, model):
    """A comparison may validate all its methods every few epochs."""
    run = prepare(model, epochs=20, eval_step=5, metrics=["NDCG"], topk=[5], valid_metric="NDCG@5")
    score, result = run.trainer.fit(run.train, run.valid, saved=False, show_progress=False)
    assert math.isfinite(score) and result["ndcg@5"] == score
