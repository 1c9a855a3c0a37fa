"""Runs the checks in order; a check is skipped if one that it needs has a problem."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.domain.errors import SensorIngestError
from deployments.doctor import (
    automations,
    bucket,
    deployed_flows,
    feeds,
    machine,
    mail,
    queue,
    saved_blocks,
    server,
    tables,
    warm_starts,
)
from deployments.doctor.check_results import Check, CheckResult, not_checked, problem
from deployments.doctor.system import TIMEOUT_SECONDS, InspectedSystem

_ACCESS_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"})
"""Error codes of AWS services for a missing permission."""


def all_checks() -> list[Check]:
    """All checks, each after those that it needs."""
    return [
        *machine.CHECKS,
        *server.CHECKS,
        *warm_starts.CHECKS,
        *deployed_flows.checks(),
        *automations.checks(),
        *saved_blocks.CHECKS,
        *bucket.CHECKS,
        *queue.CHECKS,
        *tables.CHECKS,
        *feeds.CHECKS,
        *mail.CHECKS,
    ]


def run_checks(system: InspectedSystem | None = None, checks: list[Check] | None = None) -> Iterator[CheckResult]:
    """The result of each check (by default of all), as soon as it is available.

    A check takes seconds at most and changes nothing.
    """
    system = system or InspectedSystem()
    passed: set[str] = set()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: TIMEOUT_SECONDS}):
        for check in all_checks() if checks is None else checks:
            missing = [name for name in check.needs if name not in passed]
            result = not_checked(", ".join(missing)) if missing else _run(check, system)
            if result.level in ("ok", "warning"):
                passed.add(check.name)
            yield replace(result, name=check.name)


def _run(check: Check, system: InspectedSystem) -> CheckResult:
    """The result of the check; an expected exception becomes a problem."""
    try:
        return check.run(system)
    except ClientError as error:
        return _aws_error(error)
    except BotoCoreError as error:
        return problem(str(error), "check that region, credentials and AWS_ENDPOINT_URL lead to the stack")
    except SensorIngestError as error:
        seen, _, remedy = str(error).partition(". ")
        return problem(seen, remedy)
    except (httpx.HTTPError, PrefectException) as error:
        message = str(error) or type(error).__name__
        return problem(f"the call to the Prefect API failed: {message}", "see the log of the Prefect server")
    except Exception as error:  # noqa: BLE001 - whatever one check raises, the others are made
        return problem(f"{type(error).__name__}: {error}", "correct what the message names, then run the doctor again")


def _aws_error(error: ClientError) -> CheckResult:
    details = error.response["Error"]
    if details["Code"] in _ACCESS_DENIED:
        return problem(
            f"AccessDenied: AWS refused {error.operation_name}",
            f"grant the permission for {error.operation_name} to these credentials; the policies in "
            "deployments/aws/stack.yaml grant all that runs need, and `aws cloudformation deploy` restores them",
        )
    message = f"{error.operation_name}: {details['Code']} {details.get('Message', '')}"
    return problem(message, "see docs/reference/doctor.md")
