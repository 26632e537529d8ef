"""The titles of a data set's items, from RecBole's ``.item`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recbole_vae_plugin.settings.validation import refuse

if TYPE_CHECKING:
    from recbole.config import Config

#: A token field whose name contains one of these holds the titles; the first has precedence.
TITLE_WORDS = ("title", "name")


def titles_of(config: Config, names: Sequence[str], field: str | None = None) -> list[str | None] | None:
    """The title of each item; ``None`` if the data set has no titles.

    The file is read here because RecBole does not load it for models of interactions only.

    Args:
        config: RecBole's ``Config``.
        names: original item ids.
        field: the field to read; by default a token field whose name contains "title" or "name".

    Raises:
        ValueError: there is no such field.
    """
    file = Path(config["data_path"], f"{config['dataset']}.item")
    options: dict[str, Any] = {"sep": config["field_separator"], "encoding": config["encoding"], "dtype": str}
    # a title may be "None" or "NA"
    options["keep_default_na"] = False
    header = list(pd.read_csv(file, nrows=0, **options)) if file.is_file() else []
    columns = {column.partition(":")[0]: column for column in header}
    if field is None:
        tokens = [name for name, column in columns.items() if column.partition(":")[2].startswith("token")]
        field = next((name for word in TITLE_WORDS for name in tokens if word in name), None)
    elif field not in columns:
        refuse("--titles", field, ", ".join(columns) or f"nothing, since there is no {file.name}")
    if field is None or config["ITEM_ID_FIELD"] not in columns:
        return None
    id_column, title_column = columns[config["ITEM_ID_FIELD"]], columns[field]
    table = pd.read_csv(file, usecols=[id_column, title_column], **options)
    titles = dict(zip(table[id_column], table[title_column]))
    return [titles.get(name) or None for name in names]
