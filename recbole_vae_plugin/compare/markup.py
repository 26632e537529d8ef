"""Tables in Markdown, by tabulate, and in LaTeX, by pandas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate


@dataclass(frozen=True)
class Markup:
    """How text is emphasised, and how it is written so that it is shown as it stands."""

    bold: Callable[[str], str]
    underline: Callable[[str], str]
    escaped: Callable[[str], str]


# pandas escapes neither captions nor ±, arrows, < and >, which LaTeX's fonts lack or take for others
LATEX_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": "$<$",
    ">": "$>$",
}

MARKDOWN = Markup("**{}**".format, "<u>{}</u>".format, lambda text: text.replace("|", r"\|"))
LATEX = Markup(
    r"\textbf{{{}}}".format,
    r"\underline{{{}}}".format,
    lambda text: text.translate(str.maketrans(LATEX_SPECIAL)),
)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Numbers as they are given, and no padding: a long reason in one row would widen all."""
    return tabulate(list(rows), header, tablefmt="github", disable_numparse=True, stralign=None)


def latex_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """A booktabs table of texts that are escaped already."""
    table = pd.DataFrame(rows, columns=list(header)).style.hide(axis="index")
    return table.to_latex(hrules=True, column_format=f"l{'r' * (len(header) - 1)}", caption=caption)
