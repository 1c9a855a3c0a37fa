"""The screen, drawn from plain data."""

from dataclasses import replace
from datetime import timedelta
from textwrap import indent

import pytest
from rich.cells import cell_len

from deployments.commands.status.screen import screen
from deployments.commands.status.seen import (
    Count,
    Due,
    Held,
    Incoming,
    IncomingFile,
    Queue,
    Relay,
    Status,
    Unanswered,
    Workers,
)
from tests.deployments.commands.status.statuses import BUSY, IDLE, LEDGER, NOW, RUN, ago, entry, uri
from tests.support.pages import page

HOSTILE = "plant\n\x1b[31mred\x07\u202e/" + "很長" * 200 + ".csv"

HOSTILE_STATUS = replace(
    BUSY,
    stack="a" * 200,
    incoming=Incoming(Count(1000, more=True), IncomingFile(uri(HOSTILE), ago(days=900))),
    relay=Relay(alive=False, sign=HOSTILE),
    workers=Workers((), 0, ("work-pool resume " + HOSTILE,)),
    runs=Unanswered(HOSTILE),
    ledger=replace(
        LEDGER,
        held=(Held(uri(HOSTILE), HOSTILE, NOW),),
        next=(Due(ago(days=1), "file", uri(HOSTILE), "retry"), Due(NOW, "email", HOSTILE, "try 4")),
        newest=(entry(HOSTILE),) * 10,
    ),
)


def lines(status: Status, width: int = 80) -> list[str]:
    return screen(status, width).plain.split("\n")


def line(status: Status, label: str) -> str:
    [found] = [each for each in lines(status) if each.startswith(f"{label} ")]
    return found.removeprefix(label).strip()


def test_the_sample_on_the_page_about_monitoring_is_what_is_drawn() -> None:
    shown = "\n".join(each.rstrip() for each in lines(BUSY))
    assert indent(shown, "    ") in page("docs/how-to/monitor.md").text


def test_a_status_of_a_busy_system_fits_on_one_screen() -> None:
    assert len(lines(replace(BUSY, ledger=replace(LEDGER, newest=(entry("a.csv"),) * 10)))) <= 32
    assert len(lines(IDLE)) <= 14


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("status", [IDLE, BUSY, HOSTILE_STATUS], ids=["idle", "busy", "hostile"])
def test_no_line_is_wider_than_the_terminal(status: Status, width: int) -> None:
    assert [] == [each for each in lines(status, width) if cell_len(each) > width]


def test_a_name_from_outside_moves_no_cursor_and_colours_nothing() -> None:
    drawn = lines(HOSTILE_STATUS)
    assert [] == [each for each in drawn if not each.isprintable()]
    assert r"plant\n\x1b[31mred\x07\u202e" in "\n".join(drawn)


def test_of_a_long_name_in_the_list_of_files_the_end_is_shown() -> None:
    *_, last = lines(replace(IDLE, ledger=replace(LEDGER, newest=(entry("a" * 300 + "-17.csv"),))))
    assert last.endswith("-17.csv")
    assert "…aaa" in last


def test_an_idle_system_needs_no_person() -> None:
    assert lines(IDLE)[0].endswith("nothing needs a person")


def test_what_needs_a_person_comes_first_with_its_remedy() -> None:
    status = replace(IDLE, workers=Workers((), 1))
    assert [
        "1 thing needs a person",
        "! no worker is online, so no run starts → `prefect worker start --pool",
        "  sensor-ingest`",
    ] == [
        lines(status)[0][-22:],
        *lines(status)[1:3],
    ]
    assert "none of 1 is online" == line(status, "workers")


def test_the_reason_of_parts_that_do_not_answer_is_given_once_and_in_full() -> None:
    reason = "AWS does not answer: " + "nothing is there, and nothing was; " * 5 + "the end"
    silent = Unanswered(reason)
    drawn = lines(replace(IDLE, queue=silent, incoming=silent, ledger=silent))
    assert 1 == " ".join(drawn).count("AWS does not answer")
    assert drawn[1].startswith("! not known: queue, incoming, ledger → AWS does not answer: nothing is there")
    assert "the end" in " ".join(drawn)
    assert 3 == sum("not known: see above" in each for each in drawn)


def test_counts_that_were_not_finished_say_more_than() -> None:
    status = replace(
        IDLE, ledger=replace(LEDGER, due_files=Count(1000, more=True), emails=Count(1000, more=True), held_more=True)
    )
    assert line(status, "due").startswith("more than 1,000 files now, the first for 2 s")
    assert "more than 1,000 not sent" == line(status, "emails")
    assert "at least 12 files held by 1 run" == line(status, "claims")


def test_the_age_of_the_oldest_message_is_shown_or_unknown() -> None:
    assert "the oldest 12 s old" in line(BUSY, "queue")
    assert "the oldest of unknown age" in line(replace(BUSY, queue=Queue(3, 4, None, 0)), "queue")


def test_files_are_grouped_by_the_run_that_holds_them() -> None:
    other = Held(uri("b.csv"), "other", NOW + timedelta(seconds=3))
    drawn = lines(replace(IDLE, ledger=replace(LEDGER, held=(other, *LEDGER.held))))
    assert "  until 20:25:03  run other  incoming/b.csv" in drawn
    assert f"  until 20:25:48  run {RUN}  12 files" in drawn


def test_a_file_that_is_due_shows_since_when_and_one_to_come_in_how_long() -> None:
    drawn = lines(BUSY)
    assert "  for 2 s     file  announced   incoming/plant-2/late.csv" in drawn
    assert "  in 40 s     file  retry       incoming/plant-3/throttled.csv" in drawn
