"""Every row that is handed over arrives, once, exactly as it is, whatever the table does with the first attempts."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from blocks.domain.errors import PermissionMissingError, ThrottledError
from blocks.dynamodb.errors import RowRefusedError, TableUnreachableError
from blocks.readings_table import ReadingsTable
from tests.blocks.dynamodb.conftest import contents, rows
from tests.fakes.counting_server import CountingServer

THROTTLED = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]
MakeTable = Callable[..., ReadingsTable]


# ---- What is in the table afterwards ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 25, 26, 1_000])
def test_rows_arrive_as_they_are_and_once(table: ReadingsTable, server: CountingServer, count: int) -> None:
    frame = rows(count)
    assert count == table.write([frame])
    assert contents(frame) == server.table.contents()
    assert count == server.table.items


def test_rows_of_all_frames_arrive_in_full_batches(table: ReadingsTable, server: CountingServer) -> None:
    frames = [rows(10), rows(0), rows(30, start=10), rows(1, start=40), rows(20, start=41)]
    assert 61 == table.write(frames)
    assert contents(rows(61)) == server.table.contents()
    assert [11, 25, 25] == sorted(len(batch) for batch in server.table.batches())


@pytest.mark.parametrize("frames", [[], [rows(0)]])
def test_no_rows_are_no_call(table: ReadingsTable, server: CountingServer, frames: list[pa.RecordBatch]) -> None:
    assert 0 == table.write(frames)
    assert 0 == server.table.requests


def test_a_load_says_how_far_it_has_come(table: ReadingsTable) -> None:
    said: list[int] = []
    table.write([rows(40_000)], said.append)
    assert said == sorted(said)
    assert 0 < said[-1] <= 40_000


# ---- What the table does not take at once -------------------------------------------------------------------------


def test_items_that_are_handed_back_are_sent_again_until_they_are_taken_and_no_others(
    table: ReadingsTable, server: CountingServer
) -> None:
    server.behave(unprocessed_share=0.2)
    assert 500 == table.write([rows(500)])
    assert contents(rows(500)) == server.table.contents()
    # Of 25 items 5 come back, of these 1: 20 batches are 20 calls of 25, 20 of 5 and 20 of 1.
    assert (500, 60, 120) == (server.table.items, server.table.requests, server.table.handed_back)


@pytest.mark.parametrize("code", THROTTLED)
def test_a_batch_that_is_throttled_is_sent_again(table: ReadingsTable, server: CountingServer, code: str) -> None:
    server.behave(script=[f"400 {code}", f"400 {code}"])
    assert 3 == table.write([rows(3)])
    assert (3, 3) == (server.table.requests, server.table.items)


@pytest.mark.parametrize("fault", ["500", "503 ServiceUnavailable", "reset", "400 ExpiredTokenException", "502 Html"])
def test_what_passes_is_waited_for(table: ReadingsTable, server: CountingServer, fault: str) -> None:
    server.behave(script=[fault, "ok", fault])
    assert 100 == table.write([rows(100)])
    assert contents(rows(100)) == server.table.contents()
    assert 6 == server.table.requests


def test_a_call_that_is_never_answered_is_made_again(make_table: MakeTable, server: CountingServer) -> None:
    server.behave(script=["hang"])
    assert 3 == make_table({"read_timeout": 0.2}).write([rows(3)])
    assert contents(rows(3)) == server.table.contents()


def test_everything_arrives_through_faults_of_all_kinds_at_once(make_table: MakeTable, server: CountingServer) -> None:
    faults = ["reset", "500", "hang", f"400 {THROTTLED[0]}", "ok", "400 ExpiredTokenException", "ok", "ok"]
    server.behave(script=3 * faults, unprocessed_share=0.2, items_per_second=20_000)
    assert 2_000 == make_table({"read_timeout": 1}).write([rows(1_000), rows(1_000, start=1_000)])
    report = server.table.report()
    assert contents(rows(2_000)) == server.table.contents()
    # What was answered too late to be heard is written again, with the same value.
    assert (0, 0) == (report["overwritten_with_another_value"], report["duplicates_within_a_batch"])


# ---- What cannot be helped ---------------------------------------------------------------------------------------


def test_a_table_that_takes_nothing_is_given_up_when_the_patience_is_over_naming_it_and_the_remedy(
    make_table: MakeTable, server: CountingServer
) -> None:
    server.behave(script=1_000 * [f"400 {THROTTLED[0]}"])
    with pytest.raises(ThrottledError, match=r"readings still returned 3 items .*capacity"):
        make_table(patience_seconds=0.1).write([rows(3)])


def test_a_table_that_takes_a_little_all_the_time_is_not_given_up(
    make_table: MakeTable, server: CountingServer
) -> None:
    server.behave(delay_seconds=0.25, script=[*15 * ["ok"], "400 ThrottlingException"])
    assert 400 == make_table({"max_pool_connections": 1}, connections=1, patience_seconds=3).write([rows(400)])
    assert contents(rows(400)) == server.table.contents()


@pytest.mark.parametrize("fault", ["500", "reset"])
def test_a_server_that_fails_for_too_long_is_given_up_saying_how(
    make_table: MakeTable, server: CountingServer, fault: str
) -> None:
    server.behave(script=1_000 * [fault])
    with pytest.raises(TableUnreachableError, match=r"readings has acknowledged nothing for .* because of: .*endpoint"):
        make_table(patience_seconds=0.1).write([rows(3)])


def test_a_table_that_takes_nothing_is_asked_less_and_less_often(make_table: MakeTable, server: CountingServer) -> None:
    server.behave(script=1_000 * [f"400 {THROTTLED[0]}"])
    with pytest.raises(ThrottledError):
        make_table(patience_seconds=1).write([rows(3)])
    # Pauses of 0 to 0.05 s, 0 to 0.1 s, 0 to 0.2 s ...: that many in a second would take luck of one in a million.
    assert server.table.requests < 30


def test_a_row_that_the_table_can_not_store_is_named(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(refused_value="30.10")
    with pytest.raises(RowRefusedError, match=r"readings refused the row 0000-0002,30,30\.10: ValidationException"):
        table.write([rows(50)])


def test_a_refusal_that_no_row_explains_is_handed_on(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(script=["400 ValidationException"])
    with pytest.raises(ClientError, match="ValidationException"):
        table.write([rows(3)])


def test_two_rows_with_one_key_are_an_error_that_names_it(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(script=["400 ValidationException"])
    with pytest.raises(RowRefusedError, match=r"the row 0000-0001,1,1\.10"):
        table.write([rows(2), rows(1, start=1)])
    assert {} == server.table.contents()


def test_a_missing_permission_is_named_at_once(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(script=["400 AccessDeniedException"])
    with pytest.raises(PermissionMissingError, match="dynamodb:BatchWriteItem on table readings"):
        table.write([rows(3)])
    assert 1 == server.table.requests


def test_a_missing_table_is_an_error_at_once(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(script=["400 ResourceNotFoundException"])
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        table.write([rows(3)])
    assert 1 == server.table.requests


def test_an_error_in_reading_the_rows_is_handed_on(table: ReadingsTable) -> None:
    def broken() -> object:
        yield rows(3)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        table.write(broken())  # type: ignore[arg-type] # an iterator of frames, if it lives


def test_a_refused_row_is_not_shown_where_rows_are_not_to_be_shown(
    make_table: MakeTable, server: CountingServer
) -> None:
    server.behave(refused_value="30.10")
    with pytest.raises(RowRefusedError, match=r"refused the row \(not shown\): ValidationException") as raised:
        make_table(show_rows=False).write([rows(50)])
    assert "0000-0002" not in str(raised.value)
    assert "as asked for" not in str(raised.value)
