"""A trained model as one file that needs neither RecBole nor its data set, and holds no code.

A bundle is a zip archive without compression:

* ``manifest.json``: format and version, the model's name, head and settings, the number of the
  network's columns, and the size and SHA-256 of the other two;
* ``weights.safetensors``: the network's state dict;
* ``items.json``: ``ids``, ``popularity`` and ``titles`` (or null), in the order of the columns, which
  begin after RecBole's padding.

The same model makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.nn.heads import HEADS
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.nn.settings import Settings
from recbole_vae_plugin.serving.vocabulary import Vocabulary
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused, integer, one_of
from recbole_vae_plugin.system.atomic import replacing

FORMAT = "recbole-vae bundle"
VERSION = 1
MANIFEST, WEIGHTS, ITEMS = "manifest.json", "weights.safetensors", "items.json"
#: A manifest is a page of text; what is larger is none.
MOST_MANIFEST = 2**20


class BundleError(Refused):
    """A file is no bundle, or a damaged one, or one from a newer version."""


@dataclass(frozen=True)
class Bundle:
    """All that serving a trained model takes.

    Attributes:
        model: its name in RecBole.
        dataset: the name of the data set that it was trained on.
        settings: the checked keys that describe its network.
        network: in evaluation mode, on the CPU.
        vocabulary: its items.
    """

    model: str
    dataset: str
    settings: Settings
    network: AutoEncoder
    vocabulary: Vocabulary


def write_bundle(bundle: Bundle, file: Path) -> None:
    """Write a bundle, whole or not at all. An older bundle of that name is replaced.

    Raises:
        BundleError: something other than a bundle is there.
    """
    if file.exists() and not is_bundle(file):
        raise BundleError(f"{file}: exists and is no bundle; remove it, or choose another name")
    # copies: tensors that share memory would be refused
    weights = {name: tensor.detach().cpu().clone() for name, tensor in bundle.network.state_dict().items()}
    vocabulary = bundle.vocabulary
    items = {"ids": vocabulary.ids, "popularity": vocabulary.popularity, "titles": vocabulary.titles}
    parts = {
        WEIGHTS: safetensors.torch.save({name: tensor.contiguous() for name, tensor in weights.items()}),
        ITEMS: json.dumps(items).encode(),
    }
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": bundle.model,
        "dataset": bundle.dataset,
        "head": bundle.settings.head,
        "settings": bundle.settings.as_dict(),
        "columns": vocabulary.width,
        "files": {name: fingerprint(content) for name, content in parts.items()},
    }
    with replacing(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **parts}.items():
            # without the time of writing, which a bare name would bring in
            archive.writestr(zipfile.ZipInfo(name), content)


def fingerprint(content: bytes) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a part."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def is_bundle(file: Path) -> bool:
    """Whether the file says of itself that it is a bundle, of whatever version."""
    try:
        with open_archive(file) as archive:
            return read_manifest(archive)["format"] == FORMAT
    except BundleError:
        return False


def read_bundle(file: str | Path) -> Bundle:
    """Read and check a bundle. Nothing in it is unpickled or run.

    Raises:
        BundleError: the file is missing, truncated, altered, of another kind or of a newer version, or
            its parts do not fit one another; the message names the file and what is wrong.
    """
    file = Path(file)
    try:
        with open_archive(file) as archive:
            manifest = read_manifest(archive)
            check_version(manifest)
            weights, items = (read_part(archive, manifest, name) for name in (WEIGHTS, ITEMS))
        return assemble(manifest, weights, items)
    except ValueError as problem:
        raise BundleError(f"{file}: {problem}") from problem


def open_archive(file: Path) -> zipfile.ZipFile:
    """Open a bundle's archive, whose parts are as large as they say."""
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError as problem:
        raise BundleError("there is no such file") from problem
    except OSError as problem:
        raise BundleError(f"cannot be read: {problem.strerror}") from problem
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise BundleError(f"is no bundle, or only a part of one: {problem}") from problem
    names = archive.namelist()
    stored = all(
        part.compress_type == zipfile.ZIP_STORED and part.compress_size == part.file_size
        for part in archive.infolist()
    )
    if len(set(names)) < len(names) or not stored:
        archive.close()
        raise BundleError("is no bundle: it has compressed parts, or two of one name")
    return archive


def read_stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a part. Without compression they are no more than the file holds."""
    try:
        return archive.read(name)
    except KeyError as problem:
        raise BundleError(f"is no bundle: {name} is missing") from problem
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as problem:
        raise BundleError(f"{name} is damaged: {problem}") from problem


def read_json(content: bytes, name: str) -> dict[str, Any]:
    """A part that is one JSON object."""
    try:
        result = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{name} is no JSON: {problem}") from problem
    if not isinstance(result, dict):
        raise BundleError(f"{name} holds a {type(result).__name__}, and not an object")
    return result


def read_manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest of some kind of bundle."""
    if MANIFEST in archive.namelist() and archive.getinfo(MANIFEST).file_size > MOST_MANIFEST:
        raise BundleError(f"is no bundle: {MANIFEST} has more than {MOST_MANIFEST} bytes")
    manifest = read_json(read_stored(archive, MANIFEST), MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BundleError(f"is no bundle: {MANIFEST} does not say that it is a {FORMAT}")
    return manifest


def check_version(manifest: Mapping[str, Any]) -> None:
    """Refuse a bundle of a version that is not known yet."""
    found = entry(manifest, "format_version", int)
    if found > VERSION:
        raise BundleError(
            f"has format version {found}, and this recbole-vae-plugin reads {VERSION} at most; "
            "install a newer one"
        )
    if found < 1:
        raise BundleError(f"format_version: got {found}; allowed: 1 to {VERSION}")


def entry(mapping: Mapping[str, Any], name: str, kind: type) -> Any:
    """A value of the manifest that is of the right kind."""
    value = mapping.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BundleError(f"{name}: got {value!r}; allowed: a {kind.__name__}")
    return value


def read_part(archive: zipfile.ZipFile, manifest: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a part that are those that were written."""
    expected = entry(entry(manifest, "files", dict), name, dict)
    content = read_stored(archive, name)
    if fingerprint(content) != expected:
        raise BundleError(f"{name} has been altered: it is not what the checksum says")
    return content


def assemble(manifest: Mapping[str, Any], weights: bytes, items: bytes) -> Bundle:
    """Put the parts together, which must fit."""
    content = read_json(items, ITEMS)
    if content.keys() != {"ids", "popularity", "titles"}:
        raise BundleError(f"{ITEMS} has the keys {', '.join(content)}; allowed: ids, popularity, titles")
    try:
        vocabulary = Vocabulary(**content)
    except ValueError as problem:
        raise BundleError(f"{ITEMS}: {problem}") from problem
    columns = integer("columns", manifest.get("columns"), 1)
    model = one_of("model", entry(manifest, "model", str), MODELS)
    head = one_of("head", entry(manifest, "head", str), HEADS)
    settings = settings_of(entry(manifest, "settings", dict), head, columns)
    if columns != vocabulary.width:
        raise BundleError(
            f"{ITEMS} has {len(vocabulary)} item ids, and the network has columns for "
            f"{columns - 1}; both must be the same"
        )
    return Bundle(
        model=model,
        dataset=entry(manifest, "dataset", str),
        settings=settings,
        network=load(settings, columns, weights),
        vocabulary=vocabulary,
    )


def settings_of(stored: Mapping[str, Any], head: str, columns: int) -> Settings:
    """The settings in a manifest; keys that are younger than the bundle have their default."""
    unknown = sorted(set(stored) - {key.name for key in Settings.every_key(head)})
    if unknown:
        raise BundleError(
            f"settings: {', '.join(unknown)} is not known to this recbole-vae-plugin; install a newer one"
        )
    return Settings.from_config(stored, head, columns)


def load(settings: Settings, columns: int, weights: bytes) -> AutoEncoder:
    """The network with these weights, which must be those that its settings ask for."""
    try:
        found = safetensors.torch.load(weights)
        # nothing is allocated yet, however large the widths that a manifest may name
        with torch.device("meta"):
            network = build_network(settings, columns)
        expected = network.state_dict()
    except (SafetensorError, RuntimeError, OverflowError, KeyError, ValueError, TypeError) as problem:
        raise BundleError(f"{WEIGHTS} cannot be read: {problem}") from problem
    if found.keys() != expected.keys():
        names = ", ".join(sorted(found.keys() ^ expected.keys()))
        raise BundleError(f"{WEIGHTS} does not fit the settings: {names} is missing or too much")
    for name, tensor in expected.items():
        check_tensor(name, found[name], tensor)
    network.load_state_dict(found, assign=True)
    return network.requires_grad_(False).eval()


def check_tensor(name: str, found: Tensor, expected: Tensor) -> None:
    """Refuse weights of another shape or type, or that are no numbers."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise BundleError(
            f"{WEIGHTS}: {name} is {found.dtype} {list(found.shape)}; the settings ask for "
            f"{expected.dtype} {list(expected.shape)}"
        )
    if not torch.isfinite(found).all():
        raise BundleError(f"{WEIGHTS}: {name} holds NaN or infinity; the model's training went wrong")
