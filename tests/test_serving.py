"""A served model recommends what RecBole's own model does, to anybody, and says what it left out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bundles import small_bundle
from scipy.sparse import csr_matrix

import recbole_vae_plugin
from recbole_vae_plugin import Recommender
from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.serving import recommender as recommender_module
from recbole_vae_plugin.serving.bundle import write_bundle
from recbole_vae_plugin.serving.vocabulary import Vocabulary
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.testing.fixtures import prepared

WARNING_FREE = pytest.mark.filterwarnings("error")


#: Networks of other parts than the default one, all of which a bundle must carry.
OTHER_NETWORKS = {
    "linear branch": {"linear_branch": "ease", "linear_weight": 2.0},
    "sparse linear branch": {"linear_branch": "sparse_ease", "linear_neighbors": 20, "linear_weight": 2.0},
    "dense encoder": {"encoder": "dense", "mlp_hidden_size": [32, 32]},
}


@pytest.fixture(scope="module", params=[*MODELS, *OTHER_NETWORKS])
def served(request, tmp_path_factory):
    """A model trained for two epochs on ml-100k, and the bundle made of its checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("served"))
        patch.setattr(sys, "argv", ["pytest"])
        settings = {"mlp_hidden_size": [32], "latent_dimension": 8, "epochs": 2, "learning_rate": 0.01}
        settings |= OTHER_NETWORKS.get(request.param, {})
        model = request.param if request.param in MODELS else "VAETwin"
        run = prepared(model, "ml-100k", {**settings, "show_progress": False, "state": "ERROR"})
        run.trainer.fit(run.train, verbose=False)
        assert main(["bundle", run.trainer.saved_model_file, "one.vae"]) == 0
        recommender = Recommender.load("one.vae")
        run.model.eval()
        yield SimpleNamespace(run=run, recommender=recommender, file=Path("one.vae").resolve())


@pytest.fixture
def small() -> Recommender:
    return Recommender(small_bundle())


def histories_of(run) -> list[list[str]]:
    """The training items of every user, by original ids."""
    names = run.dataset.field2id_token[run.dataset.iid_field]
    table = run.train.dataset.inter_feat
    users, items = table[run.dataset.uid_field].numpy(), table[run.dataset.iid_field].numpy()
    return [names[items[users == user]].tolist() for user in range(1, run.dataset.user_num)]


def matrix_of(histories: list[list[str]], names: list[str]) -> csr_matrix:
    """One row a history, one column a name."""
    place = {name: column for column, name in enumerate(names)}
    columns = [place[item] for history in histories for item in history]
    offsets = np.cumsum([0, *map(len, histories)])
    return csr_matrix((np.ones(len(columns)), columns, offsets), shape=(len(histories), len(names)))


def assert_same_ranking(found: list[tuple[str, float]], expected: list[tuple[str, float]], tolerance=1e-5):
    """Equal scores at each rank, and equal items but for ties."""
    assert len(found) == len(expected)
    scores = dict(expected)
    for (item, score), (_, wanted) in zip(found, expected):
        assert score == pytest.approx(wanted, abs=tolerance)
        assert scores.get(item, expected[-1][1]) == pytest.approx(score, abs=tolerance)


class TestAgainstRecBole:
    def test_training_users_get_what_recbole_recommends(self, served):
        from recbole.utils.case_study import full_sort_topk

        run = served.run
        names = run.dataset.field2id_token[run.dataset.iid_field]
        users = np.arange(1, run.dataset.user_num)
        # of validation's items nothing is left out there
        scores, items = full_sort_topk(users, run.model, run.valid, k=20)
        found = served.recommender.recommend(histories_of(run), k=20, with_scores=True)
        agreeing = 0
        for user in range(len(users)):
            expected = list(zip(names[items[user]].tolist(), scores[user].tolist()))
            assert_same_ranking(found[user], expected)
            agreeing += [item for item, _ in found[user]] == [item for item, _ in expected]
        assert agreeing > 0.99 * len(users), "ties are rare"

    def test_codes_are_the_models(self, served):
        histories = histories_of(served.run)[:50]
        expected = served.run.model.encode_users(torch.arange(1, 51))
        found = served.recommender.encode(histories)
        torch.testing.assert_close(found.mu, expected.mu)
        assert (found.logvar is None) == (expected.logvar is None)
        if expected.logvar is not None:
            torch.testing.assert_close(found.logvar, expected.logvar)
        one = served.recommender.encode(histories[7])
        torch.testing.assert_close(one.mu, expected.mu[7])

    def test_titles_and_popularity_are_the_data_sets(self, served):
        vocabulary = served.recommender.vocabulary
        assert len(vocabulary) == 1682
        assert vocabulary.title_of("1") == "Toy Story"
        assert vocabulary.title_of(50) == "Star Wars"
        counts = {}
        for history in histories_of(served.run):
            for item in history:
                counts[item] = counts.get(item, 0) + 1
        assert {item: counts.get(item, 0) for item in vocabulary.ids} == dict(
            zip(vocabulary.ids, vocabulary.popularity)
        )

    def test_a_matrix_and_single_calls_equal_a_batch(self, served):
        histories = histories_of(served.run)[:60]
        expected = served.recommender.recommend(histories, with_scores=True)
        # columns in another order than the model's
        names = served.recommender.vocabulary.ids[::-1]
        of_matrix = served.recommender.recommend(
            matrix_of(histories, names), vocabulary=names, with_scores=True
        )
        for user, history in enumerate(histories):
            assert_same_ranking(of_matrix[user], expected[user])
            assert_same_ranking(served.recommender.recommend(history, with_scores=True), expected[user])

    def test_parts_equal_the_whole(self, served, monkeypatch):
        histories = [*histories_of(served.run)[:20], [], *histories_of(served.run)[20:31]]
        with pytest.warns(UserWarning, match="1 of 32 histories contain no known item"):
            expected = served.recommender.recommend(histories, with_scores=True)
        monkeypatch.setattr(recommender_module, "MAX_SCORES", 5 * 1683)
        with pytest.warns(UserWarning):
            found = served.recommender.recommend(histories, with_scores=True)
        for one, other in zip(found, expected):
            assert_same_ranking(one, other)

    def test_onnx_gives_the_same_scores(self, served):
        onnxruntime = pytest.importorskip("onnxruntime")
        assert main(["export", str(served.file), "model.onnx"]) == 0
        session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
        ids = json.loads(session.get_modelmeta().custom_metadata_map["item_ids"])
        histories = histories_of(served.run)
        for users in (1, 3, 200):
            dense = matrix_of(histories[:users], ids).toarray().astype(np.float32)
            # ratings count as having an item, no more
            (scores,) = session.run(["scores"], {"histories": 5 * dense})
            rows = served.run.model.interactions.rows(torch.arange(1, users + 1))
            with torch.no_grad():
                expected, _ = served.run.model.network(rows)
            np.testing.assert_allclose(scores, expected[:, 1:].numpy(), atol=1e-5)


class TestRecommend:
    @WARNING_FREE
    def test_what_a_user_has_is_left_out_unless_asked_for(self, small):
        history = ["i1", "i5", "i30"]
        found = small.recommend(history, k=40)
        assert sorted(found) == sorted(set(small.vocabulary.ids) - set(history))
        assert sorted(small.recommend(history, k=40, include_seen=True)) == sorted(small.vocabulary.ids)

    @WARNING_FREE
    def test_exclude_and_allow(self, small):
        history, every = ["i1"], small.recommend(["i1"], k=40)
        assert small.recommend(history, k=5, exclude=every[:3]) == every[3:8]
        assert small.recommend(history, k=5, allow=every[10:13]) == every[10:13]
        assert small.recommend(history, allow=every[10:13], exclude=every[11:12]) == [every[10], every[12]]
        assert small.recommend(history, allow=["i1"]) == []
        assert small.recommend(history, allow=[]) == []

    @WARNING_FREE
    def test_scores_fall_and_k_may_exceed_what_is_left(self, small):
        found = small.recommend(["i1", "i2"], k=1000, with_scores=True)
        assert len(found) == 38
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)

    @WARNING_FREE
    def test_ids_may_be_numbers_and_may_repeat(self):
        bundle = small_bundle()
        ids = [str(item) for item in range(40)]
        recommender = Recommender(replace(bundle, vocabulary=Vocabulary(ids, list(range(40)))))
        expected = recommender.recommend(["3", "7"])
        for history in ([3, 7], [3, "7", 7, "3"], np.array([3, 7]), (3, 7), {"3": 1, "7": 1}.keys()):
            assert recommender.recommend(history) == expected
        assert recommender.recommend([[3, 7], ["3", "7"]]) == [expected, expected]

    def test_unknown_items_are_named_once_and_skipped(self, small):
        with pytest.warns(UserWarning) as caught:
            found = small.recommend([["i1", "nobody"], ["x", "i2", "y", "z"]], exclude=["nobody", "i3"])
        (warning,) = caught
        assert str(warning.message) == "5 unknown items skipped: 'nobody', 'x', 'y', ..."
        assert warning.filename == __file__
        assert found == small.recommend([["i1"], ["i2"]], exclude=["i3"])

    def test_unknown_columns_of_a_matrix_are_skipped(self, small):
        matrix = csr_matrix([[1, 0, 2], [0, 3, 0]])
        with pytest.warns(UserWarning, match="1 unknown item skipped: 'new'"):
            found = small.recommend(matrix, vocabulary=["i4", "i9", "new"])
        assert found == small.recommend([["i4"], ["i9"]])

    def test_a_history_without_known_items_gets_the_popular_ones(self, small):
        popular = [f"i{item}" for item in range(39, -1, -1)]
        with pytest.warns(UserWarning, match="contains no known item: these are the most popular items"):
            assert small.recommend([], k=3) == popular[:3]
        with pytest.warns(UserWarning, match="1 unknown item skipped: 'new'; the history contains no known"):
            assert small.recommend(["new"], k=3, with_scores=True) == [
                ("i39", 39.0),
                ("i38", 38.0),
                ("i37", 37.0),
            ]
        with pytest.warns(UserWarning, match="1 of 2 histories contain no known item"):
            first, second = small.recommend([["i1"], []], k=4, exclude=["i38"], allow=popular[:6])
        assert second == ["i39", "i37", "i36", "i35"]
        assert first == small.recommend(["i1"], k=4, exclude=["i38"], allow=popular[:6])

    def test_of_equally_popular_items_the_earlier_comes_first(self):
        bundle = small_bundle()
        recommender = Recommender(replace(bundle, vocabulary=Vocabulary(bundle.vocabulary.ids, [5] * 40)))
        with pytest.warns(UserWarning, match="popular"):
            assert recommender.recommend([], k=3) == ["i0", "i1", "i2"]

    @WARNING_FREE
    def test_an_empty_batch_is_an_empty_answer(self, small):
        assert small.recommend(csr_matrix((0, 40)), vocabulary=small.vocabulary.ids) == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"items": "i1"}, "items: got 'i1'; allowed: a list of item ids"),
            ({"items": 5}, "items: got 5"),
            ({"items": {"i1": 5}}, "items: got"),
            ({"items": ["i1", ["i2"]]}, "items: got 'i1'; allowed: only item ids, or only lists"),
            ({"items": [1.5]}, "item: got 1.5; allowed: an item id, which is a string or an int"),
            ({"items": [True]}, "item: got True"),
            ({"items": [None]}, "item: got None"),
            ({"items": np.ones((2, 40), dtype=int)}, "items: got 'ndarray'.*scipy sparse matrix"),
            ({"items": ["i1"], "k": 0}, "k: got 0; allowed: a whole number of at least 1"),
            ({"items": ["i1"], "exclude": "i2"}, "items: got 'i2'"),
            ({"items": ["i1"], "vocabulary": ["i1"]}, "vocabulary: got 'list'; allowed: only with a scipy"),
            ({"items": csr_matrix((1, 3))}, "vocabulary: got None; allowed: a list of 3 item ids"),
            (
                {"items": csr_matrix((1, 3)), "vocabulary": ["a", "b"]},
                "vocabulary: got 2; allowed: a list of 3",
            ),
            ({"items": csr_matrix((1, 2)), "vocabulary": ["a", "a"]}, "vocabulary: got 'a'; allowed: unique"),
        ],
    )
    def test_bad_arguments_are_refused_by_name(self, small, arguments, message):
        with pytest.raises(ValueError, match=message):
            small.recommend(**arguments)


class TestSimilarItems:
    def test_planted_directions_are_found(self):
        # without hidden layers the code of one item is that item's row
        bundle = small_bundle(mlp_hidden_size=[])
        weight = bundle.network.head.both.weight
        weight.zero_()
        # item j points at angle j degrees, and its length says nothing
        angles = torch.deg2rad(torch.arange(40.0))
        weight[1:, 0], weight[1:, 1] = angles.cos() * (angles + 1), angles.sin() * (angles + 1)
        recommender = Recommender(bundle)
        found = recommender.similar_items("i10", k=3, with_scores=True)
        assert {item for item, _ in found[:2]} == {"i9", "i11"}
        assert found[0][1] == pytest.approx(np.cos(np.deg2rad(1)), abs=1e-6)
        assert len(recommender.similar_items("i10", k=100)) == 39
        assert "i10" not in recommender.similar_items("i10", k=100)

    def test_an_unknown_item_is_refused_with_the_nearest_name(self, small):
        with pytest.raises(ValueError, match=r"item: got 'i390'.*40 items.*did you mean i39\?"):
            small.similar_items("i390")


IN_ANOTHER_PROCESS = """
import json, sys
{before}
from recbole_vae_plugin import Recommender
found = Recommender.load("small.vae").recommend(["i1", "i2"], k=3)
print(json.dumps([found, sorted(name for name in sys.modules if name.partition(".")[0] in {heavy})]))
"""


@pytest.mark.parametrize("before", ["", "sys.modules['recbole'] = None"], ids=["with", "without"])
def test_serving_needs_no_recbole(small, before):
    write_bundle(small.bundle, Path("small.vae"))
    code = IN_ANOTHER_PROCESS.format(before=before, heavy={"recbole", "ray", "pandas", "onnx", "hyperopt"})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, loaded = json.loads(done.stdout)
    assert found == small.recommend(["i1", "i2"], k=3)
    # the names under which RecBole would look our models up
    placeholders = {f"recbole.model.general_recommender.{name.lower()}" for name in MODELS}
    assert set(loaded) <= placeholders | ({"recbole"} if before else set())
    if not before:
        assert "recbole" not in loaded
    assert done.stderr == ""


class TestCommands:
    @pytest.fixture
    def file(self, small) -> str:
        write_bundle(small.bundle, Path("small.vae"))
        return "small.vae"

    def test_recommend_shows_titles(self, file, small, capsys):
        assert main(["recommend", file, "--items", "i1, i2,new", "-k", "3"]) == 0
        shown = capsys.readouterr()
        assert "warning: 1 unknown item skipped: 'new'" in shown.err
        first, _, header, *rows = shown.out.splitlines()
        assert first == "based on: Film 1, Film 2"
        assert header.split() == ["rank", "item", "score", "title"]
        for rank, (row, item) in enumerate(zip(rows, small.recommend(["i1", "i2"], k=3), strict=True), 1):
            assert row.split()[:2] == [str(rank), item]
            assert row.endswith(small.vocabulary.title_of(item))

    def test_many_users(self, file, small, capsys, monkeypatch):
        monkeypatch.setattr("recbole_vae_plugin.serving.batch.CHUNK_SIZE", 2)
        lines = [
            '{"user": "ann", "items": ["i1", "i2"]}',
            "not JSON",
            '{"user": 7, "items": ["i3", "new", "newer"]}',
            "",
            '["i1"]',
            '{"user": "no items"}',
            '{"user": "text", "items": "i1"}',
            '{"user": "numbers", "items": [1.5]}',
            '{"user": {}, "items": []}',
            "[" * 100_000,
            '{"user": "nobody", "items": []}',
        ]
        Path("users.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"user": "\xff"}\n')
        assert (
            main(["recommend", file, "--input", "users.jsonl", "--output", "out/recs.jsonl", "-k", "4"]) == 0
        )
        found = [json.loads(line) for line in Path("out/recs.jsonl").read_text().splitlines()]
        assert [one["user"] for one in found] == ["ann", 7, "nobody"]
        assert found[0]["items"] == small.recommend(["i1", "i2"], k=4)
        assert found[1]["items"] == small.recommend(["i3"], k=4)
        assert found[1]["scores"] == sorted(found[1]["scores"], reverse=True)
        assert found[2]["items"] == ["i39", "i38", "i37", "i36"]
        assert [one["popular"] for one in found] == [False, False, True]
        shown = capsys.readouterr()
        skipped = [line for line in shown.err.splitlines() if "skipped" in line]
        assert [line.split()[1] for line in skipped] == ["2", "5", "6", "7", "8", "9", "10", "12"]
        assert "users: 3; warnings: 11" in shown.out
        assert "bad lines skipped: 8" in shown.out
        assert "2 unknown items skipped: 'new', 'newer'" in shown.out
        assert [one.name for one in Path("out").iterdir()] == ["recs.jsonl"]

    def test_output_that_fails_is_not_left_behind(self, file, monkeypatch, capsys):
        Path("users.jsonl").write_text('{"user": 1, "items": ["i1"]}\n')
        Path("recs.jsonl").write_text("old")
        monkeypatch.setattr(Recommender, "rank", lambda *_: 1 / 0)
        assert main(["recommend", file, "--input", "users.jsonl", "--output", "recs.jsonl"]) == 1
        assert Path("recs.jsonl").read_text() == "old"
        assert not list(Path().glob("*.partial"))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["recommend", "none.vae", "--items", "i1"], "none.vae: the file does not exist"),
            (
                ["recommend", "small.vae", "--input", "users.jsonl"],
                "--input and --output: got only one of them",
            ),
            (
                ["recommend", "small.vae", "--items", "i1", "--output", "x"],
                "--input and --output: got only one",
            ),
            (["recommend", "small.vae", "--items", "i1", "-k", "0"], "k: got 0"),
            (["recommend", "small.vae", "--input", "none", "--output", "x.jsonl"], "--input: got 'none'"),
            (["recommend", "small.vae", "--input", "a.jsonl", "--output", "a.jsonl"], "--output: got"),
            (["recommend", "small.vae", "--input", "a.jsonl", "--output", "x.csv"], "--output: got 'x.csv'"),
            (
                ["recommend", "small.vae", "--input", "a.jsonl", "--output", "dir.jsonl"],
                "dir.jsonl: is a folder",
            ),
            (["recommend", "small.vae", "--input", "small.vae", "--output", "x.jsonl"], "none of its lines"),
            (["bundle", "none.pth", "x.vae"], "none.pth: the file does not exist"),
            (["bundle", "small.vae", "x.vae"], "small.vae: is not a checkpoint"),
            (["export", "small.vae", "model.bin"], "a name that ends in .onnx"),
        ],
    )
    def test_mistakes_are_refused(self, file, capsys, arguments, message):
        Path("a.jsonl").write_text('{"user": 1, "items": ["i1"]}\n')
        Path("dir.jsonl").mkdir()
        assert main(arguments) == 2
        assert not Path("x.jsonl").exists()
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "interrupted", "goes_on"),
        [
            (["tune", "space.yaml"], "recbole_vae_plugin.tune.space.Space.read", True),
            (["recommend", "small.vae", "--items", "i1"], "recbole_vae_plugin.Recommender.load", False),
        ],
    )
    def test_ctrl_c_promises_only_what_is_so(self, arguments, interrupted, goes_on, monkeypatch, capsys):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(interrupted, interrupt)
        assert main(arguments) == 130
        shown = capsys.readouterr().err
        assert "recbole-vae: interrupted" in shown
        assert ("run the same command again to resume" in shown) == goes_on

    def test_an_export_without_its_packages_says_what_to_install(self, file, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "onnx", None)
        assert main(["export", file, "model.onnx"]) == 1
        message = capsys.readouterr().err
        assert "needs onnx" in message and 'pip install "recbole-vae-plugin[onnx]"' in message

    def test_an_export_that_computes_something_else_is_not_kept(self, file, monkeypatch, capsys):
        pytest.importorskip("onnxruntime")
        monkeypatch.setattr("recbole_vae_plugin.serving.export.TOLERANCE", -1.0)
        assert main(["export", file, "model.onnx"]) == 1
        assert "differ from torch's" in capsys.readouterr().err
        assert not list(Path().glob("model.onnx*"))


class TestBundling:
    def test_checkpoints_of_other_models_are_refused(self, prepare, capsys):
        run = prepare("MultiDAE")
        run.trainer.fit(run.train, verbose=False)
        assert main(["bundle", run.trainer.saved_model_file, "x.vae"]) == 2
        assert "is a checkpoint of MultiDAE; allowed: one of VAESplit" in capsys.readouterr().err

    def test_a_data_set_without_titles(self, prepare, capsys):
        run = prepare("DAE")
        run.trainer.fit(run.train, verbose=False)
        assert main(["bundle", run.trainer.saved_model_file, "x.vae"]) == 0
        assert "DAE trained on blocks, 40 items without titles" in capsys.readouterr().out
        assert main(["recommend", "x.vae", "--items", "i0,i1", "-k", "2"]) == 0
        assert "title" not in capsys.readouterr().out
        assert main(["bundle", run.trainer.saved_model_file, "x.vae", "--titles", "name"]) == 2
        assert (
            "--titles: got 'name'; allowed: nothing, since there is no blocks.item" in capsys.readouterr().err
        )

    @pytest.mark.parametrize("change", ["reversed", "longer", "gone"])
    def test_a_checkpoint_knows_its_items_whatever_becomes_of_the_data(
        self, prepare, blocks_path, tmp_path, change
    ):
        """Ids are numbered in the order of a file, so that a sorted file numbers them otherwise."""
        file = tmp_path / "blocks" / "blocks.inter"
        file.parent.mkdir()
        header, *rows = (blocks_path / "blocks" / "blocks.inter").read_text().splitlines(keepends=True)
        file.write_text("".join([header, *rows]))
        run = prepare("DAE", data_path=str(tmp_path), epochs=30, learning_rate=0.01)
        run.trainer.fit(run.train, verbose=False)
        assert main(["bundle", run.trainer.saved_model_file, "before.vae"]) == 0
        changed = {"reversed": rows[::-1], "longer": ["u0\tnew\n", *rows]}
        file.write_text("".join([header, *changed[change]])) if change in changed else file.unlink()
        assert main(["bundle", run.trainer.saved_model_file, "after.vae"]) == 0
        before, after = (Recommender.load(f"{name}.vae") for name in ("before", "after"))
        assert Path("after.vae").read_bytes() == Path("before.vae").read_bytes()
        found = after.recommend(["i0", "i1", "i2"], k=5)
        assert found == before.recommend(["i0", "i1", "i2"], k=5)
        assert {int(item[1:]) // 10 for item in found} == {0}, "items of the same block"

    def test_an_older_checkpoint_notices_that_the_number_of_items_has_changed(
        self, prepare, blocks_path, tmp_path, capsys
    ):
        folder = tmp_path / "blocks"
        folder.mkdir()
        (folder / "blocks.inter").write_text((blocks_path / "blocks" / "blocks.inter").read_text())
        run = prepare("DAE", data_path=str(tmp_path))
        run.trainer.fit(run.train, verbose=False)
        older = torch.load(run.trainer.saved_model_file, weights_only=False)
        del older["items"], older["state_dict"]["_extra_state"]
        torch.save(older, "older.pth", pickle_protocol=4)
        assert main(["bundle", "older.pth", "x.vae"]) == 0
        assert "does not contain the items" in capsys.readouterr().err
        with (folder / "blocks.inter").open("a") as file:
            file.write("u0\tnew\n")
        assert main(["bundle", "older.pth", "y.vae"]) == 2
        assert "has changed: 41 items now, 40 when" in capsys.readouterr().err

    def test_titles_are_found_and_chosen(self, tmp_path):
        from recbole_vae_plugin.integration.data.titles import titles_of

        (tmp_path / "shop.item").write_text(
            "item_id:token\tprice:float\tname:token\tproduct_title:token_seq\n"
            "a\t1\tA\tNA\nb\t2\t\tThe b\nd\t3\tD\t\n"
        )
        config = {
            "data_path": str(tmp_path),
            "dataset": "shop",
            "field_separator": "\t",
            "encoding": "utf-8",
            "ITEM_ID_FIELD": "item_id",
        }
        assert titles_of(config, ["a", "b", "c", "d"]) == ["NA", "The b", None, None]
        assert titles_of(config, ["b", "a"], "name") == [None, "A"]
        with pytest.raises(ValueError, match="--titles: got 'colour'; allowed: item_id, price, name"):
            titles_of(config, ["a"], "colour")
        assert titles_of({**config, "dataset": "other"}, ["a"]) is None


def test_the_recommender_is_public():
    assert recbole_vae_plugin.Recommender is Recommender
    assert {"Recommender", "BundleError"} <= set(recbole_vae_plugin.__all__)
