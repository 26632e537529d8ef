"""Tables in which ``agg(len)`` gives the length of each cell, as in pandas 2."""

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
    """A table of a RecBole data set; defined in a module so that saved data sets can be unpickled."""

    @property
    def _constructor(self) -> Any:
        return Table

    @property
    def _constructor_sliced(self) -> Any:
        return Column
