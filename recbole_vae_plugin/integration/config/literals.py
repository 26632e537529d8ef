"""Strings from files and the command line are read as literals and never evaluated.

RecBole evaluates every string of a config as Python code, so that whoever writes a config file, an
experiment or a search space could run anything on the machine of whoever checks it.
"""

from __future__ import annotations

import ast
from typing import Any

from recbole_vae_plugin.integration.patching import patch_of


def read_literal(text: Any) -> Any:
    """The Python literal that a string spells: a number, a quoted string, a list, ``None``, ...

    Raises:
        NameError: it is not a literal; RecBole expects this error for unknown names.
        TypeError: it is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is not a string")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as problem:
        raise NameError(f"{text!r} is not a literal") from problem


@patch_of("recbole.config.configurator")
def config_values_are_literals(configurator) -> None:
    """RecBole evaluates each string in a config dict and on the command line."""
    configurator.eval = read_literal


@patch_of("recbole.trainer.hyper_tuning")
def choices_are_literals(hyper_tuning) -> None:
    """RecBole evaluates the choices in a hyper.test file."""
    hyper_tuning.eval = read_literal


@patch_of("recbole.model.context_aware_recommender.kd_dagfm")
def teachers_are_names(kd_dagfm) -> None:
    """RecBole evaluates the name of the teacher network."""

    def class_of_that_name(name: str) -> Any:
        if name not in vars(kd_dagfm):
            raise NameError(f"teacher: got {name!r}; allowed: a class of {kd_dagfm.__name__}")
        return vars(kd_dagfm)[name]

    kd_dagfm.eval = class_of_that_name
