"""What goes into a bundle comes out of it; what has been tampered with does not."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from bundles import archived, forged, parts_of, small_bundle

from recbole_vae_plugin import BundleError
from recbole_vae_plugin.serving.bundle import read_bundle, write_bundle
from recbole_vae_plugin.settings.model_registry import MODELS


@pytest.fixture
def file(tmp_path) -> Path:
    file = tmp_path / "small.vae"
    write_bundle(small_bundle(), file)
    return file


def assert_equal(one, other):
    assert (one.model, one.dataset, one.settings) == (other.model, other.dataset, other.settings)
    assert one.vocabulary == other.vocabulary
    expected = other.network.state_dict()
    assert one.network.state_dict().keys() == expected.keys()
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


class TestRoundTrip:
    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"mlp_hidden_size": []},
            {
                "mlp_hidden_size": [16, 8],
                "decoder_hidden_size": [5],
                "activation": "gelu",
                "denoising": "none",
            },
        ],
        ids=["default", "flat", "deep"],
    )
    def test_nothing_is_lost(self, tmp_path, model, settings):
        bundle = small_bundle(model, **settings)
        write_bundle(bundle, tmp_path / "deeper" / "one.vae")
        assert_equal(read_bundle(tmp_path / "deeper" / "one.vae"), bundle)

    def test_only_weights_that_safetensors_refuses_are_copied(self, tmp_path, monkeypatch):
        bundle = small_bundle(linear_branch="ease")
        network = bundle.network
        network.linear.B = torch.rand(41, 41).T
        network.output.bias.data = network.linear.B[0]
        network.encoder.register_buffer("same", network.output.weight, persistent=True)
        written = {}
        save = safetensors.torch.save
        monkeypatch.setattr(
            safetensors.torch, "save", lambda weights: save(written.update(weights) or weights)
        )
        write_bundle(bundle, tmp_path / "one.vae")
        weights = network.state_dict()
        assert written.keys() == weights.keys()
        assert all(torch.equal(written[name], weight) for name, weight in weights.items())
        copied = {name for name, weight in weights.items() if written[name].data_ptr() != weight.data_ptr()}
        assert len(copied) == 3 and "linear.B" in copied

    def test_the_same_model_makes_the_same_bytes(self, file, tmp_path):
        write_bundle(small_bundle(), tmp_path / "again.vae")
        assert file.read_bytes() == (tmp_path / "again.vae").read_bytes()

    def test_every_model_has_a_head_that_bundles_can_name(self):
        import recbole_vae_plugin
        from recbole_vae_plugin.nn.heads import HEADS

        for model in MODELS:
            head = getattr(recbole_vae_plugin, model).head
            assert HEADS[head.__name__] is head

    def test_a_bundle_from_before_a_key_existed_has_what_was_the_default(self, file):
        parts = parts_of(file)
        manifest = json.loads(parts["manifest.json"])
        del manifest["settings"]["activation"]
        file.write_bytes(forged(parts | {"manifest.json": json.dumps(manifest).encode()}))
        assert_equal(read_bundle(file), small_bundle())


class TestWriting:
    def test_an_older_bundle_is_replaced(self, file):
        write_bundle(small_bundle("DAE"), file)
        assert read_bundle(file).model == "DAE"

    @pytest.mark.parametrize("content", [b"precious", archived({"photo.jpg": b"x"}), b""])
    def test_what_is_no_bundle_is_not_overwritten(self, tmp_path, content):
        (tmp_path / "mine").write_bytes(content)
        with pytest.raises(BundleError, match="mine: exists and is not a bundle"):
            write_bundle(small_bundle(), tmp_path / "mine")
        assert (tmp_path / "mine").read_bytes() == content
        with pytest.raises(BundleError, match="exists and is not a bundle"):
            write_bundle(small_bundle(), tmp_path)

    def test_a_failure_leaves_the_old_one_and_nothing_else(self, file, monkeypatch):
        before = file.read_bytes()
        monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_bundle(small_bundle("DAE"), file)
        assert file.read_bytes() == before
        assert [one.name for one in file.parent.iterdir()] == [file.name]


def edited(parts: dict[str, bytes], name: str, edit) -> bytes:
    """A bundle with right checksums in which one JSON part has been edited in place."""
    content = json.loads(parts[name])
    edit(content)
    return forged(parts | {name: json.dumps(content).encode()})


def manifest(**values):
    return lambda parts: edited(parts, "manifest.json", lambda content: content.update(values))


def setting(**values):
    return lambda parts: edited(parts, "manifest.json", lambda content: content["settings"].update(values))


def items(**values):
    return lambda parts: edited(parts, "items.json", lambda content: content.update(values))


def weights(edit):
    def damage(parts):
        tensors = safetensors.torch.load(parts["weights.safetensors"])
        edit(tensors)
        return forged(parts | {"weights.safetensors": safetensors.torch.save(tensors)})

    return damage


def with_nan(tensors):
    tensors["output.bias"][3] = float("nan")


def turned(tensors):
    tensors["output.weight"] = tensors["output.weight"].T.contiguous()


def in_half(tensors):
    tensors["output.weight"] = tensors["output.weight"].half()


IDS = [f"i{item}" for item in range(40)]
DAMAGES = {
    "truncated": (lambda parts: archived(parts)[:-200], "is not a bundle, or is truncated"),
    "empty": (lambda parts: b"", "is not a bundle, or is truncated"),
    "foreign": (lambda parts: b"\x89PNG\r\n" * 100, "is not a bundle, or is truncated"),
    "a foreign zip": (lambda parts: archived({"word/document.xml": b""}), "manifest.json is missing"),
    "another format": (manifest(format="a song"), "does not say that it is a recbole-vae bundle"),
    "newer": (manifest(format_version=2), "format version 2.*versions up to 1; install a newer release"),
    "version of no kind": (manifest(format_version="1"), "format_version: got '1'"),
    "no weights": (
        lambda parts: archived({name: parts[name] for name in ("manifest.json", "items.json")}),
        "weights.safetensors is missing",
    ),
    "no checksum": (
        lambda parts: archived(
            parts | {"manifest.json": b'{"format": "recbole-vae bundle", "format_version": 1}'}
        ),
        "files: got None",
    ),
    "altered weights": (
        lambda parts: archived(parts | {"weights.safetensors": parts["weights.safetensors"][:-1] + b"\x01"}),
        "weights.safetensors has been altered",
    ),
    "altered items": (
        lambda parts: archived(parts | {"items.json": parts["items.json"].replace(b"i7", b"i8")}),
        "items.json has been altered",
    ),
    "compressed": (
        lambda parts: forged(
            parts | {"items.json": b" " * 10**6 + parts["items.json"]}, zipfile.ZIP_DEFLATED
        ),
        "compressed members",
    ),
    "a long manifest": (
        lambda parts: archived(parts | {"manifest.json": b" " * 2**21}),
        "manifest.json has more than 1048576 bytes",
    ),
    "bad JSON in the manifest": (lambda parts: archived(parts | {"manifest.json": b"{"}), "is not JSON"),
    "bad JSON in the items": (lambda parts: forged(parts | {"items.json": b"[" * 10**5}), "is not JSON"),
    "items of no kind": (lambda parts: forged(parts | {"items.json": b"[]"}), "contains a list"),
    "too few ids": (items(ids=IDS[:-1], popularity=[1] * 39, titles=None), "39 item ids.*columns for 40"),
    "ids of one length, titles of another": (items(titles=["a"]), "titles: got 1; allowed: a list of 40"),
    "duplicated ids": (items(ids=["i1", *IDS[1:]]), "ids: got 'i1'; allowed: unique item ids"),
    "ids that are numbers": (items(ids=list(range(40))), "ids: got 0; allowed: text"),
    "popularity below zero": (items(popularity=[-1] * 40), "popularity: got -1; allowed: a count"),
    "unknown part of the items": (items(prices=[]), "items.json has the keys.*prices"),
    "another model": (manifest(model="MultiVAE"), "model: got 'MultiVAE'; allowed: VAESplit"),
    "another head": (manifest(head="os.system"), "head: got 'os.system'; allowed: SplitHead"),
    "another head that exists": (manifest(head="TwinHead"), "head.both.weight.*is missing or unexpected"),
    "more columns": (manifest(columns=42), "40 item ids.*columns for 41"),
    "a bad setting": (setting(activation="tanhh"), "activation: got 'tanhh'"),
    "a setting from the future": (setting(attention_heads=8), "attention_heads is unknown.*newer"),
    "other widths": (
        setting(mlp_hidden_size=[17]),
        r"encoder.0.weight is .*; the settings require torch.float32 \[41, 17\]",
    ),
    "widths beyond all memory": (setting(mlp_hidden_size=[10**9, 10**9]), "does not match the settings"),
    "widths beyond all numbers": (setting(latent_dimension=2**70), "cannot be read"),
    "weights of another shape": (weights(turned), r"output.weight is torch.float32 \[16, 41\]"),
    "weights of another type": (weights(in_half), "output.weight is torch.float16"),
    "weights that are missing": (
        weights(lambda tensors: tensors.pop("output.bias")),
        "output.bias is missing",
    ),
    "weights that are no numbers": (weights(with_nan), "output.bias contains NaN or infinity"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named(file, damage, message):
    file.write_bytes(damage(parts_of(file)))
    with pytest.raises(BundleError, match=message) as refusal:
        read_bundle(file)
    assert str(refusal.value).startswith(f"{file}: ")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BundleError, match="none.vae: the file does not exist"):
        read_bundle(tmp_path / "none.vae")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(tmp_path)


def test_any_flipped_byte_and_any_cut_is_noticed_or_harmless(file):
    whole, random = file.read_bytes(), np.random.default_rng(0)
    harmless = 0
    for place in random.integers(len(whole), size=400).tolist():
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        for content in (bytes(flipped), whole[:place]):
            file.write_bytes(content)
            try:
                found = read_bundle(file)
            except BundleError:
                continue
            harmless += 1
            assert_equal(found, small_bundle())
    assert harmless < 40, "times and attributes are all that nothing depends on"


class Bomb:
    """Unpickling this writes a file."""

    def __reduce__(self):
        return Path("exploded").write_text, ("boom",)


@pytest.mark.parametrize("part", ["weights.safetensors", "items.json", "manifest.json", "data.pkl", None])
def test_no_smuggled_pickle_is_run(file, part):
    pickled = pickle.dumps(Bomb())
    if part is None:
        torch.save({"network": Bomb()}, file)
    elif part == "data.pkl":
        file.write_bytes(forged(parts_of(file) | {part: pickled}))
    elif part == "manifest.json":
        file.write_bytes(archived(parts_of(file) | {part: pickled}))
    else:
        file.write_bytes(forged(parts_of(file) | {part: pickled}))
    if part == "data.pkl":
        assert_equal(read_bundle(file), small_bundle())
    else:
        with pytest.raises(BundleError):
            read_bundle(file)
    assert not Path("exploded").exists()
    pickle.loads(pickled)
    assert Path("exploded").exists(), "the bomb is a real one"
