"""Compatibility of RecBole with pandas 3, where it would misread missing values without an error.

pandas 3 has a separate string type, never fills a column of a table in place, and calls the function given to
``agg`` on the whole column. With pandas 2 nothing here has any effect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from recbole_vae_plugin.integration.patching.patch import Patch, module_with
from recbole_vae_plugin.integration.patching.registry import repair

if TYPE_CHECKING:
    from recbole.data.dataset import Dataset


def is_pandas_3(pandas: ModuleType) -> bool:
    return int(pandas.__version__.partition(".")[0]) >= 3


@repair(
    "recbole.data.dataset.dataset",
    replaces={"pd": None},
    extends=("warnings:filters",),
    reads={"Dataset._load_feat": "13dd88f0", "Dataset._data_processing": "85acedd8"},
    read_against="RecBole 1.2.1, pandas 2.2 to 3.1",
)
def read_tables_as_pandas_2_does(patch: Patch, dataset: ModuleType) -> bool:
    """As with pandas 2, strings are read as objects, missing sequences as empty ones, and ``agg(len)`` gives
    the length of each cell."""
    pd = dataset.pd
    if not is_pandas_3(pd):
        return False
    from recbole_vae_plugin.integration.repairs.tables import Table

    read_csv, merge = pd.read_csv, pd.merge
    patch.ignore_warnings(category=pd.errors.ChainedAssignmentError, module=r"recbole\.")
    # a tensor shares memory with a column that is then discarded, as with pandas 2
    patch.ignore_warnings(message="The given NumPy array is not writable", module=r"recbole\.")

    @functools.wraps(read_csv)
    def read_table(*args: Any, dtype: dict[str, type], **kwargs: Any) -> Table:
        dtype = {column: object if type_ is str else type_ for column, type_ in dtype.items()}
        table = Table(read_csv(*args, dtype=dtype, **kwargs))
        for column in table:
            if column.endswith("seq"):
                table[column] = table[column].fillna("")
        return table

    @functools.wraps(merge)
    def merge_tables(*args: Any, **kwargs: Any) -> Table:
        return Table(merge(*args, **kwargs))

    patch.replace("pd", module_with(pd, read_csv=read_table, merge=merge_tables))
    return True


@repair(
    "recbole.data.dataset.dataset",
    replaces={"Dataset._fill_nan": "b4dbddac"},
    read_against="RecBole 1.2.1, pandas 2.2 to 3.1",
)
def fill_missing_values_in_whole_columns(patch: Patch, dataset: ModuleType) -> bool:
    """With pandas 3 RecBole's in-place filling has no effect: missing tokens become -9223372036854775808."""
    if not is_pandas_3(dataset.pd):
        return False
    types = dataset.FeatureType

    @patch.wrap("Dataset._fill_nan")
    def fill_whole_columns(fill_nan: Callable[..., None], self: Dataset) -> None:
        for name in self.feat_name_list:
            table = getattr(self, name)
            for field in table:
                if self.field2type[field] == types.TOKEN:
                    table[field] = table[field].fillna(0)
                elif self.field2type[field] == types.FLOAT:
                    table[field] = table[field].fillna(table[field].mean())
        fill_nan(self)

    return True
