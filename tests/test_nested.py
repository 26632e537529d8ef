"""Settings within settings are checked as the outer ones are, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from recbole_vae_plugin.cli import recbole_vae, run_recbole
from recbole_vae_plugin.settings.validation import Refused

#: What is set -> what the one message must say.
WRONG = {
    "a split in the wrong place": ({"eval_args": {"HO": [10, 10]}}, ["eval_args", "'HO'", "eval_args.split"]),
    "a misspelt key": ({"eval_args": {"spilt": {"RS": [8, 1, 1]}}}, ["'spilt'", "did you mean split?"]),
    "a misspelt split": ({"eval_args": {"split": {"RO": [8, 1, 1]}}}, ["eval_args.split", "'RO'"]),
    "a misspelt phase": ({"eval_args": {"mode": {"val": "full"}}}, ["eval_args.mode", "'val'", "valid"]),
    "two ratios": ({"eval_args": {"split": {"RS": [0.8, 0.2]}}}, ["eval_args.split.RS", "three numbers"]),
    "four ratios": ({"eval_args": {"split": {"RS": [7, 1, 1, 1]}}}, ["eval_args.split.RS", "three numbers"]),
    "nothing to train on": ({"eval_args": {"split": {"RS": [0, 0.5, 0.5]}}}, ["training (above 0)"]),
    "negative ratios": ({"eval_args": {"split": {"RS": [1, -1, 1]}}}, ["eval_args.split.RS"]),
    "ratios in words": ({"eval_args": {"split": {"RS": ["a", 1, 1]}}}, ["eval_args.split.RS"]),
    "two splits": (
        {"eval_args": {"split": {"RS": [8, 1, 1], "LS": "valid_and_test"}}},
        ["one of RS, LS, GT and HO"],
    ),
    "no split": ({"eval_args": {"split": "RS"}}, ["eval_args.split", "'RS'", "{RS: "]),
    "an unknown leave-one-out": (
        {"eval_args": {"split": {"LS": "valid"}}},
        ["eval_args.split.LS", "valid_only"],
    ),
    "an unknown order": ({"eval_args": {"order": "time"}}, ["eval_args.order", "'time'", "RO, TO"]),
    "an unknown group": ({"eval_args": {"group_by": "item"}}, ["eval_args.group_by", "'item'", "user, none"]),
    "a time that is not read": ({"eval_args": {"order": "TO"}}, ["eval_args.order", "timestamp"]),
    "a number as interval": ({"val_interval": {"rating": 3}}, ["val_interval.rating", "3", "an interval"]),
    "a text as interval": (
        {"val_interval": {"rating": ">3"}},
        ["val_interval.rating", "'>3'", "an interval"],
    ),
    "an interval that descends": ({"val_interval": {"rating": "[5,3]"}}, ["val_interval.rating", "[5,3]"]),
    "an interval of texts": ({"val_interval": {"item_id": "[3,5]"}}, ["val_interval.item_id", "a list"]),
    "a list of numbers": ({"val_interval": {"rating": [3, 4]}}, ["val_interval.rating", "an interval"]),
    "no interval of users": ({"user_inter_num_interval": "5"}, ["user_inter_num_interval", "an interval"]),
    "half an interval": (
        {"item_inter_num_interval": "[5"},
        ["item_inter_num_interval", "'[5'", "an interval"],
    ),
    "an unknown file": ({"load_col": {"items": ["a"]}}, ["load_col", "'items'", "did you mean item?"]),
    "columns that are no list": ({"unused_col": {"inter": "rating"}}, ["unused_col.inter", "a list"]),
    "a misspelt sampler": (
        {"train_neg_sample_args": {"distrbution": "uniform"}},
        ["train_neg_sample_args", "did you mean distribution?"],
    ),
    "a misspelt norm": ({"clip_grad_norm": {"max_nrom": 5}}, ["clip_grad_norm", "did you mean max_norm?"]),
}


@pytest.fixture
def rated(settings) -> dict:
    """Settings for planted data with ratings, read from a file of this test."""
    folder = Path("data/rated")
    folder.mkdir(parents=True)
    rows = [f"u{user}\ti{(user + item) % 20}\t{1 + item % 5}" for user in range(20) for item in range(10)]
    (folder / "rated.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\trating:float", *rows]) + "\n"
    )
    columns = {"inter": ["user_id", "item_id", "rating"]}
    return {**settings, "data_path": "data", "load_col": columns, "epochs": 1}


@pytest.mark.parametrize("wrong, said", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("command", ["run_recbole", "compare", "tune"])
def test_wrong_settings_are_refused_before_the_first_run(rated, wrong, said, command, capsys):
    of_data = {**rated, "dataset": "rated"}
    data = {key: of_data[key] for key in ("dataset", "data_path", "load_col")}
    if command == "run_recbole":
        Path("wrong.yaml").write_text(yaml.safe_dump({**of_data, **wrong, "model": "VAESplit"}))
        code = run_recbole.main(["--config_files=wrong.yaml"])
    else:
        of_model = {
            key: value for key, value in wrong.items() if key in ("train_neg_sample_args", "clip_grad_norm")
        }
        content = {
            "compare": {
                "datasets": {"rated": {**data, **wrong} if not of_model else data},
                "methods": {"BPR": of_model},
                "baseline": "BPR",
                "seeds": {"split": 1, "model": 1},
                "metrics": ["NDCG"],
                "topk": [3],
            },
            "tune": {
                "model": "BPR",
                "dataset": {**data, **wrong} if not of_model else data,
                "settings": of_model,
                "parameters": {"learning_rate": [0.1, 0.01]},
                "metrics": ["NDCG"],
                "topk": [3],
            },
        }[command]
        Path("wrong.yaml").write_text(yaml.safe_dump(content))
        code = recbole_vae.main([command, "wrong.yaml"])
    error = capsys.readouterr().err
    assert code == 2, error
    (message,) = [line for line in error.splitlines() if ": error: " in line]
    for part in said:
        assert part in message
    assert not list(Path().rglob("*.pth")) and not list(Path().rglob("result.json"))


def test_an_interval_filters_what_it_says(rated, prepare):
    for interval, ratings in {"[3,inf)": {3, 4, 5}, "(3,4];[1,1]": {1, 4}}.items():
        run = prepare("VAESplit", dataset="rated", **{**rated, "val_interval": {"rating": interval}})
        assert set(run.dataset.inter_feat["rating"].tolist()) == ratings


@pytest.mark.parametrize(
    "more, said",
    [
        ({"eval_step": 0}, "eval_step: got 0"),
        ({"eval_step": 5, "epochs": 4}, "eval_step: got 5; allowed: at most 4, the epochs"),
        (
            {"eval_args": {"split": {"RS": [9, 0, 1]}}},
            "eval_args.split.RS: got [9, 0, 1]; allowed: a split with a validation set",
        ),
        ({"eval_args": {"split": {"LS": "test_only"}}}, "eval_args.split.LS: got 'test_only'"),
    ],
)
def test_a_search_needs_validation(rated, more, said, capsys):
    dataset = {"dataset": "rated", "data_path": "data"}
    content = {"model": "BPR", "dataset": dataset, "settings": {}, "parameters": {"learning_rate": [0.1]}}
    content["settings" if "eval_step" in more else "dataset"] |= more
    Path("space.yaml").write_text(yaml.safe_dump(content))
    assert recbole_vae.main(["tune", "space.yaml"]) == 2
    assert said in capsys.readouterr().err


def test_a_comparison_needs_test_data(rated, capsys):
    dataset = {"dataset": "rated", "data_path": "data", "eval_args": {"split": {"RS": [9, 1, 0]}}}
    content = {
        "datasets": {"rated": dataset},
        "methods": ["Pop"],
        "baseline": "Pop",
        "seeds": {"split": 1, "model": 1},
    }
    Path("experiment.yaml").write_text(yaml.safe_dump(content))
    assert recbole_vae.main(["compare", "experiment.yaml", "--dry-run"]) == 2
    assert "eval_args.split.RS: got [9, 1, 0]; allowed: a split with a test set" in capsys.readouterr().err


#: A split and a user's number of interactions -> the part that is empty.
TOO_LITTLE = {
    "validation by ratio": ({"RS": [0.8, 0.1, 0.1]}, 2, "validation"),
    "validation by leaving out": ({"LS": "valid_and_test"}, 2, "validation"),
    "test by ratio": ({"RS": [0.8, 0, 0.2]}, 1, "test"),
    "test by leaving out": ({"LS": "test_only"}, 1, "test"),
}
#: A split without a part -> what the log says.
NOT_ASKED_FOR = {
    "no ratio for validation": ({"RS": [0.8, 0, 0.2]}, "no validation part: early stopping is off"),
    "no ratio for the test": ({"RS": [0.8, 0.2, 0]}, "no test part: there is no test result"),
    "no mode with validation": ({"LS": "test_only"}, "no validation part: early stopping is off"),
    "no mode with a test": ({"LS": "valid_only"}, "no test part: there is no test result"),
}
EVERY_LOADER = [("DAE", "full"), ("DAE", "uni5"), ("BPR", "full"), ("BPR", "uni5")]


@pytest.mark.parametrize("model, mode", EVERY_LOADER)
@pytest.mark.parametrize("split, each, part", TOO_LITTLE.values(), ids=TOO_LITTLE.keys())
def test_a_part_that_came_out_empty_is_refused_before_training(prepare, model, mode, split, each, part):
    rows = [f"u{user}\ti{item}\n" for user in range(40) for item in (user % 9, 9)[:each]]
    Path("data/few").mkdir(parents=True)
    Path("data/few/few.inter").write_text("user_id:token\titem_id:token\n" + "".join(rows))
    said = f"eval_args.split: got .*; allowed: a split whose {part} part is not empty"
    with pytest.raises(Refused, match=said):
        prepare(model, "few", data_path="data", eval_args={"split": split, "mode": mode})


@pytest.mark.parametrize("model, mode", EVERY_LOADER)
@pytest.mark.parametrize("split, said", NOT_ASKED_FOR.values(), ids=NOT_ASKED_FOR.keys())
def test_a_part_that_was_not_asked_for_is_told_of_once(prepare, caplog, model, mode, split, said):
    prepare(model, eval_args={"split": split, "mode": mode})
    (warning,) = [record for record in caplog.records if "leaves no" in record.getMessage()]
    assert said in warning.getMessage() and warning.levelname == "WARNING"


#: Keys of the data set, of the models and of the file -> what compare and tune must say before any run.
BEFORE_ANY_RUN = {
    "a list longer than the catalogue": ({}, {}, {"topk": [41]}, "topk: got [41]; allowed: up to 40"),
    "filters that leave nobody": (
        {"user_inter_num_interval": "[300,inf)"},
        {},
        {},
        "user_inter_num_interval: got '[300,inf)'",
    ),
    "a filter of no column": ({"val_interval": {"ratng": "[3,inf)"}}, {}, {}, "Field [ratng] not defined"),
    "a threshold of no column": ({"threshold": {"rating": 3}}, {}, {}, "Field [rating] not in inter_feat"),
    "more held-out users than there are": (
        {"eval_args": {"split": {"HO": [100, 100]}}},
        {},
        {},
        "eval_args.split.HO: got [100, 100]",
    ),
    "an encoding that there is not": ({"encoding": "utf-99"}, {}, {}, "encoding: got 'utf-99'; allowed:"),
    "a norm that is no number": (
        {},
        {"clip_grad_norm": {"max_norm": "x"}},
        {},
        "clip_grad_norm.max_norm: got 'x'",
    ),
    "no norm": ({}, {"clip_grad_norm": {"norm_type": 2}}, {}, "clip_grad_norm.max_norm: got None"),
    "a type of norm": (
        {},
        {"clip_grad_norm": {"max_norm": 1, "norm_type": "l2"}},
        {},
        "clip_grad_norm.norm_type: got 'l2'",
    ),
    "weights that grow": ({}, {"weight_decay": -1.0}, {}, "weight_decay: got -1.0; allowed: a number of"),
    "fewer loaders than none": ({}, {"worker": -1}, {}, "worker: got -1; allowed: a whole number of at"),
}


def files_with(blocks_path, of_data: dict, settings: dict, of_file: dict) -> None:
    """An experiment and a space, which are fine unless they are told otherwise."""
    columns = {"inter": ["user_id", "item_id"]}
    common = {
        "settings": {"epochs": 1, **settings},
        "seeds": {"split": 1, "model": 1},
        "topk": [3],
        "metrics": ["NDCG"],
        **of_file,
    }
    keys = {"dataset": "blocks", "data_path": str(blocks_path), "load_col": columns, **of_data}
    experiment = {"datasets": {"here": keys}, "methods": ["DAE"], "baseline": "DAE", **common}
    space = {"model": "DAE", "dataset": keys, "parameters": {"learning_rate": [0.1]}, "trials": 1, **common}
    Path("experiment.yaml").write_text(yaml.safe_dump(experiment))
    Path("space.yaml").write_text(yaml.safe_dump(space))


@pytest.mark.parametrize("of_data, settings, of_file, said", BEFORE_ANY_RUN.values(), ids=BEFORE_ANY_RUN)
@pytest.mark.parametrize("command", [["compare", "experiment.yaml", "--dry-run"], ["tune", "space.yaml"]])
def test_what_only_the_data_tells_is_found_before_any_run(
    blocks_path, command, of_data, settings, of_file, said, monkeypatch, capsys
):
    monkeypatch.setattr("recbole_vae_plugin.tune.search.search", lambda *_: pytest.fail("it was begun"))
    files_with(blocks_path, of_data, settings, of_file)
    assert recbole_vae.main(command) == 2
    assert said in capsys.readouterr().err


def test_a_plan_without_mistakes_is_printed_and_a_tilde_is_the_home_folder(blocks_path, monkeypatch, capsys):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(blocks_path.parent))
    files_with(blocks_path, {"data_path": f"~/{blocks_path.name}", "save_dataset": True}, {}, {})
    assert recbole_vae.main(["compare", "experiment.yaml", "--dry-run"]) == 0
    assert "0 done, 1 to run" in capsys.readouterr().out
    assert sorted(path.name for path in Path().iterdir()) == ["experiment.yaml", "space.yaml"]
