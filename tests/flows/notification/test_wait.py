import pytest
from prefect.client.orchestration import get_client

from flows.notification.wait import ensure_resume_automation, wait_tag


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
