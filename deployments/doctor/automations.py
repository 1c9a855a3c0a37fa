"""Checks of the automations: the triggers of `prefect.yaml`, the one that resumes emails, the one for silent runs."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from prefect.events import DeploymentTriggerTypes
from prefect.events.schemas.automations import Automation, EventTrigger
from pydantic import TypeAdapter

from blocks.domain.names import INGEST_FLOW
from deployments.doctor.check_results import Check, CheckResult, ok, problem
from deployments.doctor.system import InspectedSystem
from deployments.server.crash_automation import AUTOMATION
from deployments.server.prefect_yaml import prefect_yaml
from flows.notification.wait import SHORTEST_PAUSE_SECONDS, wait_tag

_DEPLOY: Final = "`sensor-ingest deploy`"


def trigger(described: Mapping[str, Any], trigger: Mapping[str, Any], system: InspectedSystem) -> CheckResult:
    """The automation of the deployment's trigger exists as `prefect.yaml` describes it, and is enabled."""
    expected_trigger: Any = TypeAdapter(DeploymentTriggerTypes).validate_python(dict(trigger))
    expected_trigger.set_deployment_id(system.deployment(described).id)
    expected = expected_trigger.as_automation()
    named = [each for each in system.automations if each.name == expected.name]
    if not named:
        return problem("it does not exist, so announced files start no run", _DEPLOY)
    equal = [each for each in named if _trigger_and_actions(each) == _trigger_and_actions(expected)]
    if not equal:
        return problem("its trigger or action differs from prefect.yaml", _DEPLOY)
    return _enabled(equal, "it is disabled, so announced files start no run")


def _trigger_and_actions(automation: Any) -> tuple[Any, Any]:  # noqa: ANN401 - Automation or AutomationCore
    actions = [action.model_dump(exclude={"id"}) for action in automation.actions]
    return automation.trigger.model_dump(exclude={"id"}), actions


def resume(system: InspectedSystem) -> CheckResult:
    """The automation that resumes paused emails exists for the wait of the deployed runs, and is enabled."""
    ingest = next(each for each in prefect_yaml()["deployments"] if each["name"] == INGEST_FLOW)
    configured = system.deployment(ingest).parameters.get("notify_after_seconds")
    seconds = system.settings.notify_after_seconds if configured is None else float(configured)
    if seconds < SHORTEST_PAUSE_SECONDS:
        return ok(f"not needed for a wait of {seconds:g} s: the email is scheduled")
    found = [each for each in system.automations if _resumes(each, f"prefect.tag.{wait_tag(seconds)}")]
    if not found:
        return problem(f"no automation resumes the emails of runs that wait {seconds:g} s: they stay paused", _DEPLOY)
    correct = [each for each in found if _within(each) == timedelta(seconds=seconds)]
    if not correct:
        remedy = f"delete the automation {found[0].name!r}, then {_DEPLOY}"
        return problem(f"{found[0].name!r} waits for {_within(found[0])}, not {seconds:g} s", remedy)
    return _enabled(correct, "it is disabled, so emails leave late: when the relay or the sweep finds them overdue")


def _resumes(automation: Automation, tag: str) -> bool:
    related = automation.trigger.match_related if isinstance(automation.trigger, EventTrigger) else None
    tagged = related.root.get("prefect.resource.id") if related and hasattr(related, "root") else None
    return tagged in (tag, [tag]) and any(action.type == "resume-flow-run" for action in automation.actions)


def _within(automation: Automation) -> timedelta | None:
    return automation.trigger.within if isinstance(automation.trigger, EventTrigger) else None


def crash(system: InspectedSystem) -> CheckResult:
    """The automation that crashes silent runs exists and is enabled."""
    found = [each for each in system.automations if each.name == AUTOMATION]
    if not found:
        return problem("it does not exist, so silent runs keep their slots", _DEPLOY)
    return _enabled(found, "it is disabled, so silent runs keep their slots")


def _enabled(automations: list[Automation], otherwise: str) -> CheckResult:
    if not any(each.enabled for each in automations):
        return problem(otherwise, f"prefect automation resume {automations[0].name!r}")
    return ok("enabled")


def checks() -> list[Check]:
    """One check per trigger of `prefect.yaml`, and the two automations that `deploy` creates."""
    triggers = [
        Check(f"automation {each['name']}", partial(trigger, described, each), (f"deployment {described['name']}",))
        for described in prefect_yaml()["deployments"]
        for each in described.get("triggers", [])
    ]
    return [
        *triggers,
        Check("automation resume", resume, (f"deployment {INGEST_FLOW}",)),
        Check("automation crash", crash, ("prefect api",)),
    ]
