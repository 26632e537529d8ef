"""A search space for a model that none is shipped for, proposed from the names of its keys.

A range lies around the model's default where the name alone does not say what is usual; docs/tuning.md has
the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recbole_vae_plugin.integration.config.keys import default_values, is_trained_by_gradient
from recbole_vae_plugin.settings.config_files import shipped_files
from recbole_vae_plugin.tune.space import Parameter

#: Proposes the values of a key, as a space file has them, from its default; ``None`` if it cannot.
Rule = Callable[[Any], Any]


def always(**values: Any) -> Rule:
    """The same range whatever the default is."""
    return lambda default: values


def width(default: Any) -> list | None:
    """Half, once and twice the width of a layer, or of each of several."""
    widths = default if isinstance(default, list) else [default]
    if not widths or not all(isinstance(each, int) and each > 1 for each in widths):
        return None
    scaled = [[each // 2 for each in widths], widths, [2 * each for each in widths]]
    return scaled if isinstance(default, list) else [each for (each,) in scaled]


def penalty(default: Any) -> dict | None:
    """From a hundredth to a hundred times the weight of a term of the loss; if that is 0, what is usual."""
    if isinstance(default, bool) or not isinstance(default, (int, float)) or default < 0:
        return None
    # rounded: a hundredth of 1e-5 is not 1e-7
    ends = [float(f"{end:.6g}") for end in (default / 100, default * 100)]
    return {"loguniform": ends if default else [1e-7, 1e-2]}


FRACTION = always(uniform=[0.0, 0.8])
RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "embedding_size",
            "mf_embedding_size",
            "mlp_embedding_size",
            "latent_dimension",
            "hidden_dimension",
            "mlp_hidden_size",
            "encoder_hidden_size",
            "hidden_size_list",
        ),
        width,
    ),
    **dict.fromkeys(
        (
            "reg_weight",
            "reg_weight_1",
            "reg_weight_2",
            "cor_weight",
            "ssl_weight",
            "ssl_reg",
            "proto_reg",
            "lambda1",
            "lambda2",
        ),
        penalty,
    ),
    **dict.fromkeys(
        ("dropout_prob", "dropout", "node_dropout", "message_dropout", "drop_ratio", "corruption_ratio"),
        FRACTION,
    ),
    "n_layers": always(integer=[1, 4]),
    "k": always(logint=[10, 500]),
    "shrink": always(uniform=[0.0, 100.0]),
    "anneal_cap": always(loguniform=[0.001, 1.0]),
}
#: Keys that mean something else in a model: here the number of iterations.
EXCEPTIONS = {("ADMMSLIM", "k")}
LEARNING_RATE = always(loguniform=[0.0001, 0.01])


def shipped_space(model: str) -> Path | None:
    """The shipped space file that is called after a model; ``None`` without one."""
    files = shipped_files(("search",))
    return next((file for file in files if file.stem.replace("-", "") == model.lower()), None)


def proposed_parameters(model: str, settings: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Parameters for the keys of a model that :data:`RULES` knows; empty if there are none.

    Args:
        settings: given keys, which take the place of the model's defaults.
    """
    values = {**default_values(model), **settings}
    found = {"learning_rate": LEARNING_RATE(None)} if is_trained_by_gradient(model) else {}
    for key in default_values(model):
        rule = None if (model, key) in EXCEPTIONS else RULES.get(key)
        proposal = rule(values[key]) if rule else None
        if proposal is not None:
            found[key] = proposal
    return tuple(Parameter.read(key, proposal) for key, proposal in found.items())
