"""The key ``tune`` of an experiment and of its methods: the budget of every search, and the spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_vae_plugin.runs.reading import error_context, mapping, refuse_shared_keys
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.validation import integer, number, one_of, refuse
from recbole_vae_plugin.tune.proposal import proposed_parameters, shipped_space
from recbole_vae_plugin.tune.space import Parameter, read_parameters, read_settings

BUDGET = {
    "trials": "how many configurations are tried for each method, its own settings first",
    "hours": "after how many hours of training no further trial of a method is started",
    "warm_up_epochs": "for how many epochs no trial is pruned; by default the most that a space asks for",
    "splits": "each: a search on every split; first: one on the first split, for all",
}
SPLITS = ("each", "first")
#: Of a method: the name of a space, or a mapping of these or of parameters.
SPACE = "the name or path of a search space, a mapping of parameters, or none"
#: Where a method has no search: it was not to be tuned, or its model has no key to tune.
UNTUNED, NOTHING = "none", "nothing to tune"
PROPOSED, INLINE = "proposed", "given in the experiment"
WARM_UP_EPOCHS = 5
#: Keys that are the experiment's, and that no space changes: training takes as long for every method.
LENGTH = ("epochs", "eval_step", "stopping_step")


def read_budget(given: Any) -> dict[str, Any] | None:
    """The experiment's key ``tune``, with all keys of :data:`BUDGET`; ``None`` where nothing is tuned.

    Raises:
        ValueError: names the key, the value and what is allowed.
    """
    if given is None:
        return None
    given = mapping("tune", given, BUDGET)
    trials, hours, warm_up = (given.get(key) for key in ("trials", "hours", "warm_up_epochs"))
    if trials is None and hours is None:
        refuse("tune", given, "trials or hours, or both")
    if hours is not None and number("tune.hours", hours, 0) == 0:
        refuse("tune.hours", hours, "a number above 0")
    return {
        "trials": None if trials is None else integer("tune.trials", trials, 1),
        "hours": None if hours is None else float(hours),
        "warm_up_epochs": None if warm_up is None else integer("tune.warm_up_epochs", warm_up, 0),
        "splits": one_of("tune.splits", given.get("splits", "each"), SPLITS),
    }


@dataclass(frozen=True)
class MethodSpace:
    """What a method is tuned over.

    Attributes:
        source: the name of a space file, or one of :data:`PROPOSED`, :data:`INLINE`, :data:`UNTUNED` and
            :data:`NOTHING`.
        parameters: name -> possible values as in a space file; empty where there is no search.
        trials: a number of its own, or ``None`` for the experiment's.
    """

    source: str
    parameters: dict[str, dict] = field(default_factory=dict)
    trials: int | None = None

    def read_parameters(self) -> tuple[Parameter, ...]:
        """The parameters, for a search."""
        return tuple(Parameter.read(name, values) for name, values in self.parameters.items())


def read_spaces(
    methods: dict[str, dict], given: Mapping[str, Any], settings: dict, folder: Path
) -> tuple[dict[str, dict], int]:
    """The spaces of all methods; fixed settings of a space file that a method names become its own.

    Args:
        methods: label -> keys; modified.
        given: label -> the value of ``tune``, for the methods that have the key.
        settings: keys for all methods.
        folder: what paths are relative to.

    Returns:
        Label -> :class:`MethodSpace` as a dict, and the most epochs that a space has no trial pruned for.

    Raises:
        ValueError: names the method, the key, the value and what is allowed.
    """
    spaces, warm_up = {}, WARM_UP_EPOCHS
    for label, keys in methods.items():
        where = f"methods.{label}.tune"
        value = given.get(label, {})
        if value is None or value is False or str(value).lower() == UNTUNED:
            spaces[label] = asdict(MethodSpace(UNTUNED))
            continue
        options = {"space": value} if isinstance(value, str) else value
        if not isinstance(options, dict):
            refuse(where, value, SPACE)
        options = dict(options)
        trials = options.pop("trials", None)
        trials = None if trials is None else integer(f"{where}.trials", trials, 1)
        name = options.pop("space", None)
        if name is not None and (options or not isinstance(name, str)):
            refuse(where, value, "either space, a name or path, or parameters; and trials")
        if options:
            with error_context(f"methods.{label}"):
                parameters, source, epochs = read_parameters(options, folder), INLINE, 0
        else:
            parameters, source, epochs = _space_of(keys, name, where, settings, folder)
        refuse_shared_keys(where, {each.name: None for each in parameters}, set(LENGTH))
        source = source if parameters else NOTHING
        spaces[label] = asdict(MethodSpace(source, {each.name: each.as_given for each in parameters}, trials))
        warm_up = max(warm_up, epochs)
    return spaces, warm_up


def _space_of(
    keys: dict, name: str | None, where: str, settings: dict, folder: Path
) -> tuple[tuple[Parameter, ...], str, int]:
    """Parameters, source and epochs without pruning of the space that a method names, of the shipped one of
    its model, or of a proposed one."""
    model = str(keys["model"])
    file = shipped_space(model) if name is None else find_config(name, where, ("search",), folder)
    if file is None:
        return proposed_parameters(model, {**settings, **keys}), PROPOSED, 0
    content = read_config_file(file, where)
    parameters = read_parameters(content.get("parameters"), file.resolve().parent)
    if name is not None:
        with error_context(where):
            fixed = read_settings(content, file.resolve().parent)
        if fixed.setdefault("model", model) != model:
            refuse(where, name, f"a space of {model}; this one is of {fixed['model']}")
        names = {each.name for each in parameters}
        for key, value in fixed.items():
            if key not in names and key not in LENGTH:
                keys.setdefault(key, value)
    epochs = integer(f"{where}.warm_up_epochs", content.get("warm_up_epochs", WARM_UP_EPOCHS), 0)
    return parameters, file.stem, epochs
