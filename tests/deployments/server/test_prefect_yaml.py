"""`prefect.yaml` and the code use the same names: after a rename in one of them a sweep would see no runs."""

from importlib import import_module

import pytest

from blocks.domain.names import (
    DEPLOYMENT_TAG,
    EMAILS_QUEUE,
    FILES_ARRIVED,
    FILES_QUEUE,
    INGEST_FLOW,
    NOTIFY_FLOW,
    SWEEP_FLOW,
    WORK_POOL,
)
from deployments.server.prefect_yaml import prefect_yaml

DEPLOYMENTS = {described["name"]: described for described in prefect_yaml()["deployments"]}


def test_there_is_one_deployment_for_each_flow() -> None:
    assert {INGEST_FLOW, NOTIFY_FLOW, SWEEP_FLOW} == DEPLOYMENTS.keys()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_is_named_like_the_flow_at_its_entrypoint(name: str) -> None:
    module, _, attribute = DEPLOYMENTS[name]["entrypoint"].rpartition(".")
    assert name == getattr(import_module(module), attribute).name


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_all_deployments_have_the_pool_and_the_tag_of_the_project(name: str) -> None:
    assert (WORK_POOL, [DEPLOYMENT_TAG]) == (DEPLOYMENTS[name]["work_pool"]["name"], DEPLOYMENTS[name]["tags"])


def test_files_and_emails_have_work_queues_of_their_own() -> None:
    queues = {name: described["work_pool"].get("work_queue_name") for name, described in DEPLOYMENTS.items()}
    assert {INGEST_FLOW: FILES_QUEUE, NOTIFY_FLOW: EMAILS_QUEUE, SWEEP_FLOW: None} == queues


def test_the_trigger_of_the_ingest_deployment_expects_the_event_that_the_relay_sends() -> None:
    assert [[FILES_ARRIVED]] == [trigger["expect"] for trigger in DEPLOYMENTS[INGEST_FLOW]["triggers"]]
