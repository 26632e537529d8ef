"""A comparison does not go on with other data than it has begun with."""

from __future__ import annotations

from recbole_vae_plugin.compare.results import RUNS
from recbole_vae_plugin.compare.runner import Plan
from recbole_vae_plugin.runs.changed_data import refuse_changed_data
from recbole_vae_plugin.runs.files import load_result_if_whole


def check_data_unchanged(plan: Plan) -> None:
    """Refuse a folder in which a data set has changed since a search or a run on it.

    Raises:
        Refused: names the data set, its files and the folder.
    """
    known = {(search.dataset, record.get("data_hash")) for search, record in plan.records.items()}
    for run in plan.done:
        if result := load_result_if_whole(plan.folder / RUNS / run.folder):
            known.add((run.dataset, result.get("data_hash")))
    any_run = {run.dataset: run for run in plan.experiment.runs()}
    for dataset, data_hash in known:
        if data_hash is not None:
            refuse_changed_data(any_run[dataset], data_hash, plan.folder)
