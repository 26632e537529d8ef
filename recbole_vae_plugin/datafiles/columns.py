"""Which column holds what: as the user says, or by the usual names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_vae_plugin.settings.validation import Refused, did_you_mean

#: Role -> usual names of its column, in lower case, letters and digits only.
USUAL_NAMES = {
    "user": {
        *("user", "userid", "users", "uid", "username", "customer", "customerid", "visitor", "visitorid"),
        *("reviewer", "reviewerid", "member", "memberid", "account", "accountid", "client", "clientid"),
    },
    "item": {
        *(
            "item",
            "itemid",
            "items",
            "iid",
            "product",
            "productid",
            "productcode",
            "asin",
            "movie",
            "movieid",
        ),
        *("book", "bookid", "isbn", "track", "trackid", "song", "songid", "artist", "artistid", "article"),
        *("articleid", "business", "businessid", "game", "gameid", "video", "videoid", "recipe", "recipeid"),
        *("sku", "stockcode", "anime", "animeid"),
    },
    "rating": {
        "rating",
        "ratings",
        "score",
        "stars",
        "overall",
        "bookrating",
        "plays",
        "playcount",
        "weight",
    },
    "timestamp": {
        *("timestamp", "time", "datetime", "date", "unixreviewtime", "unixtime", "ts", "createdat"),
        *("eventtime", "ratedat", "reviewdate", "invoicedate"),
    },
}
#: The type after a name in RecBole's atomic files.
ATOMIC_TYPE = re.compile(r":(token|float)(_seq)?$")
NUMBER_OR_DATE = re.compile(r"\s*[-+]?[.,]*\d[\d.,]*(e[-+]?\d+)?\s*|\s*\d{4}-\d{2}-\d{2}.*", re.IGNORECASE)


def plain(name: str) -> str:
    """A name for comparison: ``User ID`` and ``user_id:token`` are both ``userid``."""
    return re.sub(r"[^a-z0-9]", "", ATOMIC_TYPE.sub("", name.strip()).lower())


def looks_like_value(text: str) -> bool:
    """Whether a text is a number or a date, which hardly any column is named."""
    return bool(NUMBER_OR_DATE.fullmatch(text))


def choose_columns(
    names: Sequence[str] | None,
    width: int,
    wanted: Mapping[str, str | None],
    file: Path,
    required: Sequence[str] = ("user", "item"),
) -> dict[str, int]:
    """The position of each role's column.

    Without names the first column is the user's and the second the item's, unless either is given by its
    number, which counts from 1.

    Args:
        names: of the columns; ``None`` if the file has none.
        width: number of columns.
        wanted: role -> a name or a number; ``none`` for no column, ``None`` for the usual names.
        file: for messages.

    Raises:
        Refused: a column is missing, or several could be meant.
    """
    chosen: dict[str, int] = {}
    for role, column in wanted.items():
        if column is not None and column.lower() == "none" and role not in required:
            continue
        if column is not None:
            chosen[role] = named_column(role, column, names, width, file)
    if names is None:
        if not any(role in chosen for role in required):
            chosen = {**{role: place for place, role in enumerate(required)}, **chosen}
    else:
        for role, column in wanted.items():
            found = usual_column(role, names, file) if column is None else None
            if found is not None and found not in chosen.values():
                chosen[role] = found
    for role in required:
        if role not in chosen or chosen[role] >= width:
            columns = ", ".join(names) if names else f"{width} without names"
            raise Refused(f"{file}: which column is the {role}'s? Give --{role}; the columns are {columns}")
    if len(set(chosen.values())) < len(chosen):
        raise Refused(f"{file}: one column has two roles: {describe_columns(chosen, names)}")
    return chosen


def named_column(role: str, column: str, names: Sequence[str] | None, width: int, file: Path) -> int:
    """The position of a column that is given by its name or its number."""
    exact = [place for place, name in enumerate(names or ()) if column in (name, ATOMIC_TYPE.sub("", name))]
    if len(exact) > 1:
        raise Refused(f"{file}: {len(exact)} columns are named {column}; give --{role} by its number")
    if exact:
        return exact[0]
    if column.isdecimal() and 1 <= int(column) <= width:
        return int(column) - 1
    allowed = f"{', '.join(names)}, or a number" if names else "a number"
    raise Refused(
        f"--{role}: got {column!r}; allowed: {allowed} from 1 to {width}, as in {file}"
        f"{did_you_mean(column, names or ())}"
    )


def usual_column(role: str, names: Sequence[str], file: Path) -> int | None:
    """The position of the only column with a usual name of the role."""
    found = [place for place, name in enumerate(names) if plain(name) in USUAL_NAMES[role]]
    if len(found) > 1:
        several = " and ".join(names[place] for place in found)
        raise Refused(f"{file}: {several} may both be the {role}'s column; give --{role}")
    return found[0] if found else None


def describe_columns(chosen: Mapping[str, int], names: Sequence[str] | None) -> str:
    """Such as ``user: userId, item: column 2``."""
    return ", ".join(
        f"{role}: {names[place] if names else f'column {place + 1}'}" for role, place in chosen.items()
    )


def describe_others(chosen: Mapping[str, int], names: Sequence[str] | None) -> str:
    """Such as ``; not used: qty, price``; empty if every named column is used."""
    others = [name for place, name in enumerate(names or ()) if place not in chosen.values()]
    return f"; not used: {', '.join(others)}" if others else ""
