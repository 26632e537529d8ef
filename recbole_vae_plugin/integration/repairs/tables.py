"""Tables whose columns take ``agg(len)`` as pandas 2 did: the length of each cell."""

from __future__ import annotations

from typing import Any

import pandas as pd


class Column(pd.Series):
    """A column of a :class:`Table`."""

    @property
    def _constructor(self) -> Any:
        return Column

    @property
    def _constructor_expanddim(self) -> Any:
        return Table

    def agg(self, func: Any = None, *args: Any, **kwargs: Any) -> Any:
        return self.map(len) if func is len else super().agg(func, *args, **kwargs)


class Table(pd.DataFrame):
    """A table of RecBole's; a class of a module, since saved data sets hold it."""

    @property
    def _constructor(self) -> Any:
        return Table

    @property
    def _constructor_sliced(self) -> Any:
        return Column
