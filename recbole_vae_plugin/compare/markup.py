"""Tables in Markdown, by tabulate, and in LaTeX, by pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate


@dataclass(frozen=True)
class Markup:
    """Functions of a markup language that emphasise and escape text."""

    bold: Callable[[str], str]
    underline: Callable[[str], str]
    escaped: Callable[[str], str]


# pandas escapes neither captions nor ±, arrows, < and >, which LaTeX's fonts lack or print differently
LATEX_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": "$<$",
    ">": "$>$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
}

MARKDOWN = Markup("**{}**".format, "<u>{}</u>".format, lambda text: text.replace("|", r"\|"))
LATEX = Markup(
    r"\textbf{{{}}}".format,
    r"\underline{{{}}}".format,
    lambda text: "".join(LATEX_SPECIAL.get(character, character) for character in text),
)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table without padding, since one long cell would widen every row; numbers are not reformatted."""
    return tabulate(list(rows), header, tablefmt="github", disable_numparse=True, stralign=None)


def latex_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A booktabs table of cells that are already escaped."""
    table = pd.DataFrame(rows, columns=list(header)).style.hide(axis="index")
    return table.to_latex(hrules=True, column_format=f"l{'r' * (len(header) - 1)}", caption=caption)
