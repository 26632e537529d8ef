"""A bundle as an ONNX model, which other languages can run.

Input ``histories``, float32 ``[B, n_items]``: column j is the bundle's j-th item, and every entry other
than 0 means that the user has it. Output ``scores``, float32 ``[B, n_items]``: items that a user has are
scored like any other, and leaving them out is up to the caller. The ids of the items are in the
model's metadata, under ``item_ids``, as a list in JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_vae_plugin.nn.autoencoder import AutoEncoder
from recbole_vae_plugin.serving.bundle import Bundle
from recbole_vae_plugin.serving.vocabulary import FIRST
from recbole_vae_plugin.settings.validation import refuse
from recbole_vae_plugin.system.atomic import replacing

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
#: The largest difference to torch's scores, as a share of the largest score.
TOLERANCE = 1e-4
#: One file of ONNX's holds no more.
MOST_BYTES = 2**31


class ExportError(RuntimeError):
    """The exported model does not compute what it should."""


class DenseRows:
    """Histories as a dense tensor, in the place of sparse rows.

    What noise does to rows while scoring is to normalise them; the encoder's first layer reads dense
    rows, too.

    Args:
        dense: float32 ``[B, n_items]`` of zeros and ones.
    """

    def __init__(self, dense: Tensor):
        self.dense = dense

    def to_dense(self) -> Tensor:
        return self.dense

    def l2_normalised(self) -> Tensor:
        return F.normalize(self.dense)

    def __matmul__(self, weight: Tensor) -> Tensor:
        return self.dense @ weight


class DenseScores(nn.Module):
    """The network, its own weights included, from and to dense arrays of the real items."""

    def __init__(self, network: AutoEncoder):
        super().__init__()
        self.network = network

    def forward(self, histories: Tensor) -> Tensor:
        """``[B, n_items]`` to ``[B, n_items]``."""
        entries = F.pad(histories.ne(0).to(torch.float32), (FIRST, 0))
        scores, _ = self.network(DenseRows(entries))
        return scores[:, FIRST:]


def export_onnx(bundle: Bundle, file: Path) -> float:
    """Write the model as ONNX, once onnxruntime has given the scores that torch gives.

    Args:
        bundle: of any model.
        file: its name ends in ``.onnx``; it is written whole or not at all.

    Returns:
        The largest difference of a score to torch's.

    Raises:
        ImportError: packages are missing; the message says how to get them.
        ValueError: ``file`` has another ending, or the weights are too large for one file.
        ExportError: the scores differ.
    """
    if file.suffix != ".onnx":
        refuse("the ONNX file", str(file), "a name that ends in .onnx")
    size = sum(tensor.nbytes for tensor in bundle.network.state_dict().values())
    if size >= MOST_BYTES:
        refuse(
            "the ONNX file", f"weights of {size} bytes", f"less than {MOST_BYTES} bytes, all that one holds"
        )
    check_packages()
    model = DenseScores(bundle.network).eval()
    with replacing(file) as partial:
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
        program.model.metadata_props["item_ids"] = json.dumps(bundle.vocabulary.ids)
        program.save(partial)
        return largest_difference(model, partial, bundle)


def check_packages() -> None:
    """Raise an ImportError that says what to install."""
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
def quiet():
    """torch's exporter talks about its own operators."""
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
    """Random histories of up to 50 items, the first of them empty: float32 ``[users, n_items]``."""
    random = np.random.default_rng(0)
    items = len(bundle.vocabulary)
    result = torch.zeros(users, items)
    for user in range(1, users):
        result[user, random.choice(items, size=min(50, items), replace=True)] = 1
    return result


def largest_difference(model: DenseScores, file: Path, bundle: Bundle) -> float:
    """Compare onnxruntime's scores with torch's, for one user and for several.

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
        (found,) = session.run(["scores"], {"histories": histories.numpy()})
        difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
        if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ExportError(f"onnxruntime's scores of {users} users differ from torch's by {difference:g}")
        largest = max(largest, difference)
    return largest
