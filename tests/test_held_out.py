"""Held-out users: who is split from whom, that nothing leaks, and that the numbers are right."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import CONFIGS, shipped

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.testing.fixtures import BLOCK_ITEMS, BLOCKS, prepared

HELD_OUT = {"split": {"HO": [10, 12]}, "order": "RO"}
OURS = ["VAESplit", "VAETwin", "DAE"]
AUTOENCODERS = ["MultiVAE", "MultiDAE", "RecVAE", "MacridVAE"]
COMPUTED = ["EASE", "SLIMElastic", "Pop"]
EVERY = [*OURS, *AUTOENCODERS, *COMPUTED]


def pairs(feat) -> set:
    return set(zip(feat["user_id"].tolist(), feat["item_id"].tolist()))


def users(feat) -> set:
    return set(feat["user_id"].tolist())


def parts(run) -> tuple:
    """Interactions of training, of the fold-in, and those to be found in validation and test."""
    return tuple(
        [run.train.dataset.inter_feat, run.train.dataset.fold_in]
        + [loader.dataset.inter_feat for loader in (run.valid, run.test)]
    )


@pytest.fixture
def hold_out(prepare):
    def hold_out(model="VAESplit", **overrides):
        mine = {"eval_args": HELD_OUT} | overrides
        if model == "RecVAE":
            mine["hidden_dimension"] = 32
        return prepare(model, **mine)

    return hold_out


def uneven(folder: Path) -> Path:
    """User u of 40 has u + 1 of 60 items, and an item of his own; some rows stand there twice."""
    (folder / "uneven").mkdir(parents=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    random = np.random.default_rng(1)
    for user in range(40):
        items = [*random.choice(60, user + 1, replace=False), f"own{user}"]
        lines += [f"u{user}\ti{item}\t{place}" for place, item in enumerate([*items, items[0]])]
    (folder / "uneven" / "uneven.inter").write_text("\n".join(lines) + "\n")
    return folder


def test_users_are_disjoint_and_as_many_as_asked_for(hold_out):
    train, fold_in, valid, test = parts(hold_out())
    assert len(users(valid)) == 10 and len(users(test)) == 12
    assert not users(train) & users(fold_in)
    assert not users(valid) & users(test)
    assert users(fold_in) == users(valid) | users(test)
    assert len(users(train)) == BLOCKS * 15 - 22
    assert not pairs(fold_in) & (pairs(valid) | pairs(test))


@pytest.mark.parametrize(("share", "wanted"), [({}, 1), ({"fold_in": 0.5}, 3), ({"fold_in": 0.2}, 5)])
def test_a_share_of_each_users_items_is_folded_in(hold_out, share, wanted):
    _, fold_in, *evaluated = parts(hold_out(eval_args=HELD_OUT | share))
    for feat in evaluated:
        assert set(np.unique(feat["user_id"], return_counts=True)[1]) == {wanted}
    assert set(np.unique(fold_in["user_id"], return_counts=True)[1]) == {7 - wanted}


@pytest.mark.parametrize("items", range(1, 101))
def test_shares_are_those_of_the_published_code(items):
    """Liang et al. draw ``int(0.2 * n)`` of n items."""
    from recbole_vae_plugin.integration.data.held_out import is_target

    assert is_target(np.zeros(items, dtype=int), 0.8).sum() == items // 5


def test_items_of_no_training_user_and_repetitions_are_left_out(settings, tmp_path):
    evaluation = {"split": {"HO": [8, 8]}, "order": "RO"}
    settings |= {"data_path": str(uneven(tmp_path)), "eval_args": evaluation}
    train, fold_in, valid, test = parts(prepared("DAE", "uneven", settings))
    known = set(train["item_id"].tolist())
    for feat in (fold_in, valid, test):
        assert set(feat["item_id"].tolist()) <= known
        assert len(pairs(feat)) == len(feat)
    assert not pairs(fold_in) & (pairs(valid) | pairs(test))
    assert len(users(valid)) < 8, "who has fewer than five items has none to be found"
    for user in users(valid) | users(test):
        found = sum((feat["user_id"] == user).sum().item() for feat in (valid, test))
        assert found == int(0.2 * (found + (fold_in["user_id"] == user).sum().item()) + 1e-6)


def test_ordered_by_time_the_last_items_are_to_be_found(settings, tmp_path):
    evaluation = {"split": {"HO": [8, 8]}, "order": "TO"}
    settings |= {"data_path": str(uneven(tmp_path)), "eval_args": evaluation}
    settings |= {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    _, fold_in, valid, test = parts(prepared("DAE", "uneven", settings))
    for feat in (valid, test):
        for user in users(feat):
            shown = fold_in["timestamp"][fold_in["user_id"] == user]
            assert shown.max() < feat["timestamp"][feat["user_id"] == user].min()


def test_the_seed_draws_the_users_whatever_the_model(hold_out):
    first, again, other = (
        hold_out(model, seed=seed) for model, seed in (("DAE", 1), ("EASE", 1), ("DAE", 2))
    )
    for one, same in zip(parts(first), parts(again)):
        assert pairs(one) == pairs(same)
    assert users(parts(first)[3]) != users(parts(other)[3])


def weights_of(model) -> dict:
    """Everything that a model has learned: what it scores from is not among it."""
    weights = {**model.state_dict(), **model.other_parameter()}
    for data in ("interaction_matrix", "trained_on"):
        weights.pop(data, None)
    sparse = weights.get("item_similarity")
    if hasattr(sparse, "todense"):
        weights["item_similarity"] = sparse.todense()
    return {name: torch.as_tensor(value) for name, value in weights.items()}


def trained(model: str, settings: dict, other_items: bool = False):
    """A run whose held-out users have, if asked for, other items than they had."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = Config(model=model, dataset="blocks", config_dict=dict(settings))
    init_seed(config["seed"], True)
    dataset = create_dataset(config)
    built = dataset.build()
    if other_items:
        fold_in = built[0].fold_in
        moved = {"item_id": fold_in["item_id"] % (BLOCKS * BLOCK_ITEMS) + 1}
        built[0].fold_in = type(fold_in)({**fold_in.interaction, **moved})[: len(fold_in) // 2]
    dataset.build = lambda: built
    loaders = data_preparation(config, dataset)
    init_seed(config["seed"], True)
    network = get_model(model)(config, loaders[0].dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
    trainer.fit(loaders[0], None, saved=False)
    return network.eval(), loaders


@pytest.mark.parametrize("model", EVERY)
def test_nothing_of_held_out_users_reaches_training(settings, model):
    settings |= {"eval_args": HELD_OUT, "hidden_dimension": 32}
    settings |= {"linear_branch": "ease", "linear_reg_weight": 1.0}
    before, loaders = trained(model, settings)
    after, _ = trained(model, settings, other_items=True)
    weights = weights_of(after)
    for name, weight in weights_of(before).items():
        assert torch.equal(weight, weights[name]), name

    if model == "Pop":  # scores everybody alike
        return
    batch, *_ = loaders[2].collate_fn(np.arange(12))
    with torch.no_grad():
        assert not torch.equal(before.full_sort_predict(batch), after.full_sort_predict(batch))


@pytest.mark.parametrize("model", OURS + AUTOENCODERS)
def test_batches_of_training_hold_training_users_alone(hold_out, model):
    run = hold_out(model)
    seen = torch.cat([batch["user_id"] for batch in run.train])
    assert sorted(seen.tolist()) == sorted(users(parts(run)[0]))


def test_annealing_counts_training_users(hold_out):
    run = hold_out(train_batch_size=1, anneal_cap=1.0)
    assert run.model.anneal_steps == 10 * len(users(parts(run)[0]))


@pytest.mark.parametrize("model", EVERY)
def test_fold_in_is_never_recommended(hold_out, model):
    run = hold_out(model)
    for loader in (run.valid, run.test):
        batch, (rows, items), wanted_rows, wanted = loader.collate_fn(np.arange(len(loader.uid_list)))
        ids = batch["user_id"]
        left_out = set(zip(ids[rows].tolist(), items.tolist()))
        assert left_out == {pair for pair in pairs(parts(run)[1]) if pair[0] in set(ids.tolist())}
        found = set(zip(ids[wanted_rows].tolist(), wanted.tolist()))
        assert found == pairs(loader.dataset.inter_feat)


def metrics_of(scores: np.ndarray, wanted: np.ndarray, k: int) -> dict:
    """The mean over users of three metrics, from scores and bools, both [users, items]."""
    top = np.argsort(-scores, axis=1)[:, :k]
    hits = np.take_along_axis(wanted, top, axis=1)
    number = wanted.sum(axis=1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.array([discount[: min(k, one)].sum() for one in number])
    return {
        f"recall@{k}": (hits.sum(1) / number).mean(),
        f"cappedrecall@{k}": (hits.sum(1) / np.minimum(k, number)).mean(),
        f"ndcg@{k}": ((hits * discount).sum(1) / ideal).mean(),
    }


def computed_by_hand(run, loader, topk: list[int]) -> dict:
    """What an evaluation should find: fold-in through the bare network, ranking and metrics in numpy."""
    ids = sorted(users(loader.dataset.inter_feat))
    shown, wanted = (np.zeros((len(ids), run.dataset.item_num), dtype=bool) for _ in range(2))
    for table, feat in ((shown, parts(run)[1]), (wanted, loader.dataset.inter_feat)):
        for user, item in pairs(feat):
            if user in ids:
                table[ids.index(user), item] = True
    rows, items = map(torch.from_numpy, shown.nonzero())
    with torch.no_grad():
        everyone = torch.arange(len(ids))
        scores, _ = run.model.eval().network(Interactions(rows, items, *shown.shape).rows(everyone))
    scores = scores.double().numpy()
    scores[shown] = -np.inf
    scores[:, 0] = -np.inf  # RecBole's padding
    return {name: value for k in topk for name, value in metrics_of(scores, wanted, k).items()}


def assert_evaluation_is_right(run):
    run.trainer.fit(run.train, run.valid, verbose=False, saved=True)
    for loader in (run.valid, run.test):
        found = run.trainer.evaluate(loader, load_best_model=False)
        assert found == pytest.approx(computed_by_hand(run, loader, run.config["topk"]), abs=1e-6)


PAPER = {"metrics": ["Recall", "CappedRecall", "NDCG"], "topk": [20, 50, 100], "valid_metric": "NDCG@100"}
PRECISE = PAPER | {"metric_decimal_place": 10, "epochs": 3}


def test_results_are_those_computed_by_hand(settings):
    settings |= PRECISE | {"eval_args": {"split": {"HO": [90, 100]}}}
    run = prepared("VAESplit", "ml-100k", settings)
    assert_evaluation_is_right(run)
    wanted = np.unique(run.test.dataset.inter_feat["user_id"], return_counts=True)[1]
    assert wanted.min() < 20 < wanted.max(), "both conventions of recall are put to the test"


DATA = Path(os.environ.get("RECBOLE_DATA_PATH") or Path(__file__).resolve().parent.parent / "dataset")


@pytest.mark.slow
@pytest.mark.skipif(
    not (DATA / "ml-1m/ml-1m.inter").is_file(), reason=f"no ml-1m in {DATA} (RECBOLE_DATA_PATH)"
)
def test_results_on_ml_1m_are_those_computed_by_hand(settings):
    settings |= yaml.safe_load((CONFIGS / "datasets/ml-1m-held-out.yaml").read_text())
    settings |= shipped("multi-vae-split") | PRECISE | {"data_path": str(DATA), "train_batch_size": 500}
    run = prepared("VAESplit", "ml-1m", settings)
    assert len(users(parts(run)[2])) == 500
    assert_evaluation_is_right(run)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.slow if model in ("RecVAE", "MacridVAE") else ())
        for model in EVERY
    ],
)
def test_planted_blocks_are_found_for_held_out_users(hold_out, model):
    """The items to be found are those of a user's block, which the fold-in tells."""
    run = hold_out(model, epochs=30, learning_rate=0.01, metrics=["CappedRecall", "NDCG"])
    run.trainer.fit(run.train, run.valid, verbose=False, saved=False)
    run.model.eval()
    items = run.dataset.field2id_token["item_id"]
    block_of = np.array([-1, *(int(item[1:]) // BLOCK_ITEMS for item in items[1:])])
    batch, (rows, folded), wanted_rows, wanted = run.test.collate_fn(np.arange(12))
    with torch.no_grad():
        scores = run.model.full_sort_predict(batch).view(12, -1).clone()
    scores[rows, folded] = -torch.inf
    scores[:, 0] = -torch.inf
    own = block_of[wanted[wanted_rows.argsort()].numpy()]
    hits = block_of[scores.argmax(dim=1).numpy()] == own
    if model == "Pop":
        assert hits.mean() < 0.8
    else:
        assert hits.mean() >= 0.9


def test_early_stopping_watches_validation_users(hold_out):
    run = hold_out(epochs=4)
    watched = []
    evaluate = run.trainer.evaluate

    def evaluate_and_note(data, *args, **kwargs):
        watched.append(users(data.dataset.inter_feat))
        return evaluate(data, *args, **kwargs)

    run.trainer.evaluate = evaluate_and_note
    run.trainer._valid_epoch(run.valid)
    assert watched == [users(parts(run)[2])]
    score, result = run.trainer.fit(run.train, run.valid, verbose=False, saved=True)
    run.trainer.evaluate = evaluate
    best = torch.load(run.trainer.saved_model_file, weights_only=False)["state_dict"]
    run.model.load_state_dict(best)
    assert evaluate(run.valid, load_best_model=False) == result and result["ndcg@3"] == score


@pytest.mark.parametrize("model", ["VAESplit", "MultiVAE", "EASE"])
def test_a_checkpoint_evaluates_the_same(settings, model):
    from recbole.quick_start import load_data_and_model, run_recbole
    from recbole.utils import get_trainer
    from recbole.utils.case_study import full_sort_topk

    trained = run_recbole(model, "blocks", config_dict=settings | {"eval_args": HELD_OUT})
    (file,) = Path(settings["checkpoint_dir"]).glob(f"{model}-*.pth")
    config, network, _, train, _, test = load_data_and_model(str(file))
    trainer = get_trainer(config["MODEL_TYPE"], model)(config, network)
    trainer.eval_collector.data_collect(train)
    assert trainer.evaluate(test, load_best_model=False) == trained["test_result"]

    ids = np.array(sorted(users(test.dataset.inter_feat)))
    _, top = full_sort_topk(ids, network, test, k=3)
    folded = pairs(train.dataset.fold_in)
    assert not {(user, item) for user, row in zip(ids.tolist(), top.tolist()) for item in row} & folded


@pytest.mark.parametrize("model", ["DAE", "MultiDAE"])
def test_sampled_candidates_leave_out_the_fold_in(hold_out, model):
    run = hold_out(model, eval_args=HELD_OUT | {"mode": "uni10"})
    folded = pairs(parts(run)[1])
    for user in users(parts(run)[3]):
        assert {item for one, item in folded if one == user} <= run.test._sampler.used_ids[user]
    assert 0 <= run.trainer.evaluate(run.test, load_best_model=False)["ndcg@3"] <= 1


def test_a_bundle_of_such_a_run_knows_training_users_alone(settings):
    from recbole.quick_start import run_recbole

    from recbole_vae_plugin.conversion import bundle_of

    run_recbole("DAE", "blocks", config_dict=settings | {"eval_args": HELD_OUT})
    (file,) = Path(settings["checkpoint_dir"]).glob("DAE-*.pth")
    assert sum(bundle_of(file).vocabulary.popularity) == 7 * (BLOCKS * 15 - 22)


def test_the_command_line(settings):
    from recbole_vae_plugin.cli.run_recbole import main

    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    usual = ["--model=DAE", "--dataset=blocks", "--config_files=settings.yaml"]
    split = "--eval_args={'split': {'HO': [10, 12]}, 'fold_in': 0.5}"
    assert main([*usual, split, "--metrics=['CappedRecall','NDCG']"]) == 0
    (file,) = Path(settings["checkpoint_dir"]).glob("DAE-*.pth")
    kept = torch.load(file, weights_only=False)
    assert kept["config"]["eval_args"]["split"] == {"HO": [10, 12]}
    assert set(kept["best_valid_result"]) == {"cappedrecall@3", "ndcg@3"}


SMALL = {"epochs": 2, "mlp_hidden_size": [16], "latent_dimension": 4, "train_batch_size": 16}
SHARED = {"metrics": ["CappedRecall", "NDCG"], "topk": [3], "valid_metric": "NDCG@3"}


@pytest.fixture
def held_out_blocks(blocks_path) -> dict:
    return {"dataset": "blocks", "data_path": str(blocks_path), "eval_args": HELD_OUT}


def test_a_comparison(held_out_blocks):
    from recbole_vae_plugin.cli.recbole_vae import main
    from recbole_vae_plugin.compare.results import Results

    experiment = SHARED | {
        "datasets": {"blocks": held_out_blocks},
        "methods": {"EASE": None, "VAE": {"model": "VAESplit", **SMALL}},
        "baseline": "EASE",
        "seeds": {"split": [7, 8], "model": 1},
    }
    Path("experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["compare", "experiment.yaml", "--results", "compared"]) == 0
    found = Results.read(Path("compared")).users
    assert len(found) == 2 * 2 * 12
    evaluated = found.groupby(["split_seed", "method"])["user"].agg(frozenset)
    assert evaluated.groupby("split_seed").nunique().eq(1).all(), "the same users whatever the model"

    experiment["methods"]["BPR"] = None
    Path("experiment.yaml").write_text(yaml.safe_dump(experiment))
    assert main(["compare", "experiment.yaml", "--results", "refused"]) == 2
    assert not list(Path("refused").glob("runs/*"))


@pytest.mark.slow
def test_a_search(held_out_blocks):
    from recbole_vae_plugin.cli.recbole_vae import main

    space = SHARED | {
        "model": "VAESplit",
        "dataset": held_out_blocks,
        "settings": SMALL,
        "parameters": {"dropout_prob": [0.1, 0.5]},
        "trials": 2,
        "seeds": {"split": 7, "model": 7},
    }
    Path("space.yaml").write_text(yaml.safe_dump(space))
    assert main(["tune", "space.yaml", "--results", "tuned"]) == 0
    assert yaml.safe_load(Path("tuned/best.yaml").read_text())["eval_args"]["split"] == HELD_OUT["split"]


OF_PAPERS = {"ml-1m": 500, "ml-20m": 10_000, "netflix": 40_000, "msd": 50_000}


@pytest.mark.parametrize(("name", "held_out"), OF_PAPERS.items())
def test_shipped_settings(name, held_out):
    from recbole.config import Config

    from recbole_vae_plugin.integration.data.held_out import HoldOut

    config = Config(model="EASE", config_file_list=[str(CONFIGS / f"datasets/{name}-held-out.yaml")])
    assert config["dataset"] == name
    assert HoldOut.from_config(config) == HoldOut(held_out, held_out, 0.8)
    assert {"NDCG", "Recall", "CappedRecall"} == set(config["metrics"]) and config["topk"] == [20, 50, 100]
    if name != "msd":
        assert config["val_interval"] == {"rating": "[4,inf)"}


BAD = [
    ({"split": {"HO": 10}}, r"eval_args\.split\.HO: got 10; allowed: a list of two numbers"),
    ({"split": {"HO": [10]}}, r"eval_args\.split\.HO: got \[10\]"),
    ({"split": {"HO": [10, 0]}}, r"eval_args\.split\.HO: got 0; allowed: a whole number of at least 1"),
    ({"split": {"HO": [0.1, 0.1]}}, r"eval_args\.split\.HO: got 0.1"),
    ({"split": {"HO": [10, 50]}}, r"got \[10, 50\]; allowed: together fewer than the 60 users"),
    ({"split": {"HO": [10, 10], "RS": [1]}}, r"eval_args\.split: .*only one split"),
    ({"split": {"HO": [10, 10]}, "fold_in": 1.0}, r"eval_args\.fold_in: got 1.0"),
    ({"split": {"HO": [10, 10]}, "fold_in": 0}, r"eval_args\.fold_in: got 0"),
    (
        {"split": {"HO": [10, 10]}, "fold_in": 0.9},
        r"eval_args\.fold_in: got 0.9; .* at least one target item",
    ),
    ({"split": {"HO": [10, 10]}, "order": "XO"}, r"eval_args\.order: got 'XO'; allowed: RO, TO"),
    ({"fold_in": 0.8}, r"eval_args\.fold_in: got 0.8; allowed: only with a split HO"),
]


@pytest.mark.parametrize(("evaluation", "message"), BAD)
def test_bad_values_are_refused(prepare, evaluation, message):
    with pytest.raises(ValueError, match=message):
        prepare("DAE", eval_args=evaluation)


@pytest.mark.parametrize("model", ["BPR", "ItemKNN", "CDAE", "LightGCN"])
def test_models_that_know_their_training_users_alone_are_refused(prepare, model):
    with pytest.raises(ValueError, match=f"model: got '{model}'; allowed: .*VAESplit.*EASE"):
        prepare(model, eval_args=HELD_OUT)


def test_repeatable_negatives_are_refused(prepare):
    with pytest.raises(ValueError, match="repeatable: got True"):
        prepare("DAE", eval_args=HELD_OUT, repeatable=True)
