"""``recbole-vae data``: interactions in CSV, Parquet or JSON Lines become a data set of RecBole."""

from __future__ import annotations

import argparse
import codecs
import math
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_vae_plugin.settings.validation import Refused, integer, refuse

if TYPE_CHECKING:
    from recbole_vae_plugin.datafiles.filters import Filters
    from recbole_vae_plugin.datafiles.opening import SourceFile
    from recbole_vae_plugin.datafiles.text import TextOptions

EPILOG = """\
examples:
  recbole-vae data ratings.csv --name core --min-rating 4 --k-core 5
  recbole-vae data u.data --no-header --rating 3 --timestamp 4 --name ml
  recbole-vae data plays/ --user listener --item track --split global-time
  recbole-vae compare untuned --datasets dataset/core/core.yaml
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser(
        "data",
        help="make a data set from a CSV, Parquet or JSON Lines file",
        description="Read interactions, report what was found and what was left out, and write RecBole's "
        "atomic file and a config for it. Nothing is dropped silently; rows that cannot be read are refused "
        "with the file and the line.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument(
        "source",
        metavar="SOURCE",
        type=Path,
        help="delimited text or JSON Lines, also as gz, bz2, xz or zip; Parquet; or a folder of such files",
    )
    one.add_argument("--name", help="name of the data set (default: the name of the source)")
    one.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("dataset"),
        help="folder in which NAME/ is written (default dataset)",
    )
    one.add_argument("--replace", action="store_true", help="replace the data set if it exists")
    add_columns(
        one.add_argument_group("columns", "names, or numbers from 1; by default detected by common names")
    )
    add_reading(one.add_argument_group("reading"))
    add_filters(one.add_argument_group("what is left out"))
    one.set_defaults(command=data)


def add_columns(group: argparse._ArgumentGroup) -> None:
    for role, also in (
        ("user", ""),
        ("item", ""),
        ("rating", "; none: do not use"),
        ("timestamp", "; none: do not use"),
    ):
        group.add_argument(f"--{role}", metavar="COLUMN", help=f"column of the {role}{also}")


def add_reading(group: argparse._ArgumentGroup) -> None:
    yes_or_no = argparse.BooleanOptionalAction
    group.add_argument("--separator", metavar="S", help=r"separator between values, such as , or \t or ::")
    group.add_argument("--header", action=yes_or_no, help="whether the first line names the columns")
    group.add_argument("--quotes", action=yes_or_no, help="whether values may be quoted (default yes)")
    group.add_argument("--encoding", help="encoding of text (default utf-8, or that of the byte-order mark)")
    group.add_argument(
        "--time-format",
        metavar="F",
        help="how times are written: seconds, milliseconds, microseconds, nanoseconds, iso, or a pattern "
        "such as %%d.%%m.%%Y",
    )


def add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--missing",
        choices=["drop", "error"],
        default="drop",
        help="what to do with rows without a value (default drop)",
    )
    group.add_argument(
        "--duplicates",
        choices=["keep", "first", "last", "error"],
        default="last",
        help="which of a user's interactions with the same item to keep, by time (default last)",
    )
    group.add_argument("--min-rating", metavar="X", type=float, help="minimum rating of an interaction")
    group.add_argument("--k-core", metavar="N", type=int, help="the same as --min-user N --min-item N")
    group.add_argument("--min-user", metavar="N", type=int, help="minimum number of interactions of a user")
    group.add_argument("--min-item", metavar="N", type=int, help="minimum number of interactions of an item")
    group.add_argument(
        "--split",
        choices=["random", "leave-one-out", "user-time", "global-time", "held-out"],
        default="random",
        help="the split in the config (default random); see docs/splits.md",
    )


def data(options: argparse.Namespace) -> None:
    """Read, filter, describe and write a data set."""
    from tqdm import tqdm

    from recbole_vae_plugin.datafiles.interactions import ROLES, read_interactions
    from recbole_vae_plugin.datafiles.opening import files_of
    from recbole_vae_plugin.datafiles.summary import as_table, notes_of, summary_rows, warnings_of
    from recbole_vae_plugin.datafiles.writing import (
        evaluation_of,
        refuse_overwriting,
        write_config,
        write_interactions,
    )

    files = files_of(options.source)
    name = name_of(options.name, options.source)
    inter = options.output / name / f"{name}.inter"
    config = inter.with_suffix(".yaml")
    refuse_overwriting([inter, config], [file.path for file in files], options.replace)
    filters = filters_of(options)
    wanted = {role: getattr(options, role) for role in ROLES}
    with tqdm(total=total_size(files), unit="B", unit_scale=True, desc="reading", dynamic_ncols=True) as bar:
        read = read_interactions(
            files,
            wanted,
            text_options(options, wanted.values()),
            options.time_format,
            options.missing,
            lambda position: bar.update(position - bar.n),
        )
    left, dropped = filters.apply(read.interactions)
    evaluation = evaluation_of(options.split, left)
    table = as_table(summary_rows(read, left, dropped))
    print(table)
    for note in notes_of(left, options.min_rating, options.split):
        print(f"note: {note}")
    for warning in warnings_of(read, left):
        print(f"recbole-vae: warning: {warning}", file=sys.stderr)
    with tqdm(total=len(left), unit=" rows", desc="writing", dynamic_ncols=True) as bar:
        write_interactions(left, inter, lambda rows: bar.update(rows - bar.n))
    begin = f"{name}: made by recbole-vae data from {options.source.name} (split: {options.split})."
    write_config(config, inter, [begin, "", *table.splitlines()], evaluation)
    where = shlex.quote(str(config))
    print(
        f"\nwritten to {inter} and {config}; next:\n  run_recbole --model=VAESplit --config_files={where}\n"
        f"  recbole-vae compare untuned --datasets {where}"
    )


def name_of(given: str | None, source: Path) -> str:
    """The name of the data set: a plain one, since folders and files are called so.

    Raises:
        Refused: it cannot be one.
    """
    import yaml

    from recbole_vae_plugin.settings.config_files import Loader

    name = (
        given
        if given is not None
        else re.sub(r"[^\w-]+", "-", source.resolve().name.split(".")[0]).strip("-")
    )
    is_text = re.fullmatch(r"\w[\w-]{0,79}", name) and isinstance(yaml.load(name, Loader), str)
    if not is_text or name == "ml-100k":
        allowed = (
            "up to 80 letters, digits, - and _, not a number, nor ml-100k, which RecBole reads from its own "
            "package"
        )
        refuse("--name", name, allowed)
    return name


def total_size(files: Iterable[SourceFile]) -> int:
    """Bytes of all files."""
    return sum(file.size for file in files)


def text_options(options: argparse.Namespace, named: Iterable[str | None]) -> TextOptions:
    """How text is to be read.

    Raises:
        Refused: an option has a value that is not allowed.
    """
    from recbole_vae_plugin.datafiles.text import NAMES_OF_SEPARATORS, TextOptions

    separator = options.separator
    separator = NAMES_OF_SEPARATORS.get(separator, separator)
    if separator is not None and (not separator or set(separator) & set('"\r\n')):
        refuse(
            "--separator", separator, r"characters other than quotation marks and line ends, such as , or \t"
        )
    encoding = options.encoding
    try:
        if encoding is not None and codecs.lookup(encoding).name == "utf-8":
            encoding = "utf-8-sig"  # which takes it without the mark, too
        "a".encode(encoding or "utf-8")
    except (LookupError, UnicodeError):
        refuse("--encoding", encoding, "an encoding that Python knows, such as utf-8 or latin-1")
    names = tuple(name for name in named if name is not None and not name.isdecimal())
    return TextOptions(separator, options.header, options.quotes, encoding, names)


def filters_of(options: argparse.Namespace) -> Filters:
    """What is to be left out.

    Raises:
        Refused: an option has a value that is not allowed.
    """
    from recbole_vae_plugin.datafiles.filters import Filters

    if options.min_rating is not None and not math.isfinite(options.min_rating):
        refuse("--min-rating", options.min_rating, "a finite number")
    least = {}
    for option in ("k_core", "min_user", "min_item"):
        value = getattr(options, option)
        least[option] = None if value is None else integer(f"--{option.replace('_', '-')}", value, 1)
    if least["k_core"] is not None and (least["min_user"] or least["min_item"]):
        raise Refused("--k-core: is --min-user and --min-item in one; give either")
    min_user, min_item = (least["k_core"] or least[option] or 0 for option in ("min_user", "min_item"))
    return Filters(options.duplicates, options.min_rating, min_user, min_item)
