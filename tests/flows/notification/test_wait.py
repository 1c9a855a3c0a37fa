"""The wait before the email: one automation for each wait, and what happens where a server refuses it."""

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectHTTPStatusError

from blocks.domain.models import Notification
from blocks.file_ledger import FileLedger
from flows.notification import wait
from flows.notification.wait import ensure_resume_automation, send_later, wait_tag
from flows.notify import notify
from tests.flows.notification.waiting_emails import deployed, report, state_of, waiting
from tests.support.world import World


@pytest.mark.usefixtures("world")
def test_each_distinct_wait_has_one_automation_however_often_it_is_used() -> None:
    with get_client(sync_client=True) as client:
        for wait_seconds in (11, 12, 11.0, 12, 11):
            ensure_resume_automation(client, wait_seconds)
        names = [
            automation.name for automation in client.read_automations_by_name("sensor-ingest: resume notify-after-11s")
        ]
    assert ["sensor-ingest: resume notify-after-11s"] == names


@pytest.mark.parametrize(
    ("tag", "wait_seconds"),
    [
        ("notify-after-600s", 600),
        ("notify-after-600s", 600.0),
        ("notify-after-0.5s", 0.5),
        ("notify-after-2592000s", 2592000),
    ],
)
def test_runs_that_are_paused_for_the_same_time_carry_the_same_tag(tag: str, wait_seconds: float) -> None:
    assert tag == wait_tag(wait_seconds)


def test_where_the_server_refuses_the_automation_the_email_is_scheduled(
    world: World, ledger: FileLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Prefect Cloud does for a service account that may not make automations."""

    def refuse(*_: object) -> str:
        answer = httpx.Response(403, request=httpx.Request("POST", "http://127.0.0.1/api/automations"))
        raise PrefectHTTPStatusError("no", request=answer.request, response=answer)

    @flow
    def ingest() -> Notification:
        return send_later([report(world, "no-automation")], 600, notify, "no-automation")

    waiting(world, ledger, "no-automation", None)
    monkeypatch.setattr(wait, "ensure_resume_automation", refuse)
    with deployed(), monkeypatch.context() as patch:
        patch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "of the ingest run")
        notification = ingest()
        assert StateType.SCHEDULED == state_of(notification.flow_run_id)
    assert notification.flow_run_id == ledger.email("no-automation").flow_run_id
