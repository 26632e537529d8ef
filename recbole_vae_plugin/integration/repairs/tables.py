"""Tables whose columns take ``agg(len)`` as pandas 2 did: the length of each cell."""

from __future__ import annotations

import pandas as pd


class Column(pd.Series):
    """A column of a :class:`Table`."""

    @property
    def _constructor(self):
        return Column

    @property
    def _constructor_expanddim(self):
        return Table

    def agg(self, func=None, *args, **kwargs):
        return self.map(len) if func is len else super().agg(func, *args, **kwargs)


class Table(pd.DataFrame):
    """A table of RecBole's; a class of a module, since saved data sets hold it."""

    @property
    def _constructor(self):
        return Table

    @property
    def _constructor_sliced(self):
        return Column
