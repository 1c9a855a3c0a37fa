"""A file was announced and no run starts: what the doctor finds about automations, the work pool and deployments."""

import pytest
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.events.schemas.automations import AutomationCore

from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import FILES_QUEUE, WORK_POOL
from deployments.server.crash_automation import AUTOMATION
from deployments.server.deploy import deploy_all
from deployments.settings import POOL_LIMIT
from tests.deployments.doctor.problems import assert_problem, assert_warning, repaired_by
from tests.support.deployed_system import DeployedSystem


@pytest.mark.parametrize(
    ("check", "name", "seen"),
    [
        ("automation sensor files arrived", "sensor files arrived", "announced files start no run"),
        ("automation resume", "sensor-ingest: resume notify-after-600s", "emails leave late"),
        ("automation crash", AUTOMATION, "keep their slots"),
    ],
)
def test_an_automation_that_is_disabled_and_one_that_was_deleted(
    deployed_system: DeployedSystem, check: str, name: str, seen: str
) -> None:
    [automation] = deployed_system.prefect.read_automations_by_name(name)
    deployed_system.prefect.pause_automation(automation.id)
    disabled = deployed_system.result_of(check)
    deployed_system.prefect.delete_automation(automation.id)
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    with repaired_by(lambda: deployed_system.prefect.create_automation(core.model_copy(update={"enabled": True}))):
        deleted = deployed_system.result_of(check)
    assert_problem(disabled, "it is disabled", "prefect automation resume")
    assert seen in disabled.seen
    assert_problem(deleted, "", "sensor-ingest deploy")


def test_an_automation_that_was_changed(deployed_system: DeployedSystem) -> None:
    [automation] = deployed_system.prefect.read_automations_by_name("sensor files arrived")
    core = AutomationCore.model_validate(automation.model_dump(exclude={"id", "owner_resource"}))
    other = core.model_copy(update={"trigger": core.trigger.model_copy(update={"expect": {"something.else"}})})
    deployed_system.prefect.update_automation(automation.id, other)
    with repaired_by(lambda: deployed_system.prefect.update_automation(automation.id, core)):
        found = deployed_system.result_of("automation sensor files arrived")
    assert_problem(found, "differs from prefect.yaml", "sensor-ingest deploy")


def test_a_pool_without_a_worker_and_one_that_is_paused(deployed_system: DeployedSystem) -> None:
    deployed_system.prefect.request("DELETE", f"/work_pools/{WORK_POOL}/workers/tested")  # type: ignore[arg-type]
    assert_problem(
        deployed_system.result_of("worker"), "no worker has ever connected", f"prefect worker start --pool {WORK_POOL}"
    )
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    with repaired_by(lambda: deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))):
        assert_problem(deployed_system.result_of("work pool"), "is paused", f"prefect work-pool resume {WORK_POOL}")


def test_a_pool_whose_limit_may_block_a_sweep(deployed_system: DeployedSystem) -> None:
    deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=2))
    with repaired_by(
        lambda: deployed_system.prefect.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=POOL_LIMIT))
    ):
        found = deployed_system.result_of("work pool")
    assert_warning(found, "limit of 2", f"prefect work-pool set-concurrency-limit {WORK_POOL} {POOL_LIMIT}")


def test_a_queue_that_is_missing_and_one_without_a_limit(deployed_system: DeployedSystem) -> None:
    queue = deployed_system.prefect.read_work_queue_by_name(FILES_QUEUE, work_pool_name=WORK_POOL)

    def change(**changes: object) -> None:
        deployed_system.prefect.request("PATCH", f"/work_queues/{queue.id}", json=changes)  # type: ignore[arg-type]

    with repaired_by(lambda: change(name=FILES_QUEUE, concurrency_limit=RUNS_AT_ONCE)):
        change(concurrency_limit=None)
        unlimited = deployed_system.result_of("work pool")
        change(name="renamed", concurrency_limit=RUNS_AT_ONCE)
        missing = deployed_system.result_of("work pool")
    for found in (unlimited, missing):
        assert_problem(found, "its queue files is missing or has no limit", "`sensor-ingest deploy`")


def test_a_concurrency_limit_of_the_deployment_is_found_and_deploying_removes_it(
    deployed_system: DeployedSystem,
) -> None:
    name = "deployment ingest-sensor-files"
    url = f"/deployments/{deployed_system.deployment_id('ingest-sensor-files')}"
    options = {"collision_strategy": "ENQUEUE"}
    deployed_system.prefect.request("PATCH", url, json={"concurrency_limit": 2, "concurrency_options": options})  # type: ignore[arg-type]
    with repaired_by(deploy_all):
        limited = deployed_system.result_of(name)
    assert_problem(limited, "it has a concurrency limit", "`sensor-ingest deploy` removes it")
    assert "ok" == deployed_system.result_of(name).level
    assert not [each for each in deployed_system.prefect.read_global_concurrency_limits() if "deployment" in each.name]


def test_a_deployment_that_is_paused_changed_or_missing(deployed_system: DeployedSystem) -> None:
    found = deployed_system.prefect.read_deployment_by_name("sweep/sweep")
    deployed_system.prefect.pause_deployment(found.id)
    with repaired_by(lambda: deployed_system.prefect.resume_deployment(found.id)):
        paused = deployed_system.result_of("deployment sweep")
    [schedule] = found.schedules
    deployed_system.prefect.update_deployment_schedule(found.id, schedule.id, active=False)
    with repaired_by(lambda: deployed_system.prefect.update_deployment_schedule(found.id, schedule.id, active=True)):
        inactive = deployed_system.result_of("deployment sweep")
    deployed_system.prefect.update_deployment(found.id, DeploymentUpdate(entrypoint="flows.other.other"))
    changed = deployed_system.result_of("deployment sweep")
    deployed_system.prefect.delete_deployment(found.id)

    def repair() -> None:
        deployed_system.prefect.create_deployment(
            flow_id=found.flow_id,
            name=found.name,
            work_pool_name=found.work_pool_name,
            entrypoint=found.entrypoint,
            schedules=[{"schedule": each.schedule.model_dump(), "active": True} for each in found.schedules],  # type: ignore[misc]
        )

    with repaired_by(repair):
        missing = deployed_system.result_of("deployment sweep")
    assert_problem(paused, "it is paused", f"prefect api POST /deployments/{found.id}/resume_deployment")
    inactive_remedy = f"prefect deployment schedule resume sweep/sweep {schedule.id}"
    assert_problem(inactive, "its schedule is inactive", inactive_remedy)
    assert_problem(
        changed, "flows.other.other on the server, flows.sweep.sweep in prefect.yaml", "sensor-ingest deploy"
    )
    assert_problem(missing, "sweep/sweep does not exist", "sensor-ingest deploy")
