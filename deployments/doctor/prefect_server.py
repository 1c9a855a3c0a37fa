"""The Prefect side: server, pool, worker, and what `sensor-ingest deploy` puts on the server."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import prefect
from packaging.version import Version
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import DeploymentTriggerTypes
from prefect.events.schemas.automations import Automation, EventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import TypeAdapter

from blocks.aws_block import AwsBlock
from blocks.domain.limits import RUNS_AT_ONCE
from blocks.domain.names import INGEST_FLOW, deployment_name
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, BLOCK_TYPES
from deployments.doctor.findings import Check, Verdict, ok, problem, warning
from deployments.doctor.system import World
from deployments.server.api_access import refusals_explained
from deployments.server.crash_automation import AUTOMATION
from deployments.server.prefect_yaml import prefect_yaml
from deployments.settings import EMAILS_AT_ONCE, POOL_LIMIT
from flows.notification.wait import SHORTEST_PAUSE_SECONDS, wait_tag

_DEPLOY: Final = "`sensor-ingest deploy`"
_WORKED_BY_WORKERS: Final = frozenset({"process", "ecs", "docker", "kubernetes"})
"""Types of pools whose runs get this project from their machine or image; others would have to fetch it."""


def api(world: World) -> Verdict:
    """The server answers, and takes the credentials."""
    url = get_current_settings().api.url
    if url is None:
        return problem("PREFECT_API_URL is not set", 'set it, or: eval "$(sensor-ingest env)" for the embedded stack')
    error = world.prefect.api_healthcheck()
    if error is not None:
        return problem(
            f"{url} does not answer: {str(error) or type(error).__name__}",
            "start the server (`prefect server start`, or `sensor-ingest up`), or set PREFECT_API_URL right",
        )
    with refusals_explained():  # it tells everybody that it is healthy
        world.prefect.api_version()
    return ok(url)


def server_version(world: World) -> Verdict:
    """Server and client are of one minor version."""
    server, client = Version(world.prefect.api_version()), Version(prefect.__version__)
    if server.release[:2] != client.release[:2]:
        return warning(f"server {server}, client {client}", "bring both to the version of requirements.lock")
    return ok(f"server {server}, client {client}")


# ---- Pool and worker ----------------------------------------------------------------------------------------------


def _pool() -> str:
    names: set[str] = {deployment["work_pool"]["name"] for deployment in prefect_yaml()["deployments"]}
    return min(names)


def work_pool(world: World) -> Verdict:
    """The pool, neither it nor a queue of it paused."""
    try:
        pool = world.prefect.read_work_pool(_pool())
    except ObjectNotFound:
        return problem(f"there is no work pool {_pool()}", _DEPLOY)
    if pool.is_paused:
        return problem(f"{pool.name} is paused, so no run begins", f"prefect work-pool resume {pool.name}")
    paused = [queue.name for queue in world.prefect.read_work_queues(pool.name) if queue.is_paused]
    if paused:
        remedy = f"prefect work-queue resume {paused[0]} --pool {pool.name}"
        return problem(f"its queue {', '.join(paused)} is paused, so no run begins", remedy)
    if pool.type not in _WORKED_BY_WORKERS:
        remedy = "see that its runs have this project installed, or make a process pool of that name"
        return warning(f"{pool.name} is of type {pool.type}", remedy)
    needed = RUNS_AT_ONCE + EMAILS_AT_ONCE + 1
    if pool.concurrency_limit is not None and pool.concurrency_limit < needed:
        remedy = f"prefect work-pool set-concurrency-limit {pool.name} {POOL_LIMIT}"
        return warning(f"its limit of {pool.concurrency_limit} may leave a sweep no room: {needed} can be due", remedy)
    return ok(f"{pool.name}, type {pool.type}")


def worker(world: World) -> Verdict:
    """Somebody takes runs."""
    found = world.prefect.read_workers_for_work_pool(_pool())
    online = [each.name for each in found if each.status == "ONLINE"]
    if not online:
        seen = f"none of {len(found)} is online" if found else "none was ever seen"
        return problem(f"{seen}, so no run begins", f"prefect worker start --pool {_pool()}")
    return ok(f"{', '.join(online)} online")


# ---- Deployments and automations ------------------------------------------------------------------------------------


def deployment(described: Mapping[str, Any]) -> Callable[[World], Verdict]:
    """A check that the deployment is on the server as `prefect.yaml` has it."""

    def look(world: World) -> Verdict:
        name = deployment_name(described["name"])
        try:
            found = world.deployment(described)
        except ObjectNotFound:
            return problem(f"{name} is not there", _DEPLOY)
        if found.paused:
            remedy = f"prefect api POST /deployments/{found.id}/resume_deployment"  # `deploy` leaves it paused
            return problem("it is paused, so its schedule makes no runs", remedy)
        limit = found.global_concurrency_limit
        compared = {
            "entrypoint": (found.entrypoint, described["entrypoint"]),
            "work pool": (found.work_pool_name, described["work_pool"]["name"]),
            "concurrency limit": (limit.limit if limit else None, _limit(described)),
            "schedules": (
                sorted(each.schedule.cron for each in found.schedules if isinstance(each.schedule, CronSchedule)),
                sorted(each["cron"] for each in described.get("schedules", [])),
            ),
        }
        for what, (there, asked) in compared.items():
            if there != asked:
                return problem(f"{what}: {there} on the server, {asked} in prefect.yaml", _DEPLOY)
        for schedule in found.schedules:
            if not schedule.active:
                remedy = f"prefect deployment schedule resume {name} {schedule.id}"
                return problem("its schedule is switched off", remedy)
        return ok(f"{found.entrypoint} on {found.work_pool_name}")

    return look


def _limit(described: Mapping[str, Any]) -> int | None:
    asked = described.get("concurrency_limit")
    return asked["limit"] if isinstance(asked, dict) else asked


def trigger(described: Mapping[str, Any], triggered_by: Mapping[str, Any]) -> Callable[[World], Verdict]:
    """A check that the automation of a deployment's trigger is on the server, enabled, as `prefect.yaml` has it."""

    def look(world: World) -> Verdict:
        asked: Any = TypeAdapter(DeploymentTriggerTypes).validate_python(dict(triggered_by))
        asked.set_deployment_id(world.deployment(described).id)
        expected = asked.as_automation()
        named = [each for each in world.automations if each.name == expected.name]
        if not named:
            return problem("it is not there, so announced files start no run", _DEPLOY)
        same = [each for each in named if _does(each) == _does(expected)]
        if not same:
            return problem("its trigger or action is another than that of prefect.yaml", _DEPLOY)
        return _enabled(same, "it is disabled, so announced files start no run")

    return look


def _does(automation: Any) -> tuple[Any, Any]:  # noqa: ANN401 - one that is there, or one to be made
    left_out = {"id"}
    actions = [action.model_dump(exclude=left_out) for action in automation.actions]
    return automation.trigger.model_dump(exclude=left_out), actions


def resume(world: World) -> Verdict:
    """The automation that ends the wait that deployed runs have."""
    ingest = next(each for each in prefect_yaml()["deployments"] if each["name"] == INGEST_FLOW)
    configured = world.deployment(ingest).parameters.get("notify_after_seconds")
    seconds = world.settings.notify_after_seconds if configured is None else float(configured)
    if seconds < SHORTEST_PAUSE_SECONDS:
        return ok(f"a wait of {seconds:g} s needs none: the email is scheduled")
    wanted = f"prefect.tag.{wait_tag(seconds)}"
    found = [each for each in world.automations if _resumes(each, wanted)]
    if not found:
        return problem(f"none resumes the emails of runs that wait {seconds:g} s, so they stay paused", _DEPLOY)
    right = [each for each in found if _within(each) == timedelta(seconds=seconds)]
    if not right:
        remedy = f"delete the automation {found[0].name!r}, then {_DEPLOY}"
        return problem(f"{found[0].name!r} waits for {_within(found[0])}, not {seconds:g} s", remedy)
    return _enabled(right, "it is disabled, so emails stay paused until the sweep resumes them")


def _resumes(automation: Automation, tag: str) -> bool:
    related = automation.trigger.match_related if isinstance(automation.trigger, EventTrigger) else None
    tagged = related.root.get("prefect.resource.id") if related and hasattr(related, "root") else None
    return tagged in (tag, [tag]) and any(action.type == "resume-flow-run" for action in automation.actions)


def _within(automation: Automation) -> timedelta | None:
    return automation.trigger.within if isinstance(automation.trigger, EventTrigger) else None


def crash(world: World) -> Verdict:
    """The automation that ends runs whose process is gone."""
    found = [each for each in world.automations if each.name == AUTOMATION]
    if not found:
        return problem("none ends runs whose process is gone, so they keep their slots", _DEPLOY)
    return _enabled(found, "it is disabled, so runs whose process is gone keep their slots")


def _enabled(automations: list[Automation], otherwise: str) -> Verdict:
    if not any(each.enabled for each in automations):
        return problem(otherwise, f"prefect automation resume {automations[0].name!r}")
    return ok("enabled")


# ---- Blocks ---------------------------------------------------------------------------------------------------------


def block(block_type: type[AwsBlock]) -> Callable[[World], Verdict]:
    """A check that the block is saved, and says what the stack says."""

    def look(world: World) -> Verdict:
        saved = world.load(block_type)
        if saved is None:
            return problem(f"it is not saved under the name {BLOCK_NAME}", _DEPLOY)
        return ok("saved")

    return look


def block_matches(block_type: type[AwsBlock]) -> Callable[[World], Verdict]:
    """A check that the saved block leads to what the stack made."""

    def look(world: World) -> Verdict:
        saved, outputs = world.blocks[block_type], world.outputs
        region = saved.credentials.region_name
        if region not in (None, outputs.region):
            return problem(f"its region is {region}, the stack's is {outputs.region}", f"{_DEPLOY}, or edit the block")
        match saved:
            case LandingZone():
                compared = [
                    ("bucket", saved.bucket, outputs.bucket_name),
                    ("incoming prefix", saved.incoming_prefix, outputs.incoming_prefix),
                ]
            case ReadingsTable():
                compared = [("table", saved.table_name, outputs.readings_table_name)]
            case FileLedger():
                compared = [("table", saved.table_name, outputs.files_table_name)]
            case _:
                compared = []
        for what, there, made in compared:
            if there != made:
                return problem(f"its {what} is {there}, the stack's is {made}", f"{_DEPLOY}, or edit the block")
        if isinstance(saved, Mailer) and saved.sender != outputs.sender_address:
            remedy = "edit the block, or deploy the stack with that SenderAddress: the run role may send as no other"
            return warning(f"its sender is {saved.sender}, the stack's is {outputs.sender_address}", remedy)
        return ok("as the stack has it")

    return look


def checks() -> list[Check]:
    """The checks, of which there is one for each deployment and trigger of `prefect.yaml`."""
    found = [
        Check("prefect api", api),
        Check("prefect version", server_version, ("prefect api",)),
        Check("work pool", work_pool, ("prefect api",)),
        Check("worker", worker, ("work pool",)),
    ]
    for described in prefect_yaml()["deployments"]:
        name = f"deployment {described['name']}"
        found.append(Check(name, deployment(described), ("prefect api",)))
        found += [
            Check(f"automation {each['name']}", trigger(described, each), (name,))
            for each in described.get("triggers", [])
        ]
    found.append(Check("automation resume", resume, ("deployment ingest-sensor-files",)))
    found.append(Check("automation crash", crash, ("prefect api",)))
    for block_type in BLOCK_TYPES:
        name = f"block {block_type.get_block_type_slug()}"
        found += [
            Check(name, block(block_type), ("prefect api",)),
            Check(f"{name} contents", block_matches(block_type), (name, "stack")),
        ]
    return found
