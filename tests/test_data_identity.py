"""A checkpoint is used with the data that it was trained on, and with no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recbole.quick_start import load_data_and_model, run_recbole

from recbole_vae_plugin.integration.data import saved
from recbole_vae_plugin.testing.fixtures import prepared


@pytest.fixture
def own_data(blocks_path):
    """The planted data in a folder of the test's own, with a way to rewrite it."""
    file = Path("data/blocks/blocks.inter")
    file.parent.mkdir(parents=True)
    header, *rows = (blocks_path / "blocks/blocks.inter").read_text().splitlines(keepends=True)
    file.write_text("".join([header, *rows]))

    def rewrite(change) -> None:
        file.write_text("".join([header, *change(rows)]))

    return rewrite


@pytest.fixture
def timed_data(own_data):
    """The same with a column of times, which sequential models need."""
    file = Path("data/blocks/blocks.inter")

    def rewrite(change) -> None:
        own_data(change)
        _, *rows = file.read_text().splitlines(keepends=True)
        times = [f"{row.strip()}\t{number}\n" for number, row in enumerate(rows)]
        file.write_text("".join(["user_id:token\titem_id:token\ttime:float\n", *times]))

    rewrite(lambda rows: rows)
    return rewrite


CHANGES = {
    "rows in another order": lambda rows: rows[::-1],
    "an interaction less": lambda rows: rows[:-1],
    "an item more": lambda rows: [*rows, "u0\tnew\n"],
    "a user more": lambda rows: [*rows, "new\ti0\n"],
    "other ids": lambda rows: [row.replace("i1\n", "other\n") for row in rows],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("model", ["VAESplit", "DAE"])
def test_other_data_is_refused(prepare, own_data, change, model):
    run = prepare(model, data_path="data")
    run.trainer.fit(run.train, run.valid, verbose=False)
    file = run.trainer.saved_model_file
    load_data_and_model(file)
    own_data(change)
    with pytest.raises((ValueError, RuntimeError), match="trained on other data|size mismatch"):
        load_data_and_model(file)
    with pytest.raises((ValueError, RuntimeError), match="trained on other data|size mismatch"):
        prepare(model, data_path="data").trainer.resume_checkpoint(file)


RECBOLES = ["BPR", "MultiVAE", "EASE", "GRU4Rec"]


@pytest.fixture
def prepare_recboles(settings):
    """A run of a model of RecBole's own on planted data, which has no key of ours."""
    for key in ("mlp_hidden_size", "latent_dimension"):
        del settings[key]
    of_sequences = {"load_col": {"inter": ["user_id", "item_id", "time"]}, "TIME_FIELD": "time"}

    def prepare(model: str, **more):
        if model == "GRU4Rec":
            more = {**of_sequences, "train_neg_sample_args": None, **more}
        return prepared(model, "blocks", {**settings, "epochs": 1, **more})

    return prepare


@pytest.mark.parametrize("model", RECBOLES)
def test_other_data_is_refused_for_models_of_recbole(prepare_recboles, timed_data, model):
    run = prepare_recboles(model, data_path="data")
    run.trainer.fit(run.train, run.valid, verbose=False)
    file = run.trainer.saved_model_file
    load_data_and_model(file)
    for change in CHANGES.values():
        timed_data(change)
        other = prepare_recboles(model, data_path="data").trainer
        for use in (
            lambda: load_data_and_model(file),
            lambda: other.resume_checkpoint(file),  # noqa: B023  called at once
            lambda: other.evaluate(run.test, model_file=file),  # noqa: B023
        ):
            with pytest.raises((ValueError, RuntimeError), match="trained on other data|size mismatch"):
                use()


def test_another_order_of_a_column_that_a_model_reads_is_refused(prepare_recboles, own_data):
    def with_colours(*colours):
        header = "user_id:token\titem_id:token\tcolour:token\n"
        rows = [
            f"{row.strip()}\t{colours[place % 2]}\n"
            for place, row in enumerate(Path("data/blocks/plain").read_text().splitlines()[1:])
        ]
        Path("data/blocks/blocks.inter").write_text("".join([header, *rows]))

    Path("data/blocks/plain").write_text(Path("data/blocks/blocks.inter").read_text())
    negatives = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False}
    columns = {
        "load_col": {"inter": ["user_id", "item_id", "colour"]},
        "train_neg_sample_args": {**negatives, "candidate_num": 0},
        "eval_args": {"mode": "uni5"},
    }
    with_colours("red", "blue")
    run = prepare_recboles("FM", data_path="data", **columns)
    run.trainer.fit(run.train, verbose=False)
    with_colours("blue", "red")
    other = prepare_recboles("FM", data_path="data", **columns)
    with pytest.raises(ValueError, match="which has other values of colour, or the same in another order"):
        other.trainer.resume_checkpoint(run.trainer.saved_model_file)


def test_checkpoints_of_recboles_models_of_before_are_loaded_as_before(prepare_recboles, timed_data):
    run = prepare_recboles("EASE", data_path="data")
    run.trainer.fit(run.train, verbose=False)
    file = run.trainer.saved_model_file
    checkpoint = torch.load(file, weights_only=False)
    del checkpoint["other_parameter"]["trained_on"]
    torch.save(checkpoint, file)
    timed_data(CHANGES["rows in another order"])
    load_data_and_model(file)


@pytest.mark.parametrize("more", [{"seed": 7}, {"eval_args": {"split": {"RS": [0.4, 0.3, 0.3]}}}])
def test_another_split_is_refused(prepare, more):
    run = prepare("VAESplit")
    run.trainer.fit(run.train, verbose=False)
    with pytest.raises(ValueError, match="which has another training set: another split"):
        prepare("VAESplit", **more).trainer.resume_checkpoint(run.trainer.saved_model_file)


def test_the_same_data_in_another_folder_is_the_same(prepare, own_data):
    run = prepare("VAETwin")
    run.trainer.fit(run.train, verbose=False)
    moved = prepare("VAETwin", data_path="data")
    moved.trainer.resume_checkpoint(run.trainer.saved_model_file)
    for one, other in zip(run.model.parameters(), moved.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_weights_of_before_are_loaded_as_before(prepare):
    run = prepare("DAE")
    older = {name: value for name, value in run.model.state_dict().items() if name != "_extra_state"}
    prepare("DAE", seed=7).model.load_state_dict(older)


class TestSavedData:
    """RecBole's ``save_dataset`` and ``save_dataloaders``: what they saved is used only where it fits."""

    SAVE = {"save_dataset": True, "save_dataloaders": True}

    @pytest.mark.parametrize("model", ["DAE", "BPR"])
    @pytest.mark.parametrize(
        "more",
        [
            {"eval_args": {"split": {"RS": [0.4, 0.3, 0.3]}}},
            {"eval_args": {"split": {"LS": "valid_and_test"}}},
            {"val_interval": {"item_id": [f"i{item}" for item in range(20)]}},
            {"repeatable": True},
            {},
        ],
    )
    def test_a_run_with_other_settings_gets_its_own_split(self, settings, more, model, caplog):
        for key in ("mlp_hidden_size", "latent_dimension") if model == "BPR" else ():
            del settings[key]
        plain = run_recbole(model, "blocks", config_dict={**settings, **more, "checkpoint_dir": "elsewhere"})
        run_recbole(model, "blocks", config_dict={**settings, **self.SAVE})
        assert run_recbole(model, "blocks", config_dict={**settings, **more}) == plain

    def test_a_run_on_other_data_gets_its_own_data(self, prepare, own_data, caplog):
        prepare("DAE", data_path="data", **self.SAVE)
        assert len(list(Path("saved").glob("*.made-from"))) == 2
        own_data(CHANGES["an item more"])
        run = prepare("DAE", data_path="data")
        assert run.dataset.item_num == 42 == run.train.dataset.item_num
        assert "was made from other settings or files, or by another version; it is ignored" in caplog.text

    def test_files_of_another_version_are_not_opened(self, prepare, monkeypatch, caplog):
        with monkeypatch.context() as earlier:
            earlier.setattr(saved, "FORMAT", saved.FORMAT - 1)
            prepare("DAE", **self.SAVE)
        files = [note.with_suffix("") for note in Path("saved").glob("*.made-from")]
        assert len(files) == 2
        for file in files:
            file.write_bytes(b"cmodule_that_has_moved\nName\n.")
        prepare("DAE")
        assert caplog.text.count("by another version; it is ignored") == 2

    def test_files_without_a_note_are_not_trusted(self, prepare, own_data, caplog):
        prepare("DAE", data_path="data", **self.SAVE)
        for note in Path("saved").glob("*.made-from"):
            note.unlink()
        prepare("DAE", data_path="data")
        assert "has no fingerprint" in caplog.text
