"""Small bundles of models that were never trained, and forgeries of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import torch

from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import Vocabulary
from recbole_vae_plugin.settings.model_registry import MODELS


def small_bundle(model: str = "VAESplit", items: int = 40, **settings) -> Bundle:
    """A bundle of ``items`` items with the ids i0, i1, ..., the last of them the most popular."""
    keys = {
        "encoder": "mlp",
        "mlp_hidden_size": [16],
        "latent_dimension": 4,
        "decoder_hidden_size": None,
        "activation": "tanh",
        "linear_branch": "none",
    }
    checked = MODELS[model].settings_of(keys | settings, items + 1)
    torch.manual_seed(1)
    network = build_network(checked, items + 1).eval().requires_grad_(False)
    ids = [f"i{item}" for item in range(items)]
    titles = [f"Film {item}" for item in range(items)]
    return Bundle(model, "planted", checked, network, Vocabulary(ids, list(range(items)), titles))


def parts_of(file: Path) -> dict[str, bytes]:
    """Name -> bytes of what a bundle holds."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forged(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A bundle of these parts whose checksums are right."""
    manifest = json.loads(parts["manifest.json"])
    manifest["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in parts.items()
        if name != "manifest.json"
    }
    return archived(parts | {"manifest.json": json.dumps(manifest).encode()}, compression)


def archived(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of these parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()
