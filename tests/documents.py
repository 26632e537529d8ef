"""What README.md and docs/ show: blocks, commands, names and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recbole_vae_plugin.cli.generate import DOCS

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]

FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Before a block that is not run: ``<!-- test: skip, WHY -->``.
SKIP = re.compile(r"<!-- test: skip, [^>]+-->\s*\Z")
NOT_CODE = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: the file.
        line: of the opening fence.
        language: after it; may be empty.
        text: its lines.
        skip: whether a comment before it says why it is not run.
        before: the text between the block before and this one.
    """

    page: Path
    line: int
    language: str
    text: str
    skip: bool
    before: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    """All fenced blocks of all pages."""
    for page in PAGES:
        text, end = page.read_text(encoding="utf-8"), 0
        for match in FENCE.finditer(text):
            before = text[end : match.start()]
            line = text.count("\n", 0, match.start()) + 1
            yield Block(page, line, match[1], match[2], bool(SKIP.search(before)), before)
            end = match.end()


def commands_of(block: Block) -> list[str]:
    """The commands of a block in bash, without comments and prompts, one for each part of a ``&&``."""
    found: list[str] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        line = line.removeprefix("$ ")
        if "(" in line.split(" ")[0]:  # a group is for the shell
            found.append(line)
            continue
        words = shlex.split(line, comments=True)
        parts: list[list[str]] = [[]]
        for word in words:
            if word == "&&":
                parts.append([])
            else:
                parts[-1].append(word)
        found += [shlex.join(part) for part in parts if part]
    return found


def outputs() -> Iterator[tuple[Block, Block]]:
    """(commands, what they print) for each block without language that stands right after commands."""
    previous = None
    for block in blocks():
        follows = previous is not None and previous.page == block.page and previous.language == "bash"
        if follows and block.language in ("", "text") and "\n#" not in block.before and not block.skip:
            yield previous, block
        previous = block


def prose(page: Path) -> str:
    """A page without its blocks and comments."""
    return NOT_CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def quoted(page: Path) -> list[str]:
    """What a page has in single backticks."""
    return [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(page))]


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures that are not addresses."""
    targets = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"', prose(page))
    return [target for pair in targets for target in pair if target and not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}
