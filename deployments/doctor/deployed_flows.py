"""Checks of the deployments: on the server, active, and as `prefect.yaml` describes them."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from blocks.domain.names import deployment_name
from deployments.doctor.check_results import Check, CheckResult, ok, problem
from deployments.doctor.system import InspectedSystem
from deployments.server.prefect_yaml import prefect_yaml


def deployment(described: Mapping[str, Any], system: InspectedSystem) -> CheckResult:
    """The deployment exists as its entry of `prefect.yaml` describes it, and is not paused."""
    name = deployment_name(described["name"])
    try:
        found = system.deployment(described)
    except ObjectNotFound:
        return problem(f"{name} does not exist", "`sensor-ingest deploy`")
    if found.paused:
        remedy = f"prefect api POST /deployments/{found.id}/resume_deployment"  # `deploy` does not resume it
        return problem("it is paused, so its schedule creates no runs", remedy)
    if found.global_concurrency_limit:  # of version 0.1, or set by a person
        seen = "it has a concurrency limit, whose lease ends long runs when the server restarts"
        return problem(seen, "`sensor-ingest deploy` removes it; set the limit of its work queue instead")
    crons = [each.schedule.cron for each in found.schedules if isinstance(each.schedule, CronSchedule)]
    compared = {
        "entrypoint": (found.entrypoint, described["entrypoint"]),
        "work pool": (found.work_pool_name, described["work_pool"]["name"]),
        "work queue": (found.work_queue_name, described["work_pool"].get("work_queue_name", "default")),
        "schedules": (sorted(crons), sorted(each["cron"] for each in described.get("schedules", []))),
    }
    for what, (actual, expected) in compared.items():
        if actual != expected:
            return problem(f"{what}: {actual} on the server, {expected} in prefect.yaml", "`sensor-ingest deploy`")
    for schedule in found.schedules:
        if not schedule.active:
            return problem("its schedule is inactive", f"prefect deployment schedule resume {name} {schedule.id}")
    return ok(f"{found.entrypoint} on {found.work_pool_name}")


def checks() -> list[Check]:
    """One check per deployment of `prefect.yaml`."""
    return [
        Check(f"deployment {described['name']}", partial(deployment, described), ("prefect api",))
        for described in prefect_yaml()["deployments"]
    ]
