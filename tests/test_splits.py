"""Splits on planted data: what is in which part, what training knows of the future, what is said of it."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import CONFIGS

from recbole_vae_plugin.datafiles.writing import SPLITS
from recbole_vae_plugin.integration.config.checks import config_of
from recbole_vae_plugin.integration.config.nested import check_split
from recbole_vae_plugin.integration.config.splits import describe_split

#: 1 January 2020.
BEGIN = 1577836800
GT = {"split": {"GT": [0.8, 0.1, 0.1]}, "order": "TO", "mode": "full"}


def write(rows: list[tuple]) -> None:
    """A data set of rows of user, item, time."""
    folder = Path("data/timed")
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (folder / "timed.inter").write_text("\n".join(lines) + "\n")


def planted() -> list[tuple]:
    """30 users with 20 items each, whose times overlap, in an order that has nothing to do with them."""
    random = np.random.default_rng(0)
    rows = []
    for user in range(30):
        begin = random.integers(0, 10**6)
        times = np.sort(random.choice(10**6, size=20, replace=False)) + begin
        items = random.choice(40, size=20, replace=False)
        rows += [(f"u{user}", f"i{item}", BEGIN + time) for item, time in zip(items, times)]
    return [rows[place] for place in random.permutation(len(rows))]


def in_turn(begin: int) -> list[tuple]:
    """10 users take turns, one a second, until all have had 20 of 21 items, in various orders."""
    turns = [(row, row % 10) for row in range(200)]
    return [(f"u{user}", f"i{(row // 10 + 2 * user) % 21}", begin + row) for row, user in turns]


@pytest.fixture
def split(prepare, caplog):
    """Split a data set of rows; the parts as sets of rows, and what was logged."""

    def split(rows: list[tuple], evaluation: dict, model: str = "VAESplit", **more) -> SimpleNamespace:
        write(rows)
        times = {(user, item): time for user, item, time in rows}
        caplog.set_level(logging.INFO)
        columns = {"inter": ["user_id", "item_id", "timestamp"]}
        more = {"data_path": "data", "load_col": columns, "eval_args": evaluation, "state": "INFO", **more}
        run = prepare(model, dataset="timed", **more)
        parts = []
        for loader in (run.train, run.valid, run.test):
            data = loader.dataset
            users, items = (
                data.id2token(field, data.inter_feat[field]) for field in (data.uid_field, data.iid_field)
            )
            parts.append({(user, item, times[user, item]) for user, item in zip(users, items)})
        warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        text = "\n".join(record.getMessage() for record in caplog.records)
        return SimpleNamespace(train=parts[0], valid=parts[1], test=parts[2], warnings=warnings, log=text)

    return split


def times(rows: set[tuple]) -> list:
    return [row[2] for row in rows]


class TestGlobalTime:
    def test_nothing_that_is_tested_is_before_the_points(self, split):
        rows = planted()
        parts = split(rows, GT)
        assert max(times(parts.train)) < min(times(parts.valid))
        assert max(times(parts.valid)) < min(times(parts.test))
        assert len(parts.train) == 480
        assert not any("later" in warning for warning in parts.warnings)

    def test_a_moment_is_in_one_part(self, split):
        # a ninth of all interactions are at one moment, at which validation would begin
        places = [(user, item, 30 * item + user) for user in range(30) for item in range(30)]
        rows = [
            (f"u{user}", f"i{(item + user) % 31}", BEGIN + (700 if 700 <= place < 800 else place))
            for user, item, place in places
        ]
        parts = split(rows, GT)
        assert not set(times(parts.train)) & set(times(parts.valid))
        assert sum(time == BEGIN + 700 for time in times(parts.valid)) == 100

    def test_seconds_count(self, split):
        """In float32, in which RecBole has times, those of two minutes are one."""
        parts = split(in_turn(1_700_000_000), GT)
        assert sorted(times(parts.train)) == [1_700_000_000 + row for row in range(160)]
        assert sorted(times(parts.test)) == [1_700_000_000 + row for row in range(180, 200)]

    @pytest.mark.parametrize(
        "points", [["2020-01-09", "2020-01-11T12:00:00"], [BEGIN + 8 * 86400, BEGIN + 10.5 * 86400]]
    )
    def test_points_may_be_given(self, split, points):
        evaluation = {**GT, "split": {"GT": points}}
        parts = split(planted(), evaluation)
        train, valid, test = (
            (np.array(times(part)) - BEGIN) / 86400 for part in (parts.train, parts.valid, parts.test)
        )
        assert train.max() < 8 <= valid.min() and valid.max() < 10.5 <= test.min()

    def test_whom_training_does_not_know_is_left_out_and_counted(self, split):
        late = [("u0", "new item"), ("new user", "i0"), ("new user", "new item")]
        rows = in_turn(BEGIN) + [(*pair, BEGIN + 1000) for pair in late]
        parts = split(rows, {**GT, "split": {"GT": [BEGIN + 100, BEGIN + 150]}})
        assert len(parts.train) == 100 and len(parts.valid) == len(parts.test) == 50
        assert "of 103 later interactions, 3 are left out: 2 of users and 1 with items" in parts.log

    @pytest.mark.parametrize("model", ["BPR", "EASE", "MultiVAE"])
    def test_models_of_recbole(self, split, model):
        assert len(split(planted(), GT, model).train) == 480

    @pytest.mark.parametrize(
        "value, order, said",
        [
            ([0.8, 0.1], "TO", "eval_args.split.GT"),  # two moments, in the wrong order
            ([0, 0.5, 0.5], "TO", "eval_args.split.GT"),
            (["2020-01-02", "2020-01-01"], "TO", "eval_args.split.GT"),
            (["soon", "later"], "TO", "eval_args.split.GT"),
            ("0.8", "TO", "eval_args.split.GT"),
            ([0.8, 0.1, 0.1], "RO", "eval_args.order: got 'RO'"),
            (["1999-01-01", "2020-01-01"], "TO", "points in time with interactions before them"),
            (["2020-01-03", "2030-01-01"], "TO", "part is not empty"),
        ],
    )
    def test_what_is_refused(self, split, value, order, said):
        with pytest.raises(ValueError, match=said):
            split(planted(), {"split": {"GT": value}, "order": order, "mode": "full"})

    def test_points_and_normalised_times_do_not_go_together(self, split):
        with pytest.raises(ValueError, match="normalize_all"):
            split(planted(), {**GT, "split": {"GT": ["2020-01-09", "2020-01-11"]}}, normalize_all=True)

    @pytest.mark.parametrize("model", ["VAESplit", "Pop"])
    def test_what_is_refused_is_refused_before_the_data_is_read(self, model):
        evaluation = {**GT, "order": "RO"}
        with pytest.raises(ValueError, match="eval_args.order: got 'RO'"):
            config_of(model, "nowhere", config_dict={"eval_args": evaluation, "load_col": None})


def test_the_last_interaction_of_a_user_is_the_last_to_the_second(split):
    """Without the order of exact times, the last line of each user would be the last interaction."""
    backwards = [(user, item) for user in range(10) for item in reversed(range(10))]
    rows = [(f"u{user}", f"i{item or 10 + user}", 1_700_000_000 + item) for user, item in backwards]
    parts = split(rows, {**SPLITS["leave-one-out"], "mode": "full"})
    assert {row[1] for row in parts.test} == {"i9"} and {row[1] for row in parts.valid} == {"i8"}


class TestWarnings:
    @pytest.mark.parametrize("name", ["leave-one-out", "user-time"])
    def test_later_interactions_of_other_users_are_said_once(self, split, name):
        rows = planted()
        parts = split(rows, {**SPLITS[name], "mode": "full"})
        said = [
            warning for warning in parts.warnings if "each user's last interactions are tested" in warning
        ]
        share = np.mean(np.array(times(parts.train)) > min(times(parts.test)))
        assert len(said) == 1 and f"({share:.0%} of training is later" in said[0]

    def test_so_is_a_random_order_where_times_are_loaded(self, split):
        evaluation = {**SPLITS["random"], "mode": "full"}
        assert any("random split" in warning for warning in split(planted(), evaluation).warnings)

    def test_and_not_where_no_times_are(self, split):
        columns = {"inter": ["user_id", "item_id"]}
        parts = split(planted(), {**SPLITS["random"], "mode": "full"}, load_col=columns)
        assert not any("random split" in warning for warning in parts.warnings)

    @pytest.mark.parametrize("removed, said", [(None, True), ("first", False)])
    def test_pairs_in_two_parts_are_counted(self, split, removed, said):
        places = [(user, item) for user in range(10) for item in range(10)]
        rows = [
            (f"u{user}", f"i{item if item < 9 else 10 + user}", BEGIN + 100 * item + user)
            for user, item in places
        ]
        # nine users end with an item that they began with
        again = [(f"u{user}", "i0", BEGIN + 10_000 + user) for user in range(9)]
        evaluation = {**SPLITS["leave-one-out"], "mode": "full"}
        parts = split(rows + again, evaluation, rm_dup_inter=removed)
        found = [warning for warning in parts.warnings if "repeat a user and an item" in warning]
        assert len(found) == said
        if said:
            assert (
                found[0].startswith("9 of 20 validation and test interactions") and "rm_dup_inter" in found[0]
            )


@pytest.mark.parametrize("file", sorted((CONFIGS / "datasets").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_data_set_says_how_it_is_split(file):
    config = yaml.safe_load(file.read_text())
    check_split(config["eval_args"]["split"])
    knows_the_future = "later" in describe_split(config) and "GT" not in config["eval_args"]["split"]
    assert knows_the_future == ("global-time" not in file.stem)


def test_the_splits_of_the_data_command_are_those_that_are_shipped():
    for name, split in SPLITS.items():
        file = "ml-100k.yaml" if name == "random" else f"ml-100k-{name}.yaml"
        shipped = yaml.safe_load((CONFIGS / "datasets" / file).read_text())["eval_args"]
        assert shipped["order"] == split["order"] and shipped["split"].keys() == split["split"].keys()
