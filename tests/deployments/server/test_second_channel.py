"""The recipe for a second channel, taken from the page and run, with a webhook of the test in Slack's place."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events import Event, Resource
from prefect.events.clients import get_events_client

from tests.support.pages import page
from tests.support.waiting import eventually

URI = "s3://bucket/incoming/sensors.csv"
SLACK = 'SlackWebhook(url="https://hooks.slack.com/services/YOUR/WEBHOOK/ADDRESS")'


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a server on loopback, and what was posted to it."""
    posted: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", posted
        finally:
            server.shutdown()
            thread.join()


async def emit(*names: str) -> None:
    async with get_events_client(checkpoint_every=1) as client:
        for name in names:
            await client.emit(Event(event=name, resource=Resource({"prefect.resource.id": URI})))


@pytest.fixture
def no_automation_remains(prefect_api: str) -> Iterator[None]:
    """Other tests use the same server, and settle files."""
    assert prefect_api
    with get_client(sync_client=True) as client:
        before = {each.id for each in client.read_automations()}
        yield
        for each in client.read_automations():
            if each.id not in before:
                client.delete_automation(each.id)


@pytest.mark.usefixtures("no_automation_remains")
def test_refused_and_failed_files_reach_the_channel_and_loaded_ones_do_not() -> None:
    [recipe] = [code for code in page("docs/how-to/monitor.md").code if "SendNotification" in code and "\n" in code]
    assert SLACK in recipe
    with webhook() as (url, posted):
        data = {"what": "{{subject}}", "text": "{{body}}"}
        channel = CustomWebhookNotificationBlock(name="channel", url=url, json_data=data, headers=None, cookies=None)
        exec(recipe.replace(SLACK, "channel_of_the_test"), {"channel_of_the_test": channel})  # noqa: S102 - from our page

        def is_posted() -> bool:
            # Prefect loads a new automation some time after it was created; until then it ignores events.
            asyncio.run(emit("sensor-file.loaded", "sensor-file.refused", "sensor-file.failed"))
            return {"sensor-file.refused", "sensor-file.failed"} <= {each["what"].strip() for each in posted}

        eventually(is_posted, 120, "messages about a refused and a failed file")
        assert {each["what"].strip() for each in posted} == {"sensor-file.refused", "sensor-file.failed"}
        assert {each["text"].strip() for each in posted} == {URI}
