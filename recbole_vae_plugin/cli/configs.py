"""``recbole-vae configs``: list the shipped config files, show one, copy one to edit."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from pathlib import Path

from recbole_vae_plugin.settings.config_files import (
    KINDS,
    find_config,
    shipped_files,
    shipped_folder,
    summary,
)
from recbole_vae_plugin.settings.validation import Refused


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    one = commands.add_parser(
        "configs",
        help="list the shipped config files, show one, copy one to edit",
        description="List the config files shipped with the package, which all commands accept by name; "
        "with NAME, print that file or copy it.",
    )
    one.add_argument(
        "name", nargs="?", metavar="NAME", help="a listed name; add the folder if ambiguous: models/vae-split"
    )
    one.add_argument(
        "--copy",
        nargs="?",
        const="",
        metavar="FILE.yaml",
        help="copy the file to FILE.yaml (default ./NAME.yaml)",
    )
    one.set_defaults(command=configs)


def configs(options: argparse.Namespace) -> None:
    """List the config files, or print or copy one."""
    if options.name is None:
        if options.copy is not None:
            raise Refused("--copy: got no NAME; allowed: only with the name of a config file")
        print(listing())
        return
    file = find_config(options.name, "NAME", tuple(KINDS), shipped_folder())
    if options.copy is None:
        print(file.read_text(encoding="utf-8"), end="")
        return
    target = Path(options.copy or file.name)
    if target.is_dir():
        target /= file.name
    if target.exists():
        raise Refused(f"--copy: {target} already exists; remove it, or give another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    print(f"written to {target}")


def listing() -> str:
    """The files, grouped by folder, one per line."""
    width = shutil.get_terminal_size((110, 0)).columns
    column = 2 + max(len(file.stem) for file in shipped_files())
    lines = []
    for kind, what in KINDS.items():
        lines += ["", f"{kind}: {what}"]
        for file in shipped_files([kind]):
            text = textwrap.shorten(summary(file), max(20, width - column - 2), placeholder=" ...")
            lines.append(f"  {file.stem:{column}}{text}")
    return "\n".join(lines[1:])
