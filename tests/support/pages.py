"""The project's pages as tests read them: their text, code, tables and headings."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]

_GENERATED: Final = re.compile(r"<!-- [\w ]+: written by .*?<!-- end of [\w ]+ -->", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A Markdown page; what a target of the Makefile writes into it is left out."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(PROJECT))

    @cached_property
    def text(self) -> str:
        return _GENERATED.sub("", self.path.read_text(encoding="utf-8"))

    @cached_property
    def code(self) -> list[str]:
        """The text between backticks, and the blocks that are indented or fenced."""
        fenced = re.findall(r"^```.*?\n(.*?)^```", self.text, re.MULTILINE | re.DOTALL)
        indented = re.findall(r"^ {4,}(?![-*] ).*", self.text, re.MULTILINE)
        return [*fenced, *indented, *re.findall(r"`([^`\n]+)`", self.prose_with_spans)]

    @cached_property
    def prose_with_spans(self) -> str:
        """The text without its code blocks."""
        unfenced = re.sub(r"^```.*?^```", "", self.text, flags=re.MULTILINE | re.DOTALL)
        return re.sub(r"^ {4,}(?![-*] ).*", "", unfenced, flags=re.MULTILINE)

    @cached_property
    def prose(self) -> str:
        """The text without any code."""
        return re.sub(r"`[^`\n]+`", "", self.prose_with_spans)

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments under which GitHub shows the headings."""
        headings = re.findall(r"^#+ (.*)", self.prose_with_spans, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def section(self, heading: str) -> str:
        """The text below that heading, up to the next heading of any level."""
        return re.split(r"^#+ ", self.text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str, first_header: str) -> list[list[str]]:
    """The cells of each row of the tables whose first column has that header."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            inside = False
        elif inside and not set(line) <= set("|-: "):
            found.append(cells)
        inside = inside or (bool(cells) and cells[0] == first_header)
    return found


def names(cells: list[str]) -> list[str]:
    """The names between backticks in these cells, in order."""
    return re.findall(r"`([^`]+)`", " ".join(cells))


def page(path: str) -> Page:
    return Page(PROJECT / path)


_ALL: Final = [Page(path) for path in sorted((PROJECT / "docs").rglob("*.md"))]
GUIDE_PAGES: Final = [each for each in _ALL if each.path.parent.name != "decisions"]
"""The pages below docs/, without the decisions."""

PAGES: Final = [*(page(name) for name in ("README.md", "AGENTS.md", "CHANGELOG.md", "SECURITY.md")), *_ALL]
