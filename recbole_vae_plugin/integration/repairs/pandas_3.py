"""RecBole on pandas 3, where it would read missing values wrongly without an error.

pandas 3 gives texts a type of their own, never fills a column of a table in place, and hands a
column as a whole to the function of ``agg``. With pandas 2 nothing here does anything.
"""

from __future__ import annotations

import functools
import warnings

from recbole_vae_plugin.integration.patching import module_with, patch_of


def is_pandas_3(pandas) -> bool:
    return int(pandas.__version__.partition(".")[0]) >= 3


@patch_of("recbole.data.dataset.dataset")
def tables_of_text_files(dataset) -> bool:
    """Texts are read as objects, missing sequences as empty ones, and ``agg(len)`` counts cell by cell."""
    pd = dataset.pd
    if not is_pandas_3(pd):
        return False
    from recbole_vae_plugin.integration.data.tables import Table

    read_csv, merge = pd.read_csv, pd.merge
    warnings.filterwarnings("ignore", category=pd.errors.ChainedAssignmentError, module=r"recbole\.")
    # a tensor shares the memory of a column that is thrown away, as with pandas 2
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable", module=r"recbole\.")

    @functools.wraps(read_csv)
    def read_table(*args, dtype, **kwargs):
        kinds = {column: object if kind is str else kind for column, kind in dtype.items()}
        table = Table(read_csv(*args, dtype=kinds, **kwargs))
        for column in table:
            if column.endswith("seq"):
                table[column] = table[column].fillna("")
        return table

    @functools.wraps(merge)
    def merge_tables(*args, **kwargs):
        return Table(merge(*args, **kwargs))

    dataset.pd = module_with(pd, read_csv=read_table, merge=merge_tables)
    return True


@patch_of("recbole.data.dataset.dataset")
def filling_of_missing_values(dataset) -> bool:
    """RecBole's filling in place would do nothing, and a missing token become -9223372036854775808."""
    if not is_pandas_3(dataset.pd):
        return False
    fill_nan, types = dataset.Dataset._fill_nan, dataset.FeatureType

    @functools.wraps(fill_nan)
    def fill_whole_columns(self):
        for name in self.feat_name_list:
            table = getattr(self, name)
            for field in table:
                if self.field2type[field] == types.TOKEN:
                    table[field] = table[field].fillna(0)
                elif self.field2type[field] == types.FLOAT:
                    table[field] = table[field].fillna(table[field].mean())
        return fill_nan(self)

    dataset.Dataset._fill_nan = fill_whole_columns
    return True
