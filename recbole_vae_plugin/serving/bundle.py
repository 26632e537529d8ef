"""A trained model as a single file that needs neither RecBole nor the data set, and contains no code.

A bundle is a zip archive without compression:

* ``manifest.json``: format and version, the model's name, head and settings, the number of columns
  of the network, and the size and SHA-256 of the other two members;
* ``weights.safetensors``: the network's state dict;
* ``items.json``: ``ids``, ``popularity`` and ``titles`` (or null), in the order of the columns, which
  begin after RecBole's padding.

Writing is reproducible: the same model results in the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
#: A manifest is about a page of text; a larger one is rejected.
MAX_MANIFEST_BYTES = 2**20


#: The type of a value in the manifest.
T = TypeVar("T")


class BundleError(Refused):
    """A file is not a bundle, is damaged, or is of a newer version."""


@dataclass(frozen=True)
class Bundle:
    """Everything that is needed to serve a trained model.

    Attributes:
        model: the name of the model in RecBole.
        dataset: the name of the data set it was trained on.
        settings: the checked keys that describe the network.
        network: in evaluation mode, on the CPU.
        vocabulary: the items.
    """

    model: str
    dataset: str
    settings: Settings
    network: AutoEncoder
    vocabulary: Vocabulary


def write_bundle(bundle: Bundle, file: Path) -> None:
    """Write a bundle atomically. An existing bundle of the same name is replaced.

    Raises:
        BundleError: the file exists and is something other than a bundle.
    """
    if file.exists() and not is_bundle(file):
        raise BundleError(f"{file}: exists and is not a bundle; remove it or choose another name")
    vocabulary = bundle.vocabulary
    items = {"ids": vocabulary.ids, "popularity": vocabulary.popularity, "titles": vocabulary.titles}
    members = {
        WEIGHTS: safetensors.torch.save(without_shared_memory(bundle.network.state_dict())),
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
        "files": {name: fingerprint(content) for name, content in members.items()},
    }
    with replacing(file) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **members}.items():
            # a bare name would add the current time
            archive.writestr(zipfile.ZipInfo(name), content)


def without_shared_memory(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as safetensors takes them: on the CPU, contiguous, no two in one memory.

    Only the others are copied: a linear branch's matrix may be most of the memory.
    """
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in weights.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if memory in taken else plain
        taken.add(memory)
    return found


def fingerprint(content: bytes) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a member."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def is_bundle(file: Path) -> bool:
    """Whether the file claims to be a bundle, of any version."""
    try:
        with open_archive(file) as archive:
            return read_manifest(archive)["format"] == FORMAT
    except BundleError:
        return False


def read_bundle(file: str | Path) -> Bundle:
    """Read and validate a bundle. Nothing in it is unpickled or executed.

    Raises:
        BundleError: the file is missing, truncated, altered, not a bundle or of a newer version, or its
            members do not match; the message names the file and the problem.
    """
    file = Path(file)
    try:
        with open_archive(file) as archive:
            manifest = read_manifest(archive)
            check_version(manifest)
            weights, items = (read_member(archive, manifest, name) for name in (WEIGHTS, ITEMS))
        return assemble(manifest, weights, items)
    except ValueError as problem:
        raise BundleError(f"{file}: {problem}") from problem


def open_archive(file: Path) -> zipfile.ZipFile:
    """Open the archive of a bundle, and check that its members are uncompressed."""
    try:
        archive = zipfile.ZipFile(file)
    except FileNotFoundError as problem:
        raise BundleError("the file does not exist") from problem
    except OSError as problem:
        raise BundleError(f"cannot be read: {problem.strerror}") from problem
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise BundleError(f"is not a bundle, or is truncated: {problem}") from problem
    names = archive.namelist()
    stored = all(
        member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        for member in archive.infolist()
    )
    if len(set(names)) < len(names) or not stored:
        archive.close()
        raise BundleError("is not a bundle: it has compressed members, or two of the same name")
    return archive


def read_stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member. As it is uncompressed, they cannot exceed the size of the file."""
    try:
        return archive.read(name)
    except KeyError as problem:
        raise BundleError(f"is not a bundle: {name} is missing") from problem
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as problem:
        raise BundleError(f"{name} is damaged: {problem}") from problem


def read_json(content: bytes, name: str) -> dict[str, Any]:
    """Parse a member that consists of one JSON object."""
    try:
        result = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{name} is not JSON: {problem}") from problem
    if not isinstance(result, dict):
        raise BundleError(f"{name} contains a {type(result).__name__} instead of an object")
    return result


def read_manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The manifest of a bundle, of any version."""
    if MANIFEST in archive.namelist() and archive.getinfo(MANIFEST).file_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"is not a bundle: {MANIFEST} has more than {MAX_MANIFEST_BYTES} bytes")
    manifest = read_json(read_stored(archive, MANIFEST), MANIFEST)
    if manifest.get("format") != FORMAT:
        raise BundleError(f"is not a bundle: {MANIFEST} does not say that it is a {FORMAT}")
    return manifest


def check_version(manifest: Mapping[str, Any]) -> None:
    """Reject bundles of newer versions."""
    found = get_entry(manifest, "format_version", int)
    if found > VERSION:
        raise BundleError(
            f"has format version {found}, but this recbole-vae-plugin only reads versions up to {VERSION}; "
            "install a newer release"
        )
    if found < 1:
        raise BundleError(f"format_version: got {found}; allowed: 1 to {VERSION}")


def get_entry(mapping: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A value of the manifest, if it is of the right type."""
    value = mapping.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise BundleError(f"{name}: got {value!r}; allowed: a {kind.__name__}")
    return value


def read_member(archive: zipfile.ZipFile, manifest: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a member, if they match its checksum."""
    expected = get_entry(get_entry(manifest, "files", dict), name, dict)
    content = read_stored(archive, name)
    if fingerprint(content) != expected:
        raise BundleError(f"{name} has been altered: it does not match its checksum")
    return content


def assemble(manifest: Mapping[str, Any], weights: bytes, items: bytes) -> Bundle:
    """Build the bundle from its members, which must match."""
    content = read_json(items, ITEMS)
    if content.keys() != {"ids", "popularity", "titles"}:
        raise BundleError(f"{ITEMS} has the keys {', '.join(content)}; allowed: ids, popularity, titles")
    try:
        vocabulary = Vocabulary(**content)
    except ValueError as problem:
        raise BundleError(f"{ITEMS}: {problem}") from problem
    columns = integer("columns", manifest.get("columns"), 1)
    model = one_of("model", get_entry(manifest, "model", str), MODELS)
    head = one_of("head", get_entry(manifest, "head", str), HEADS)
    settings = settings_of(get_entry(manifest, "settings", dict), head, columns)
    if columns != vocabulary.width:
        raise BundleError(
            f"{ITEMS} has {len(vocabulary)} item ids, but the network has columns for {columns - 1} items"
        )
    return Bundle(
        model=model,
        dataset=get_entry(manifest, "dataset", str),
        settings=settings,
        network=load_network(settings, columns, weights),
        vocabulary=vocabulary,
    )


def settings_of(stored: Mapping[str, Any], head: str, columns: int) -> Settings:
    """The settings in a manifest; keys that are newer than the bundle have their defaults."""
    unknown = sorted(set(stored) - {key.name for key in Settings.every_key(head)})
    if unknown:
        raise BundleError(
            f"settings: {', '.join(unknown)} is unknown to this recbole-vae-plugin; install a newer release"
        )
    return Settings.from_config(stored, head, columns)


def load_network(settings: Settings, columns: int, weights: bytes) -> AutoEncoder:
    """The network with these weights, which must match its settings."""
    try:
        found = safetensors.torch.load(weights)
        # on the meta device, so that no width in a manifest makes this allocate memory
        with torch.device("meta"):
            network = build_network(settings, columns)
        expected = network.state_dict()
    except (SafetensorError, RuntimeError, OverflowError, KeyError, ValueError, TypeError) as problem:
        raise BundleError(f"{WEIGHTS} cannot be read: {problem}") from problem
    if found.keys() != expected.keys():
        names = ", ".join(sorted(found.keys() ^ expected.keys()))
        raise BundleError(f"{WEIGHTS} does not match the settings: {names} is missing or unexpected")
    for name, tensor in expected.items():
        check_tensor(name, found[name], tensor)
    network.load_state_dict(found, assign=True)
    return network.requires_grad_(False).eval()


def check_tensor(name: str, found: Tensor, expected: Tensor) -> None:
    """Check the shape and type of a tensor of weights, and that it is finite."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise BundleError(
            f"{WEIGHTS}: {name} is {found.dtype} {list(found.shape)}; the settings require "
            f"{expected.dtype} {list(expected.shape)}"
        )
    if not torch.isfinite(found).all():
        raise BundleError(f"{WEIGHTS}: {name} contains NaN or infinity; the model's training has diverged")
