"""Strings in config files and on the command line are parsed as literals and never evaluated.

RecBole evaluates every string in a config as Python code: a config file, an experiment or a search space
could run arbitrary code on the machine of anyone who merely checks it.
"""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair


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


@repair("recbole.config.configurator", adds=("eval",), reads={"Config._convert_config_dict": "1a14c8dd"})
def read_config_values_as_literals(patch: Patch, configurator: ModuleType) -> None:
    """RecBole calls ``eval`` on each string in a config dict and on the command line."""
    patch.replace("eval", read_literal)


@repair(
    "recbole.trainer.hyper_tuning", adds=("eval",), reads={"HyperTuning._build_space_from_file": "252f0edd"}
)
def read_choices_as_literals(patch: Patch, hyper_tuning: ModuleType) -> None:
    """RecBole calls ``eval`` on the choices in a hyper.test file."""
    patch.replace("eval", read_literal)


@repair(
    "recbole.model.context_aware_recommender.kd_dagfm",
    adds=("eval",),
    reads={"KD_DAGFM.__init__": "538ddaf6"},
)
def look_teachers_up_by_name(patch: Patch, kd_dagfm: ModuleType) -> None:
    """RecBole calls ``eval`` on the name of the teacher network."""

    def look_up(name: str) -> Any:
        if name not in vars(kd_dagfm):
            raise NameError(f"teacher: got {name!r}; allowed: a class of {kd_dagfm.__name__}")
        return vars(kd_dagfm)[name]

    patch.replace("eval", look_up)
