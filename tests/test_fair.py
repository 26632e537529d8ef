"""Tuning inside a comparison: the same budget for every method, and words where it is not the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
import yaml
from conftest import CONFIGS, first_on_path
from optuna.trial import TrialState
from results_by_hand import write_results

from recbole_vae_plugin.cli.recbole_vae import main
from recbole_vae_plugin.compare.experiment import Experiment, SearchKey
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.runner import Plan
from recbole_vae_plugin.compare.searches import budget_of, costs, fingerprint_of, folder_of
from recbole_vae_plugin.compare.tables import Comparison, legend
from recbole_vae_plugin.settings.validation import Refused
from recbole_vae_plugin.testing.fixtures import TEXTBOOK
from recbole_vae_plugin.tune.proposal import proposed_parameters
from recbole_vae_plugin.tune.search import Rules, Search
from recbole_vae_plugin.tune.space import UNLIMITED, Parameter, Space
from recbole_vae_plugin.tune.study import open_study
from recbole_vae_plugin.tune.trial import DEFAULTS, OUTSIDE

TRIALS = 2
#: Every worker that reads test data leaves a file where it does.
WATCH = """import os, pathlib, sys
def watched(loader):
    collate = loader.collate_fn
    def collate_fn(self, index):
        if self._sampler.phase == 'test':
            pathlib.Path('test-was-read').touch()
        return collate(self, index)
    loader.collate_fn = collate_fn
# other processes need not import RecBole for it
if 'multiprocessing' in ' '.join(sys.orig_argv):
    import recbole_vae_plugin.integration.data.loaders as data
    import recbole.data.dataloader.general_dataloader as general
    for loader in {data.UserFullSortEvalDataLoader, general.FullSortEvalDataLoader}:
        watched(loader)
"""


def small_fair_quick(blocks_path: Path) -> dict:
    """The shipped experiment on planted data, with two trials a method and two epochs."""
    content = yaml.safe_load((CONFIGS / "experiments/fair-quick.yaml").read_text())
    content["datasets"] = {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}}
    content["methods"]["VAESplit"] = {**TEXTBOOK, "mlp_hidden_size": [8], "latent_dimension": 4}
    content["methods"]["Pop"] = None
    content["settings"] = {"epochs": 2, "eval_step": 1, "train_batch_size": 32}
    return content | {"topk": [3], "valid_metric": "NDCG@3", "tune": {"trials": TRIALS}}


def run_until(command: list[str], environment: dict, pattern: str, count: int) -> None:
    """Run a command in a session of its own, and kill all of it once so many files are there."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    end = monotonic() + 300
    while len(list(Path().glob(pattern))) < count:
        assert monotonic() < end and process.poll() is None
        sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it struck"


@pytest.fixture(scope="module")
def fair(blocks_path, tmp_path_factory):
    """The small experiment, killed in a search and again among the tests, and then finished.

    Returns:
        The results folder, and the trials that had finished when it was killed with their times of change.
    """
    folder = tmp_path_factory.mktemp("fair")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("fair.yaml").write_text(yaml.safe_dump(small_fair_quick(blocks_path), sort_keys=False))
        Path("sitecustomize.py").write_text(WATCH)
        patch.setenv("PYTHONPATH", first_on_path(str(folder)))
        command = [sys.executable, "-m", "recbole_vae_plugin.cli.recbole_vae", "compare", "fair.yaml"]
        command += ["--results", "found"]
        trials = "found/tune/**/result.json"
        run_until(command, dict(os.environ), trials, TRIALS + 1)
        run_until(command, dict(os.environ), "found/runs/*/*/*/result.json", 1)
        before = {file: file.stat().st_mtime_ns for file in Path().glob(trials)}
        assert main(command[3:]) == 0
        assert main(["report", "found"]) == 0
        same = {file: file.stat().st_mtime_ns for file in before}
    return folder / "found", before, same


def study_of(folder: Path, method: str) -> optuna.Study:
    """The study of a method of the small experiment."""
    file = folder_of(folder, SearchKey("blocks", method, 2020)) / "study.db"
    return optuna.load_study(study_name=f"fair/blocks/{method}/split-2020", storage=f"sqlite:///{file}")


@pytest.mark.slow
class TestFairQuick:
    def test_killed_twice_it_ends_with_table_verdicts_and_page(self, fair):
        folder, before, same = fair
        table = (folder / "table.md").read_text()
        assert "## Verdicts" in table and "### Tuned values" in table and "## Failures" not in table
        assert "unequal" not in table and "| Pop † |" in table
        assert "Tuned values" in (folder / "report.html").read_text()
        assert len(before) >= TRIALS + 1 and same == before, "no finished trial was repeated"

    def test_budgets_are_equal_by_count(self, fair):
        folder, _, _ = fair
        searches = Results.read(folder).searches.set_index("method")
        assert set(searches.index) == {"VAESplit", "EASE", "ItemKNN", "MultiVAE", "BPR"}
        assert (searches["trials"] == TRIALS).all() and (searches["search_seconds"] > 0).all()
        assert searches.loc["VAESplit", "space"] == "vae-split"
        for method in searches.index:
            states = [trial.state for trial in study_of(folder, method).trials]
            assert states.count(TrialState.COMPLETE) == TRIALS

    def test_the_test_data_is_not_read_while_tuning(self, fair):
        folder, _, _ = fair
        places = [file.relative_to(folder).parts[0] for file in folder.glob("**/test-was-read")]
        assert set(places) == {"runs"} and len(places) >= 5
        for file in folder.glob("tune/**/result.json"):
            assert "test" not in json.loads(file.read_text())
        assert not list(folder.glob("tune/**/users.csv.gz"))

    @pytest.mark.parametrize(
        ("method", "key", "value"), [("EASE", "reg_weight", 250.0), ("VAESplit", "anneal_cap", 0.2)]
    )
    def test_trial_0_is_the_methods_own_settings(self, fair, method, key, value):
        folder, _, _ = fair
        trials = study_of(folder, method).trials
        own = [trial for trial in trials if DEFAULTS in trial.user_attrs]
        # if it was killed, the last one is its repetition
        assert own[0] is trials[0] and own[-1].state == TrialState.COMPLETE
        assert own[-1].user_attrs[DEFAULTS][key] == value and own[-1].user_attrs["values"] == {}
        (run,) = folder.glob(f"tune/blocks/{method}/**/trial-{own[-1].number:04}/*/config.yaml")
        assert yaml.safe_load(run.read_text())[key] == value

    def test_the_winner_is_what_is_run_and_tested(self, fair):
        folder, _, _ = fair
        results = Results.read(folder)
        for record in results.records.values():
            place = folder_of(folder, SearchKey("blocks", record["method"], 2020))
            best = yaml.safe_load((place / "best.yaml").read_text())
            scores = pd.read_csv(place / "trials.csv")["valid"]
            assert record["valid_score"] == scores.max()
            config = yaml.safe_load(results.config_of("blocks", record["method"]).read_text())
            for key, value in (record["values"] or {}).items():
                assert config[key] == value == best[key]


def label_runs(folder: Path, experiment: Experiment) -> None:
    """Make results those of an experiment's methods, whatever these are."""
    for run in experiment.runs():
        file = folder / "runs" / run.folder / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **run.labels}))


@pytest.fixture
def by_hand(tmp_path):
    """Write results of two methods that were tuned; returns their folder.

    A method's entry is its record's changes, or ``None`` where it was not tuned.
    """

    def write(good: dict | None, bad: dict | None = None, **budget) -> Path:
        folder = write_results(tmp_path / "results")
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        content["methods"]["bad"]["model"] = "EASE"
        shared = {"trials": 4, "hours": None, "warm_up_epochs": 5, "splits": "each"}
        content["tune"] = {**shared, **budget}
        tuned = {"source": "given", "parameters": {"reg_weight": {"uniform": [1, 2]}}, "trials": None}
        untuned = {"source": "none", "parameters": {}, "trials": None}
        records = {"good": good, "bad": bad}
        content["spaces"] = {label: untuned if each is None else tuned for label, each in records.items()}
        (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
        experiment = Experiment(**content)
        label_runs(folder, experiment)
        for search in experiment.searches():
            record = {
                **search._asdict(),
                "fingerprint": fingerprint_of(experiment.space_of(search)),
                "space": "given",
                "budget": budget_of(experiment.space_of(search)),
                **{"trials": 4, "pruned": 1, "failed": 0, "search_seconds": 360.0},
                **{"whole_space": False, "cut": False, "own_settings": True, "best_trial": 0},
                **{"valid_score": 0.5, "values": {}, "shown": {"reg_weight": 1.5}},
                **(records[search.method] or {}),
            }
            place = folder_of(folder, search)
            place.mkdir(parents=True)
            (place / "search.json").write_text(json.dumps(record))
        return folder

    return write


class TestWords:
    @pytest.mark.parametrize(
        ("good", "bad", "budget", "words"),
        [
            ({}, None, {}, "unequal budgets of tuning: good 4 trials, 5 epochs; bad not tuned"),
            ({"trials": 9}, {}, {}, "good 9 trials, 5 epochs; bad 4 trials"),
            ({}, None, {"trials": None, "hours": 0.5}, "good 0.5 h of training, 5 epochs; bad not tuned"),
            ({"trials": 2, "cut": True}, {}, {"hours": 0.1}, "good 2 trials, cut at 0.1 h, 5 epochs"),
            (
                {"trials": 3, "budget": {"trials": 3}},
                {},
                {"trials": None, "hours": 1.0},
                "good 3 trials, 5 epochs; bad 1 h of training",
            ),
        ],
    )
    def test_unequal_budgets_are_named_in_the_verdict(self, by_hand, good, bad, budget, words):
        (verdict,) = Comparison(Results.read(by_hand(good, bad, **budget))).verdicts()
        assert words in verdict

    @pytest.mark.parametrize(
        ("bad", "budget"),
        [
            ({}, {}),
            ({"trials": 3, "whole_space": True}, {}),
            ({"trials": 9}, {"trials": None, "hours": 1.0}),
            ({"trials": 3, "cut": True}, {"trials": 9, "hours": 1.0, "cut": True}),
        ],
        ids=["equal", "all that there is", "equal hours", "both cut at the same hours"],
    )
    def test_equal_budgets_need_no_words(self, by_hand, bad, budget):
        good = {"cut": True} if (budget := dict(budget)).pop("cut", False) else {}
        comparison = Comparison(Results.read(by_hand(good, bad, **budget)))
        assert not any("unequal" in verdict for verdict in comparison.verdicts())
        assert "†" not in legend(comparison, "toy")
        assert ("‡" in legend(comparison, "toy")) == bool(good), "fewer trials are marked, as they are"

    def test_other_lengths_of_training_are_unequal(self, by_hand):
        folder = by_hand({}, {})
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        content["methods"]["good"]["stopping_step"] = 1
        content["methods"]["bad"]["model"] = "BPR"
        (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
        label_runs(folder, Experiment(**content))
        (verdict,) = Comparison(Results.read(folder)).verdicts()
        words = "good 4 trials, 5 epochs, stopping_step 1; bad 4 trials, 5 epochs, its own stopping_step"
        assert words in verdict

    def test_every_format_knows_the_searches(self, by_hand, capsys):
        folder = str(by_hand({"trials": 9}, None))
        outputs = {}
        for name in ("markdown", "latex", "csv", "json"):
            assert main(["table", folder, "--format", name]) == 0
            outputs[name] = capsys.readouterr().out
        assert "| good ‡ |" in outputs["markdown"] and "| bad † |" in outputs["markdown"]
        row = "| good | 1 | 9 | 1 | 0 | 0.1 | given | reg_weight 1.5 (its own settings) |"
        assert row in outputs["markdown"] and "Methods are tuned on each split" in outputs["markdown"]
        assert r"good $\ddagger$" in outputs["latex"]
        assert "reg_weight 1.5" in outputs["csv"]
        (record,) = json.loads(outputs["json"])["searches"]
        assert (record["method"], record["trials"], record["search_seconds"]) == ("good", 9, 360.0)
        assert main(["report", folder]) == 0
        assert "good ‡" in Path(folder, "report.html").read_text()

    def test_one_search_for_all_splits_is_said(self, by_hand):
        comparison = Comparison(Results.read(by_hand({}, {}, splits="first")))
        assert "Methods are tuned on split 1 by its validation data, for all splits" in legend(
            comparison, "toy"
        )

    def test_a_search_without_a_winner_is_a_failure(self, by_hand):
        lost = {"values": None, "failed": 4, "valid_score": None, "best_trial": None, "shown": {}}
        comparison = Comparison(Results.read(by_hand(lost, {})))
        assert "the search of good on toy, split 1 failed" in comparison.failures()[0]

    def test_a_damaged_record_counts_as_missing(self, by_hand, capsys):
        folder = by_hand({}, {})
        file = folder_of(folder, SearchKey("toy", "good", 1)) / "search.json"
        file.write_text(file.read_text()[:50])
        assert set(Results.read(folder).searches["method"]) == {"bad"}
        assert f"{file} is damaged" in capsys.readouterr().err


class TestPlan:
    def test_a_budget_cannot_change_once_its_search_has_ended(self, by_hand):
        folder = by_hand({}, {})
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        assert Plan(Experiment(**content), folder).searches == []
        content["tune"]["trials"] = 5
        with pytest.raises(Refused, match=r"trials': 4.*the search of (good|bad) on toy, split 1 has ended"):
            Plan(Experiment(**content), folder)

    def test_a_space_cannot_change_once_its_search_has_ended(self, by_hand):
        folder = by_hand({}, {})
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        content["spaces"]["good"] = {
            **content["spaces"]["good"],
            "parameters": {"reg_weight": {"uniform": [1, 3]}},
        }
        with pytest.raises(Refused, match="the search of good on toy, split 1 has ended, with other"):
            Plan(Experiment(**content), folder)

    def test_what_has_run_untuned_is_not_tuned_in_the_same_folder(self, by_hand):
        folder = by_hand({}, {})
        folder_of(folder, SearchKey("toy", "good", 1)).joinpath("search.json").unlink()
        with pytest.raises(Refused, match="good on toy, split 1, seed 1 has run untuned"):
            Plan(Experiment(**yaml.safe_load((folder / "experiment.yaml").read_text())), folder)

    def test_where_only_the_record_was_lost_nothing_is_refused(self, by_hand):
        folder = by_hand({}, {})
        place = folder_of(folder, SearchKey("toy", "good", 1))
        record = (place / "search.json").read_text()
        (place / "search.json").unlink()
        (place / "space.yaml").write_text("name: by hand/toy/good/split-1")
        plan = Plan(Experiment(**yaml.safe_load((folder / "experiment.yaml").read_text())), folder)
        assert [each.method for each in plan.searches] == ["good"] and len(plan.to_run) == 2
        (place / "search.json").write_text(record)
        plan.update()
        assert not plan.searches and not plan.to_run and len(plan.done) == 4

    def test_what_is_left_is_counted_and_estimated(self, by_hand):
        folder = by_hand({}, {})
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        content["split_seeds"] = [1, 2]
        plan = Plan(Experiment(**content), folder)
        assert [each.split_seed for each in plan.searches] == [2, 2] and len(plan.to_run) == 4
        # four runs and two searches of four trials, 9 s each
        assert plan.seconds_left(plan.to_run, 1) == pytest.approx((4 + 8) * 9)

    @pytest.mark.parametrize(("choices", "trials"), [([250.0, 5], 2), ([3, 5], 3), ([3, 5, 7, 9], 4)])
    def test_of_a_small_space_all_is_tried_and_the_methods_own_settings(self, by_hand, choices, trials):
        """EASE's are 250; the budget is four trials."""
        content = yaml.safe_load((by_hand({}, None) / "experiment.yaml").read_text())
        content["methods"]["good"] = {"model": "EASE"}
        content["spaces"]["good"]["parameters"] = {"reg_weight": {"choice": choices}}
        plan = Plan(Experiment(**content), Path("elsewhere"))
        assert plan.trials_left(SearchKey("toy", "good", 1)) == trials


class TestFirstTrial:
    @pytest.fixture
    def search(self, tmp_path):
        """A search over a method's ``k``, before it has begun."""

        def start(own: int, values: list[int], trials: int = 10, **rules) -> Search:
            space = Space(
                name="first",
                label="blocks",
                dataset={"dataset": "blocks", "data_path": "nowhere"},
                settings={"model": "ItemKNN"},
                parameters=(Parameter.read("k", values),),
                trials=trials,
                **{"hours": 0.001, "warm_up_epochs": 5, "split_seed": 7, "model_seeds": [7]},
                **{"metrics": ["NDCG"], "topk": [3], "valid_metric": "NDCG@3"},
            )
            study = open_study(space, tmp_path, None)
            search = Search(study, space, tmp_path / "trials", Rules({"k": own}, **rules))
            search.queue_first()
            return search

        return start

    def test_settings_outside_the_space_are_tried_as_they_are(self, search):
        found = search(100, [3, 5])
        first, second, third = (found.propose() for _ in range(3))
        assert first.trial.number == 0 and first.values == {}
        assert first.trial.user_attrs == {DEFAULTS: {"k": 100}, OUTSIDE: ["k"]}
        assert {second.values["k"], third.values["k"]} == {3, 5} and found.goal == 3

    def test_where_only_time_is_limited_the_choices_are_not_queued(self, search):
        """There are trials for all of them, but the first would be all alike."""
        assert len(search(3, [*range(2, 50)], trials=UNLIMITED).study.get_trials()) == 1

    def test_where_time_is_limited_too_the_choices_are_not_tried_in_their_order(self, search):
        trials = search(3, [*range(50, 90)], trials=50).study.get_trials()
        queued = [trial.system_attrs["fixed_params"]["k"] for trial in trials[1:]]
        assert len(queued) == 40 and queued != sorted(queued)

    def test_the_own_settings_are_never_pruned(self, search):
        found = search(100, [3, 5])
        own, other = found.propose(), found.propose()
        for entry in (own, other):
            entry.trial = SimpleNamespace(
                user_attrs=entry.trial.user_attrs, report=lambda *_: None, should_prune=lambda: True
            )
        row = {"epoch": 9, "valid_ndcg@3": 0.1}
        assert found.should_prune(other, row) and not found.should_prune(own, row)

    def test_a_choice_may_be_written_as_a_float(self):
        k = Parameter.read("k", [100, 250])
        assert k.contains(250.0) and k.encoded(250.0) == "250"
        assert not Parameter.read("k", [0, 1]).contains(True)

    def test_settings_inside_the_space_are_not_tried_twice(self, search):
        found = search(5, [3, 5])
        first, second = found.propose(), found.propose()
        assert first.values == {} and first.trial.params == {"k": "5"}
        assert second.values == {"k": 3} and found.goal == 2 and found.propose() is None

    def test_killed_they_are_tried_again(self, search):
        search(5, [3, 5]).propose()
        resumed = search(5, [3, 5], exclusive=True)
        resumed.fail_abandoned()
        resumed.heartbeat.update([])
        values = [resumed.propose().values for _ in range(2)]
        assert sorted(values, key=len) == [{}, {"k": 3}]

    def test_the_limit_of_hours_is_of_training(self, search):
        found = search(5, [3, 5], count_run_time=True)
        assert not found.is_late(began=0.0), "however long ago it was started"
        trial = found.propose().trial
        trial.set_user_attr("seconds", 4.0)
        found.study.tell(trial, 0.5)
        assert found.is_late(began=0.0)

    @pytest.mark.parametrize(
        ("own", "tried", "whole", "cut"),
        [(5, 2, True, False), (5, 1, False, True), (100, 2, False, True), (100, 3, True, False)],
    )
    def test_a_record_says_whether_all_was_tried_or_time_was_up(self, search, own, tried, whole, cut):
        """Of 3, 5 and the method's own value, with ten trials and 0.001 hours."""
        found = search(own, [3, 5])
        for number in range(tried):
            trial = found.propose().trial
            trial.set_user_attr("seconds", 2.0)
            found.study.tell(trial, 0.1 * number)
        record = costs(SearchKey("blocks", "ItemKNN", 7), found.space, "given", found.study, found.rules)
        assert (record["whole_space"], record["cut"]) == (whole, cut)
        assert (record["trials"], record["search_seconds"]) == (tried, 2.0 * tried)

    def test_where_only_time_is_limited_nothing_is_cut(self, search):
        found = search(5, [3, 5, 7], trials=UNLIMITED)
        found.study.tell(found.propose().trial, 0.5)
        record = costs(SearchKey("blocks", "ItemKNN", 7), found.space, "given", found.study, found.rules)
        assert not record["cut"] and not record["whole_space"]


class TestSpaces:
    @pytest.fixture
    def read(self, blocks_path):
        """Read an experiment with these methods and this budget."""

        def read(methods: dict, tune: object = ..., **changes) -> Experiment:
            content = {
                "datasets": {"blocks": {"dataset": "blocks", "data_path": str(blocks_path)}},
                "methods": methods,
                "baseline": next(iter(methods)),
                "seeds": {"split": [7, 8], "model": [1, 2]},
                **({} if tune is ... else {"tune": tune}),
                **changes,
            }
            Path("fair.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
            return Experiment.read("fair.yaml")

        return read

    def test_a_model_without_a_shipped_space_gets_a_proposed_one(self, read):
        experiment = read({"NeuMF": {"dropout_prob": 0.3}, "EASE": None, "Pop": None}, {"trials": 3})
        sources = {label: space["source"] for label, space in experiment.spaces.items()}
        assert sources == {"NeuMF": "proposed", "EASE": "ease", "Pop": "nothing to tune"}
        parameters = experiment.spaces["NeuMF"]["parameters"]
        assert parameters["mlp_hidden_size"] == {"choice": [[64, 32], [128, 64], [256, 128]]}
        assert parameters["learning_rate"] == {"loguniform": [0.0001, 0.01]}
        experiment.check()
        assert [each.method for each in experiment.searches()] == ["NeuMF", "EASE"] * 2

    @pytest.mark.parametrize(
        ("model", "settings", "expected"),
        [
            ("NCEPLRec", {}, {"reg_weight": {"loguniform": [1.0, 10000.0]}}),
            ("NCEPLRec", {"reg_weight": 0}, {"reg_weight": {"loguniform": [1e-7, 1e-2]}}),
            (
                "SASRec",
                {},
                {"learning_rate": {"loguniform": [0.0001, 0.01]}, "n_layers": {"integer": [1, 4]}},
            ),
            ("Pop", {}, {}),
            # the k of ADMMSLIM is a number of iterations
            (
                "ADMMSLIM",
                {},
                {"lambda1": {"loguniform": [0.03, 300.0]}, "lambda2": {"loguniform": [2.0, 20000.0]}},
            ),
        ],
    )
    def test_ranges_lie_around_the_defaults(self, model, settings, expected):
        assert {each.name: each.as_given for each in proposed_parameters(model, settings)} == expected

    def test_a_method_may_name_its_space_or_give_it(self, read):
        space = {"model": "BPR", "settings": {"epochs": 7, "train_batch_size": 64}, "warm_up_epochs": 9}
        Path("mine.yaml").write_text(yaml.safe_dump({**space, "parameters": {"embedding_size": [8, 16]}}))
        methods = {
            "named": {"model": "BPR", "tune": {"space": "mine.yaml", "trials": 2}},
            "given": {"model": "BPR", "tune": {"learning_rate": {"uniform": [0.1, 0.2]}}},
            "untuned": {"model": "BPR", "tune": "none"},
            "too": {"model": "BPR", "tune": False},
        }
        experiment = read(methods, {"trials": 3, "splits": "first"})
        assert [each["source"] for each in experiment.spaces.values()] == [
            "mine",
            "given in the experiment",
            "none",
            "none",
        ]
        named, given = (experiment.space_of(each) for each in experiment.searches())
        assert (named.trials, given.trials) == (2, 3)
        assert named.warm_up_epochs == given.warm_up_epochs == 9, "pruning is the same"
        assert named.settings == {"model": "BPR", "train_batch_size": 64}, "epochs are the experiment's"
        assert named.model_seeds == [1]

    def test_a_winner_of_the_first_split_runs_on_all(self, read):
        for splits, count in (("first", 1), ("each", 2)):
            experiment = read({"EASE": None}, {"trials": 2, "splits": splits})
            searches = list(experiment.searches())
            winners = {each: {"reg_weight": each.split_seed} for each in searches}
            found = [run.settings["reg_weight"] for run in experiment.runs(winners)]
            assert len(searches) == count
            assert found == ([7, 7, 7, 7] if splits == "first" else [7, 7, 8, 8])

    @pytest.mark.parametrize(
        ("tune", "own", "words"),
        [
            ({}, {}, ["tune", "trials or hours"]),
            (20, {}, ["tune", "20", "trials and hours"]),
            ({"trial": 5}, {}, ["tune", "trial"]),
            ({"trials": 0}, {}, ["tune.trials", "at least 1"]),
            ({"hours": 0}, {}, ["tune.hours", "above 0"]),
            ({"trials": 2, "splits": "all"}, {}, ["tune.splits", "each, first"]),
            (..., {"tune": "bpr"}, ["tune", "budget of BPR"]),
            ({"trials": 2}, {"tune": "bpp"}, ["methods.BPR.tune", "did you mean bpr"]),
            ({"trials": 2}, {"tune": "ease"}, ["methods.BPR.tune", "a space of BPR", "EASE"]),
            (
                {"trials": 2},
                {"tune": {"space": "bpr", "k": [1]}},
                ["either space, a name or path, or parameters"],
            ),
            ({"trials": 2}, {"tune": {"space": 5}}, ["either space, a name or path, or parameters"]),
            ({"trials": 2}, {"tune": {"epochs": [5, 500]}}, ["epochs", "the same for all methods"]),
            ({"trials": 2}, {"tune": {"learning_rate": {"log": [1, 2]}}}, ["learning_rate", "loguniform"]),
            ({"trials": 2}, {"tune": 3}, ["methods.BPR.tune", "3"]),
        ],
    )
    def test_bad_keys_are_refused_by_name(self, read, tune, own, words):
        with pytest.raises(Refused) as refusal:
            read({"BPR": own}, tune)
        for word in words:
            assert word in str(refusal.value)

    def test_values_that_the_model_refuses_are_found_before_anything_runs(self, read):
        experiment = read({"VAESplit": {"tune": {"dropout_prob": [0.5, 1.5]}}}, {"trials": 2})
        with pytest.raises(Refused, match="method VAESplit on blocks: tune: parameters.dropout_prob"):
            experiment.check()
