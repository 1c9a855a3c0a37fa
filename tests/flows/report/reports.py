"""Reports of files that were loaded, refused, missing or loaded before; and texts about them as people see them."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from blocks.domain.models import FileReport, FileStatus
from blocks.domain.readings_summary import ReadingsSummary, Timeline

HOSTILE = """x"'><script>alert(1)</script>|**b**`c`[d](javascript:e)_f_ http://g WWW.h.i j@k.l ~m~ \\.csv"""


def report(status: FileStatus = "archived", name: str = "sensors.csv", **known: Any) -> FileReport:  # noqa: ANN401
    """The tutorial's sample, loaded; what is known otherwise takes the place of its counts."""
    counts = {"lines": 8, "rows": 8, "accepted": 7, "replaced": 1} if status == "archived" else {}
    return FileReport.model_validate(
        {"bucket": "landing", "key": f"incoming/{name}", "status": status, **counts, **known}
    )


SUMMARY = ReadingsSummary(
    sensors=5,
    first=1_483_906_366,
    last=1_483_908_322,
    timeline=Timeline(
        width=64,
        first=23_186_036,
        at=[0, 31],
        counts=[5, 2],
        lows=["-5.1", "-12.93"],
        means=["1", "2"],
        highs=["3", "340"],
    ),
)
REFUSED = report("refused", "bad.csv", lines=4, rows=4, accepted=1, rejected=3, problem="3 of 4 rows break a rule")
MISSING = report("missing", "gone.csv", problem="s3://landing/incoming/gone.csv does not exist")
AGAIN = report(name="old.csv", already_done=True)


class Tags(HTMLParser):
    """The tags that a browser would see in a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(f"{tag} {attrs}")


def as_read(page: str) -> str:
    """The text of a page without its escapes."""
    return unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", page))
