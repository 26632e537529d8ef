"""Results in one folder are those of one data set: whether its files are what they were when it was begun."""

from __future__ import annotations

from recbole_vae_plugin.runs.run import Run
from recbole_vae_plugin.settings.validation import Refused

#: Characters of a hash in messages: the name of the algorithm, and enough to tell two apart.
SHOWN = 19


def refuse_changed_data(run: Run, known: str | None, folder: object) -> str | None:
    """Refuse data that has changed since a result was found.

    Args:
        run: any on that data.
        known: the hash of the data then; ``None`` for results of versions that did not record it.
        folder: of the results, for the message.

    Returns:
        The hash of the data now; ``None`` if its files are not on this machine.

    Raises:
        Refused: names the data set, its files and the folder.
    """
    from recbole_vae_plugin.integration.config.data_files import hash_of_data, names_of
    from recbole_vae_plugin.integration.training.quick_start import config_of

    config = config_of(run.settings)
    found = hash_of_data(config)
    if known is not None and found is not None and found != known:
        raise Refused(
            f"results: {folder} has results on the data set {run.dataset} whose files have changed since: "
            f"{names_of(config)} had {known[:SHOWN]}... and has {found[:SHOWN]}... now. Restore the data, or "
            "give another folder with --results"
        )
    return found
