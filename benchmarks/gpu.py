"""Training on a GPU: users/s on MovieLens-20M's shape, how near that is to what the device can do,
and the largest catalogue that fits.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --shape 2000 1000 50000 --batches 100 500    to try it out

Multi-VAE with one hidden layer of 600 and a code of 200, Adam, mixed precision where the device
computes in bfloat16. Bytes and operations are the least that an exact step must move and do.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from shapes import SHAPES, draw

from recbole_vae_plugin.nn.interactions import Interactions
from recbole_vae_plugin.nn.kl import kl_divergence
from recbole_vae_plugin.nn.likelihoods import multinomial, reconstruction_loss
from recbole_vae_plugin.nn.network import build_network
from recbole_vae_plugin.nn.settings import Settings

HIDDEN, CODE = 600, 200


def seconds(action, device: torch.device, times: int) -> float:
    """Median seconds of an action, the device's queue emptied before and after."""

    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize()

    found = []
    for _ in range(times + 1):
        wait()
        begin = perf_counter()
        action()
        wait()
        found.append(perf_counter() - begin)
    return median(found[1:])


def copy_bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a copy of a large array."""
    source = torch.zeros(2**28 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device, 10)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square product."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: left @ right, device, 10)


class Step:
    """One optimiser step of Multi-VAE on a batch of users."""

    def __init__(self, interactions: Interactions, device: torch.device, dtype: torch.dtype):
        sizes = {"mlp_hidden_size": [HIDDEN], "latent_dimension": CODE}
        settings = Settings.from_config(sizes, "SplitHead")
        self.interactions, self.device, self.dtype = interactions, device, dtype
        with device:
            self.network = build_network(settings, interactions.n_items)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3, fused=True)

    def __call__(self, users: torch.Tensor) -> None:
        rows = self.interactions.rows(users)
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            posterior = self.network.encode(rows)
            hidden, output = self.network.decode(self.network.latent(posterior)), self.network.output
            loss = reconstruction_loss(hidden, output.weight, output.bias, rows, multinomial)
            loss = loss + 0.2 * kl_divergence(*posterior).mean()
        loss.backward()
        self.optimizer.step()

    def least_operations(self, users: int) -> int:
        """Of the output layer's three products; the other layers are small beside them."""
        return 3 * 2 * users * self.interactions.n_items * HIDDEN

    def least_bytes(self, users: int) -> int:
        """Adam reads four and writes three numbers a weight; scores are written and read once,
        their gradient written once and read by two products."""
        weights = sum(parameter.numel() for parameter in self.network.parameters())
        scores = users * self.interactions.n_items
        return 7 * 4 * weights + 5 * scores * self.dtype.itemsize


def throughput(interactions: Interactions, batch: int, device, dtype, peaks) -> dict:
    """Users a second, and the shares of the device's bandwidth and matrix rate that this takes."""
    step = Step(interactions, device, dtype)
    users = torch.randint(len(interactions.offsets) - 1, (batch,), device=device)
    spent = seconds(lambda: step(users), device, 10)
    bandwidth, rate = peaks
    return {
        "batch": batch,
        "ms a step": 1e3 * spent,
        "users/s": batch / spent,
        "of copy bandwidth": step.least_bytes(batch) / spent / bandwidth,
        "of matrix rate": step.least_operations(batch) / spent / rate,
    }


def fits(items: int, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a step of 500 users with 50 items each can be trained with so many items."""
    random = torch.Generator().manual_seed(0)
    try:
        users = torch.arange(500).repeat_interleave(50)
        chosen = torch.randint(items, (len(users),), generator=random)
        Step(Interactions(users, chosen, 500, items).to(device), device, dtype)(
            torch.arange(500, device=device)
        )
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def largest_catalogue(device: torch.device, dtype: torch.dtype, most: int = 2**27) -> int:
    """The most items that fit, to within a twentieth; ``most`` at most."""
    low, high = 0, 2**16
    while high < most and fits(high, device, dtype):
        low, high = high, 2 * high
    while high - low > high // 20:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle, device, dtype) else (low, middle)
    return low


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu")
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=SHAPES["ml-20m-shape"],
        metavar=("USERS", "ITEMS", "INTERACTIONS"),
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[500, 2000, 8000, 32000])
    parser.add_argument("--json", type=Path, help="write all figures to this file too")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing measured (--device cpu tries the benchmark out)")
        return
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported(False) else torch.float32
    machine = torch.cuda.get_device_name(device) if on_gpu else platform.machine()
    peaks = copy_bandwidth(device), matrix_rate(device, dtype)
    print(f"{machine}, torch {version('torch')}, {dtype}")
    print(f"copy {peaks[0] / 1e9:.0f} GB/s, matrix products {peaks[1] / 1e12:.2f} TFLOP/s\n")

    users, items, interactions = options.shape
    pairs = (torch.from_numpy(ids) for ids in draw(users, items, interactions))
    histories = Interactions(*pairs, users, items).to(device)
    results = [throughput(histories, batch, device, dtype, peaks) for batch in options.batches]
    print(f"| {' | '.join(results[0])} |\n|{'---|' * len(results[0])}")
    for result in results:
        batch, spent, speed, *shares = result.values()
        print(f"| {batch} | {spent:.2f} | {speed:,.0f} | {' | '.join(f'{share:.0%}' for share in shares)} |")
    largest = largest_catalogue(device, dtype) if on_gpu else None
    if largest:
        print(f"\nlargest catalogue, batches of 500 users: {largest:,} items")
    if options.json:
        everything = {"machine": machine, "peaks": peaks, "steps": results, "largest catalogue": largest}
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
