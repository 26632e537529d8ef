"""A comparison does not go on with other data than it has begun with."""

from __future__ import annotations

from recbole_vae_plugin.compare.results import RUNS
from recbole_vae_plugin.compare.runner import Plan
from recbole_vae_plugin.runs.changed_data import refuse_changed_data
from recbole_vae_plugin.runs.files import load_result_if_whole


def check_data_unchanged(plan: Plan) -> None:
    """Refuse a folder in which a data set has changed since one of its results was found.

    Raises:
        Refused: names the data set, its files and the folder.
    """
    checked: set[tuple[str, str]] = set()
    for run in plan.done:
        result = load_result_if_whole(plan.folder / RUNS / run.folder)
        known = result.get("data_hash") if result else None
        if known is not None and (run.dataset, known) not in checked:
            refuse_changed_data(run, known, plan.folder)
            checked.add((run.dataset, known))
