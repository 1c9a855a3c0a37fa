"""The event that files have arrived, as a Prefect server keeps it."""

import asyncio

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.domain.errors import ApiMissingError
from blocks.domain.models import SensorFile
from deployments.relay.relay import Relay
from flows.events.file_arrivals import announce, arrival_event
from tests.support.waiting import eventually

KEYS = ["incoming/a.csv", "incoming/b c+d%20.csv", "incoming/测试 😀.csv", 'incoming/"it\'s" {{ braces }}.csv']
FILES = [SensorFile(bucket="landing", key=key, version_id="v1", etag="e1", size=8, sequencer="0A") for key in KEYS]


def events_on_server(event_id: str) -> list[dict[str, object]]:
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": {"id": {"id": [event_id]}}})
        found: list[dict[str, object]] = answer.json()["events"]
    return found


@pytest.mark.usefixtures("prefect_api")
def test_what_was_announced_is_on_the_server_with_every_key_as_it_was() -> None:
    event_id = str(announce(FILES, "incoming/"))
    [event] = eventually(lambda: events_on_server(event_id), 60, "the event")
    assert ("sensor-files.arrived", "s3://landing/incoming/") == (
        event["event"],
        event["resource"]["prefect.resource.id"],  # type: ignore[index] # JSON
    )
    assert FILES == [SensorFile.model_validate(each) for each in event["payload"]["objects"]]  # type: ignore[index]


def test_the_same_arrivals_are_the_same_event_in_whatever_order_they_came() -> None:
    assert arrival_event(FILES, "incoming/").id == arrival_event(FILES[::-1], "incoming/").id


@pytest.mark.parametrize("changed", [{"key": "incoming/b.csv"}, {"version_id": "v2"}, {"sequencer": "0B"}])
def test_another_arrival_is_another_event(changed: dict[str, str]) -> None:
    other = [FILES[0].model_copy(update=changed)]
    assert arrival_event(FILES[:1], "incoming/").id != arrival_event(other, "incoming/").id


def test_files_that_are_announced_again_on_purpose_are_another_event() -> None:
    assert arrival_event(FILES, "incoming/").id != arrival_event(FILES, "incoming/", "a sweep").id


@pytest.mark.usefixtures("prefect_api")
def test_files_can_be_announced_where_an_event_loop_runs() -> None:
    async def in_a_loop() -> str:
        return str(announce(FILES[:1], "incoming/"))

    event_id = asyncio.run(in_a_loop())
    assert eventually(lambda: events_on_server(event_id), 60, "the event")


def test_a_server_that_is_not_there_makes_the_announcement_fail() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(OSError, match="9"):
        announce(FILES, "incoming/")


def test_a_relay_does_not_start_where_only_a_temporary_server_would_listen() -> None:
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ApiMissingError, match="PREFECT_API_URL is not set"),
    ):
        Relay.of_stack()
