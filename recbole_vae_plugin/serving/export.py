"""Export of a bundle as an ONNX model, for other languages.

Input ``histories``, float32 ``[B, n_items]``: column j is the bundle's j-th item, and nonzero entries mark
the items in a user's history. Output ``scores``, float32 ``[B, n_items]``: items in the history are scored
like any other; masking them is up to the caller. The item ids are in the model's metadata, under
``item_ids``, as a JSON list.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import FIRST_COLUMN
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import replacing

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: The maximum difference from torch's scores, relative to the largest score.
TOLERANCE = 1e-4
#: The maximum size of an ONNX file.
MAX_BYTES = 2**31


class ExportError(RuntimeError):
    """The scores of the exported model are wrong."""


class DenseRows:
    """Histories as a dense tensor, in place of :class:`~recbole_vae_plugin.nn.interactions.Rows`.

    Implements :class:`~recbole_vae_plugin.nn.interactions.Batch`, which is all that scoring needs.

    Args:
        dense: float32 ``[B, n_items]`` of zeros and ones.
    """

    def __init__(self, dense: Tensor) -> None:
        self.dense = dense

    def to_dense(self) -> Tensor:
        return self.dense

    def l2_normalised(self) -> Tensor:
        return F.normalize(self.dense)

    def __matmul__(self, weight: Tensor) -> Tensor:
        return self.dense @ weight


class DenseScores(nn.Module):
    """The network with dense inputs and outputs, without RecBole's padding item."""

    def __init__(self, network: AutoEncoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, histories: Tensor) -> Tensor:
        """Maps histories ``[B, n_items]`` to scores ``[B, n_items]``."""
        entries = F.pad(histories.ne(0).to(torch.float32), (FIRST_COLUMN, 0))
        scores, _ = self.network(DenseRows(entries))
        return scores[:, FIRST_COLUMN:]


def export_onnx(bundle: Bundle, file: Path) -> float:
    """Export a model as ONNX, and verify onnxruntime's scores against torch's.

    Args:
        bundle: a bundle of any model.
        file: must have the suffix ``.onnx``; it is written atomically, and only if the scores agree.

    Returns:
        The largest difference between the scores of onnxruntime and torch.

    Raises:
        ImportError: packages are missing; the message says how to install them.
        ValueError: ``file`` has another suffix, or the weights are too large for an ONNX file.
        ExportError: the scores differ.
    """
    if file.suffix != ".onnx":
        refuse("the ONNX file", str(file), "a name that ends in .onnx")
    size = sum(tensor.nbytes for tensor in bundle.network.state_dict().values())
    if size >= MAX_BYTES:
        refuse(
            "the ONNX file",
            f"weights of {size} bytes",
            f"less than {MAX_BYTES} bytes, the limit of the format",
        )
    check_packages()
    model = DenseScores(bundle.network).eval()
    with replacing(file) as partial, exportable(bundle.network):
        with quiet():
            program = torch.onnx.export(
                model,
                (example(bundle, users=2),),
                input_names=["histories"],
                output_names=["scores"],
                dynamic_shapes={"histories": {0: torch.export.Dim("users")}},
                dynamo=True,
                verbose=False,
            )
        if program is None:
            raise ExportError("torch's exporter has not returned a program")
        program.model.metadata_props["item_ids"] = json.dumps(bundle.vocabulary.ids)
        program.save(partial)
        return largest_difference(model, partial, bundle)


@contextlib.contextmanager
def exportable(network: AutoEncoder) -> Iterator[None]:
    """Return a context manager in which the linear branch is replaced by its form for export."""
    linear = network.linear
    network.linear = None if linear is None else linear.for_export()
    try:
        yield
    finally:
        network.linear = linear


def check_packages() -> None:
    """Check that the packages for the export are installed.

    Raises:
        ImportError: some are not; the message says how to install them.
    """
    missing = []
    for name in PACKAGES:
        try:
            import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ImportError(
            f'the export to ONNX needs {", ".join(missing)}: pip install "recbole-vae-plugin[onnx]"'
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the messages of torch's exporter about its own operators."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def example(bundle: Bundle, users: int) -> Tensor:
    """Random histories of up to 50 items, of which the first is empty: float32 ``[users, n_items]``."""
    random = np.random.default_rng(0)
    items = len(bundle.vocabulary)
    result = torch.zeros(users, items)
    for user in range(1, users):
        result[user, random.choice(items, size=min(50, items), replace=True)] = 1
    return result


def largest_difference(model: DenseScores, file: Path, bundle: Bundle) -> float:
    """Compare the scores of onnxruntime and torch, for batches of several sizes.

    Raises:
        ExportError: they differ.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    largest = 0.0
    for users in (1, 2, 20):
        histories = example(bundle, users + 1)[1:]
        with torch.inference_mode():
            expected = model(histories).numpy()
        found = np.asarray(session.run(["scores"], {"histories": histories.numpy()})[0])
        difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(f"onnxruntime's scores of {users} users differ from torch's by {difference:g}")
        largest = max(largest, difference)
    return largest
