"""What the items of a data set are called, from RecBole's ``.item`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config

#: A field of text whose name holds one of these says what an item is called; the first wins.
TELLING = ("title", "name")


def titles_of(config: Config, names: Sequence[str], field: str | None = None) -> list[str | None] | None:
    """The title of each item, or ``None`` where the data set tells none.

    The file is read beside the data set, since a model of interactions does not load it.

    Args:
        config: RecBole's ``Config``.
        names: original item ids.
        field: the field to read; ``None`` looks for one of text that is called a title or a name.

    Raises:
        ValueError: there is no such field.
    """
    file = Path(config["data_path"], f"{config['dataset']}.item")
    options = {"sep": config["field_separator"], "encoding": config["encoding"], "dtype": str}
    # an item may be called None or NA
    options["keep_default_na"] = False
    header = list(pd.read_csv(file, nrows=0, **options)) if file.is_file() else []
    columns = {column.partition(":")[0]: column for column in header}
    if field is None:
        text = [name for name, column in columns.items() if column.partition(":")[2].startswith("token")]
        telling = [name for part in TELLING for name in text if part in name]
        field = next(iter(telling), None)
    elif field not in columns:
        refuse("--titles", field, ", ".join(columns) or f"nothing, since there is no {file.name}")
    if field is None or config["ITEM_ID_FIELD"] not in columns:
        return None
    wanted = [columns[config["ITEM_ID_FIELD"]], columns[field]]
    table = pd.read_csv(file, usecols=wanted, **options)
    titles = dict(zip(table[wanted[0]], table[wanted[1]]))
    return [titles.get(name) or None for name in names]
