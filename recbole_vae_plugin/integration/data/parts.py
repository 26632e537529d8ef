"""The parts of a split that a run evaluates: there, or left out by the settings and not for want of data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from recbole_vae_plugin.integration.config.checks import EVALUATED_PARTS, left_out, parts_read
from recbole_vae_plugin.integration.patching.patch import Patch
from recbole_vae_plugin.integration.patching.registry import repair
from recbole_vae_plugin.settings.validation import refuse

#: What a run does without a part of the split.
WITHOUT = {
    "valid": "early stopping is off, and the weights of the last epoch are kept",
    "test": "there is no test result",
}


def refuse_empty_parts(config: Mapping[str, Any], valid: Any, test: Any) -> None:
    """Refuse a split of which a part that was asked for came out empty.

    Args:
        valid, test: these parts, as RecBole's data sets.

    Raises:
        Refused: names the key, the value and what is allowed.
    """
    data = {"valid": valid, "test": test}
    for part in parts_read(config):
        if len(data[part].inter_feat) or left_out(config, part):
            continue
        word = EVALUATED_PARTS[part][0]
        if files := config["benchmark_filename"]:
            refuse("benchmark_filename", files, f"a {word} file with interactions that no filter drops")
        split = config["eval_args"]["split"]
        refuse("eval_args.split", split, f"a split whose {word} part is not empty: there is too little data")


@repair(
    "recbole.data.utils",
    replaces={"data_preparation": "1a72de92"},
    after=("refuse_lists_longer_than_the_catalogue",),
)
def refuse_parts_that_came_out_empty(patch: Patch, data_utils: ModuleType) -> None:
    """If there is too little data for a validation part, RecBole trains without early stopping, and if there
    is too little for a test part, the result is None, both without a warning."""

    @patch.wrap("data_preparation")
    def prepare_what_was_asked_for(data_preparation: Callable, config: Any, dataset: Any) -> tuple:
        train, valid, test = data_preparation(config, dataset)
        refuse_empty_parts(config, valid.dataset, test.dataset)
        for part in parts_read(config):
            if setting := left_out(config, part):
                (key, value), word = setting, EVALUATED_PARTS[part][0]
                logging.getLogger().warning(f"{key}: {value} leaves no {word} part: {WITHOUT[part]}")
        return train, valid, test
