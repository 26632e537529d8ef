"""A package of somebody else's: two components modules' worth of code, installed as pip installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "outside"
version = "1.0"

[project.entry-points."recbole_vae_plugin.components"]
outside = "outside.components"

[project.entry-points."recbole_vae_plugin.models"]
VAENarrow = "outside.models:VAENarrow"
"""

COMPONENTS = '''
from dataclasses import dataclass

import torch
from torch import nn

from recbole_vae_plugin import (
    Number, Posterior, register_denoising, register_head, register_likelihood, setting,
)


@register_head()
class NarrowHead(nn.Module):
    """A split head whose variances stay below exp(logvar_cap)."""

    @dataclass(frozen=True)
    class Settings:
        logvar_cap: float = setting(1.0, Number(-20, below=20), "The largest log-variance.")

    def __init__(self, in_features, latent_dimension, activation, layer, logvar_cap):
        super().__init__()
        self.both, self.logvar_cap = layer(in_features, 2 * latent_dimension), logvar_cap

    def forward(self, hidden):
        mu, logvar = self.both(hidden).chunk(2, dim=-1)
        return Posterior(mu, logvar.clamp(max=self.logvar_cap))


@register_denoising("blackout")
class Blackout(nn.Module):
    """Whole histories are dropped."""

    @dataclass(frozen=True)
    class Settings:
        blackout_prob: float = setting(0.1, Number(0, below=1), "How often a history is dropped.")

    def __init__(self, blackout_prob: float):
        super().__init__()
        self.blackout_prob = blackout_prob

    def forward(self, rows):
        rows = rows.l2_normalised()
        if not self.training:
            return rows
        kept = torch.rand(len(rows), device=rows.values.device) >= self.blackout_prob
        return rows.with_values(rows.values * kept[rows.row_index]).without_zeros()


@register_likelihood("Poisson")
def poisson(scores, counts):
    """Independent Poisson variables with log-rates s."""
    rates = scores.exp_()
    return rates.sum(-1), rates
'''

MODELS = '''
from outside.components import NarrowHead

from recbole_vae_plugin import VariationalRecommender


class VAENarrow(VariationalRecommender):
    """A VAE whose variances are bounded."""

    head = NarrowHead
'''

TESTS = """
from recbole_vae_plugin.testing.contract import VariationalContract


class TestVAENarrow(VariationalContract):
    model = "VAENarrow"
    variants = {"with blackout": {"denoising": "blackout", "loss_type": "Poisson"}}
    bad_values = [("logvar_cap", 30), ("blackout_prob", 1.0)]
"""

FILES = {
    "pyproject.toml": PYPROJECT,
    "outside/__init__.py": "",
    "outside/components.py": COMPONENTS,
    "outside/models.py": MODELS,
    "tests/conftest.py": 'pytest_plugins = ["recbole_vae_plugin.testing.fixtures"]\n',
    "tests/test_outside.py": TESTS,
}


def install(folder: Path) -> Path:
    """Write the package, and install it; returns the folder that must be on the path."""
    for name, text in FILES.items():
        file = folder / "outside-1.0" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    site = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(site), str(folder / "outside-1.0")], check=True)
    return site
