"""The texts and the page of the command `history`."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer

from blocks.domain.models import LedgerEntry
from deployments.commands.history.entries import latency, parse_since, print_entries, printed_as_json
from deployments.commands.history.page import FILES_SHOWN, history_page, write_page

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTILE = 'incoming/<img src=x onerror=alert(1)>\x1b[31m{{ 1 }}"&.csv'


def entry(**known: Any) -> LedgerEntry:  # noqa: ANN401 - fields
    counts = {"lines": 10, "rows": 10, "accepted": 7, "replaced": 1, "rejected": 2}
    about = {"bucket": "landing", "key": "incoming/a.csv", "version": "v1", "status": "archived", "claimed_at": NOW}
    return LedgerEntry.model_validate({**about, **counts, **known})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T06:30", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
        ("2026-11-20T06:30+02:00", datetime(2026, 11, 20, 4, 30, tzinfo=UTC)),
    ],
)
def test_since_takes_an_age_or_a_date(text: str, meant: datetime) -> None:
    assert meant == parse_since(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "7",
        "7 fortnights",
        "2026-13-01",
        "999999d",
        "99999999999999999999d",
        "9" * 5000 + "d",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:00-12:00",
    ],
    ids=lambda text: text[:25],
)
def test_any_other_text_is_an_error_that_quotes_it(text: str) -> None:
    with pytest.raises(ValueError, match="neither an age like 24h or 7d nor a date"):
        parse_since(text, NOW)


def test_the_latency_is_the_time_from_landing_to_the_terminal_status() -> None:
    landed = NOW - timedelta(seconds=9)
    assert timedelta(seconds=12) == latency(entry(landed_at=landed, finished_at=NOW + timedelta(seconds=3)))
    assert None is latency(entry(landed_at=landed))


def test_a_line_has_the_time_the_file_its_status_counts_and_latency(capsys: pytest.CaptureFixture[str]) -> None:
    print_entries([entry(landed_at=NOW, finished_at=NOW + timedelta(seconds=4))])
    assert "2026-11-22 12:00\ts3://landing/incoming/a.csv\tarchived\t10\t7\t2\t4 s\n" == capsys.readouterr().out


def test_a_name_from_outside_moves_no_cursor_and_colours_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_entries([entry(key=HOSTILE)])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"\x1b[31m" in shown


@pytest.mark.parametrize("count", [0, 1, 3])
def test_entries_are_printed_as_one_json_list_while_they_are_read(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [entry(version=f"v{number}") for number in range(count)]
    for number, each in enumerate(printed_as_json(iter(entries))):
        assert f'"v{number}"' in capsys.readouterr().out, "each when it is taken"
        assert each is entries[number]
    capsys.readouterr()
    assert entries == list(printed_as_json(entries))
    assert [each.model_dump(mode="json") for each in entries] == json.loads(capsys.readouterr().out)


# ---- The page ------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The names of all elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "onerror", "onload")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_counts_files_and_rows_and_plots_them() -> None:
    hours = [entry(claimed_at=NOW - timedelta(hours=n)) for n in range(30)]
    failed = entry(status="failed", accepted=0, replaced=0, rejected=0, rows=0, lines=0, problem="no such permission")
    elements = Elements(history_page([*hours, failed], NOW))
    assert "31 files, 30 loaded" in elements.text
    assert "300 rows: 210 loaded, 30 replaced by a later row with the same key, 60 rejected" in elements.text
    assert "no such permission" in elements.text
    assert 3 == elements.names.count("svg")
    assert elements.names.count("rect") >= 90
    assert "refused, failed" in elements.text


def test_what_comes_from_outside_is_text_on_the_page_and_nothing_is_fetched() -> None:
    html = history_page([entry(key=HOSTILE, problem="<script>alert(1)</script>")], NOW)
    elements = Elements(html)
    assert "<img src=x onerror=alert(1)>" in elements.text
    assert not {"img", "script", "link", "iframe"} & set(elements.names)
    assert [] == elements.addresses
    assert "http" not in html.replace("http-equiv", "")


def test_a_page_about_very_many_files_and_very_long_times_stays_small() -> None:
    days = [entry(claimed_at=NOW - timedelta(days=n / 10)) for n in range(8000)]
    html = history_page(days, NOW)
    assert len(html) < 150_000
    assert f"and {8000 - FILES_SHOWN:,} more" in html


@pytest.mark.parametrize("apart", [timedelta(seconds=1), timedelta(minutes=3), timedelta(hours=5), timedelta(days=1)])
def test_each_file_is_in_the_bar_of_its_period_however_long_the_time(apart: timedelta) -> None:
    """However often the periods were merged meanwhile: 10,000 files are more than are kept apart."""
    entries = [entry(claimed_at=NOW - number * apart) for number in range(10_000)]
    bars = re.findall(r"<title>(\S+ \S+): ([\d,]+)</title>", history_page(entries, NOW).split("<svg")[1])
    starts = [datetime.fromisoformat(f"{start}+00:00") for start, _ in bars]
    counts = [int(files.replace(",", "")) for _, files in bars]
    assert 10_000 == sum(counts)
    for start, end, files in zip(starts, [*starts[1:], NOW + apart], counts, strict=True):
        assert files == sum(start <= each.claimed_at < end for each in entries)


def test_a_page_without_entries_has_no_plots() -> None:
    elements = Elements(history_page([], NOW))
    assert "0 files, 0 loaded" in elements.text
    assert "svg" not in elements.names


def test_a_page_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    page = tmp_path / "history.html"
    write_page(page, [entry()], NOW)
    assert "1 files, 1 loaded" in page.read_text(encoding="utf-8")

    def fails_half_way() -> Iterator[LedgerEntry]:
        yield entry()
        raise ConnectionError("DynamoDB is away")

    with pytest.raises(ConnectionError):
        write_page(page, fails_half_way(), NOW)
    assert "1 files, 1 loaded" in page.read_text(encoding="utf-8")
    assert [page] == list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_known_before_anything_is_read(tmp_path: Path) -> None:
    def not_read() -> Iterator[LedgerEntry]:
        pytest.fail("it was read")
        yield entry()

    with pytest.raises(typer.BadParameter, match="No such file or directory"):
        write_page(tmp_path / "nowhere" / "history.html", not_read(), NOW)
