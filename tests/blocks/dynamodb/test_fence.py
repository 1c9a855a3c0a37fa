"""No request goes out after the fence has raised, and every request without an answer is reported."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from blocks.domain.errors import LeaseLostError, PermissionMissingError
from blocks.dynamodb.errors import RowRefusedError, TableUnreachableError
from blocks.readings_table import ReadingsTable
from tests.blocks.dynamodb.conftest import TABLE, contents, credentials_for, rows
from tests.fakes.counting_server import CountingServer

MakeTable = Callable[..., ReadingsTable]


@dataclass
class Fence:
    """Lets so many requests pass."""

    passes: int

    def __call__(self) -> None:
        self.passes -= 1
        if self.passes < 0:
            raise LeaseLostError("s3://landing/incoming/a.csv", "its lease has expired")


@dataclass
class Calls:
    count: int = 0

    def __call__(self) -> None:
        self.count += 1


def boto3_threads_have_ended() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("batch-write-item"):
            thread.join(10)
            assert not thread.is_alive()


# ---- The fence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [0, 5])
def test_no_request_goes_out_after_the_fence_has_raised(
    table: ReadingsTable, server: CountingServer, passes: int
) -> None:
    with pytest.raises(LeaseLostError, match=r"incoming/a\.csv: .*nothing to do"):
        table.write([rows(1_000)], fence=Fence(passes))
    boto3_threads_have_ended()
    assert server.table.requests <= passes


def test_the_fence_is_checked_once_for_each_request(table: ReadingsTable, server: CountingServer) -> None:
    fence = Fence(1_000)
    table.write([rows(1_000)], fence=fence)
    assert (40, 960) == (server.table.requests, fence.passes)


@pytest.mark.parametrize("fault", ["400 ThrottlingException", "500", "reset", "hang"])
def test_the_fence_is_checked_before_a_batch_is_sent_again(
    make_table: MakeTable, server: CountingServer, fault: str
) -> None:
    server.behave(script=[fault])
    with pytest.raises(LeaseLostError):
        make_table({"read_timeout": 0.2}).write([rows(3)], fence=Fence(1))
    assert 1 == server.table.requests


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_the_fence_is_checked_before_each_retry_of_botocore(server: CountingServer, mode: str) -> None:
    server.behave(script=["reset", "500"])
    credentials = credentials_for(server.endpoint_url, {"retries": {"mode": mode, "max_attempts": 3}})
    table = ReadingsTable(table_name=TABLE, credentials=credentials, sender="boto3")
    with pytest.raises(LeaseLostError):
        table.write([rows(3)], fence=Fence(2))
    assert 2 == server.table.requests


def test_the_fence_is_checked_before_each_row_of_a_refused_batch(table: ReadingsTable, server: CountingServer) -> None:
    server.behave(refused_value="0.10")
    with pytest.raises(LeaseLostError):
        table.write([rows(3)], fence=Fence(2))
    assert 2 == server.table.requests


def test_the_fence_is_checked_after_the_wait_for_a_thread(server: CountingServer) -> None:
    def fence() -> None:
        if server.table.requests:
            raise LeaseLostError("s3://landing/incoming/a.csv", "its lease has expired")

    server.behave(delay_seconds=0.05)
    credentials = credentials_for(server.endpoint_url, {"max_pool_connections": 1})
    table = ReadingsTable(table_name=TABLE, credentials=credentials, sender="boto3", connections=4)
    with pytest.raises(LeaseLostError):
        table.write([rows(100)], fence=fence)
    boto3_threads_have_ended()
    assert 1 == server.table.requests


def test_loads_that_share_a_client_do_not_share_a_fence(table: ReadingsTable) -> None:
    with pytest.raises(LeaseLostError):
        table.write([rows(3)], fence=Fence(0))
    assert 3 == table.write([rows(3)])


# ---- What is not known ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "hang", "500"])
def test_a_request_without_an_answer_is_reported(make_table: MakeTable, server: CountingServer, fault: str) -> None:
    unanswered = Calls()
    server.behave(script=[fault])
    assert 3 == make_table({"read_timeout": 0.2}).write([rows(3)], on_unanswered=unanswered)
    assert unanswered.count > 0


def test_a_damaged_answer_is_reported(server: CountingServer) -> None:
    unanswered = Calls()
    server.behave(script=["damaged"])
    table = ReadingsTable(table_name=TABLE, credentials=credentials_for(server.endpoint_url))
    table.write([rows(3)], on_unanswered=unanswered)
    assert 1 == unanswered.count


@pytest.mark.parametrize("fault", ["reset", "500"])
def test_a_lost_answer_that_botocore_itself_made_good_is_reported(server: CountingServer, fault: str) -> None:
    unanswered = Calls()
    server.behave(script=[fault])
    credentials = credentials_for(server.endpoint_url, {"retries": {"max_attempts": 3}})
    ReadingsTable(table_name=TABLE, credentials=credentials, sender="boto3").write([rows(3)], on_unanswered=unanswered)
    assert (2, 1) == (server.table.requests, unanswered.count)


def test_answers_are_not_reported_whatever_they_say(table: ReadingsTable, server: CountingServer) -> None:
    unanswered = Calls()
    server.behave(script=["400 ThrottlingException", "400 ExpiredTokenException"], unprocessed_share=0.2)
    assert 500 == table.write([rows(500)], on_unanswered=unanswered)
    assert contents(rows(500)) == server.table.contents()
    server.behave(refused_value="2.10")
    with pytest.raises(RowRefusedError):
        table.write([rows(3)], on_unanswered=unanswered)
    assert 0 == unanswered.count


def test_a_connection_that_was_never_made_is_not_reported_but_waited_for(sender: Any) -> None:  # noqa: ANN401 - a literal
    unanswered = Calls()
    credentials = credentials_for("http://127.0.0.1:9")
    table = ReadingsTable(table_name=TABLE, credentials=credentials, patience_seconds=0.1, sender=sender)
    with pytest.raises(TableUnreachableError):
        table.write([rows(3)], on_unanswered=unanswered)
    assert 0 == unanswered.count


def test_a_request_that_is_cancelled_because_the_load_ends_is_reported(
    make_table: MakeTable, server: CountingServer
) -> None:
    unanswered = Calls()
    server.behave(script=["hang", "400 AccessDeniedException"])
    with pytest.raises(PermissionMissingError):
        make_table({"read_timeout": 2}).write([rows(50)], on_unanswered=unanswered)
    assert unanswered.count > 0
    boto3_threads_have_ended()


def test_a_load_that_ends_with_an_answer_reports_nothing(table: ReadingsTable, server: CountingServer) -> None:
    unanswered = Calls()
    server.behave(script=["400 AccessDeniedException"])
    with pytest.raises(PermissionMissingError):
        table.write([rows(3)], on_unanswered=unanswered)
    assert 0 == unanswered.count


def test_botocore_does_not_try_again_for_a_load_that_has_ended(server: CountingServer) -> None:
    server.behave(script=["hang", "400 AccessDeniedException"])
    credentials = credentials_for(server.endpoint_url, {"read_timeout": 0.3, "retries": {"max_attempts": 3}})
    table = ReadingsTable(table_name=TABLE, credentials=credentials, sender="boto3")
    with pytest.raises(PermissionMissingError):
        table.write([rows(50)])
    boto3_threads_have_ended()
    assert 2 == server.table.requests
