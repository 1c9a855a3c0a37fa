"""Making the checks in their order, each only where what it needs is there."""

from collections.abc import Iterator
from typing import Final

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.domain.errors import SensorIngestError
from deployments.doctor import bucket, machine, mail, prefect_server, queue, tables
from deployments.doctor.findings import Check, Finding, Verdict, problem
from deployments.doctor.system import TIMEOUT_SECONDS, World

REFUSALS: Final = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "403"})
"""How AWS services say that a permission is missing."""


def all_checks() -> list[Check]:
    """All there are, in an order in which each comes after those that it needs."""
    return [
        *machine.CHECKS,
        *prefect_server.checks(),
        *bucket.CHECKS,
        *queue.CHECKS,
        *tables.CHECKS,
        *mail.CHECKS,
    ]


def examine(world: World | None = None, checks: list[Check] | None = None) -> Iterator[Finding]:
    """A finding for each check, or each of those given, as soon as it was made.

    None takes more than seconds, and nothing is changed.
    """
    world = world or World()
    fine: set[str] = set()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: TIMEOUT_SECONDS}):
        for check in all_checks() if checks is None else checks:
            lacking = [name for name in check.needs if name not in fine]
            verdict = (
                Verdict("not checked", f"not checked: needs {', '.join(lacking)}") if lacking else _made(check, world)
            )
            if verdict.level in ("ok", "warning"):
                fine.add(check.name)
            yield Finding(check.name, verdict.level, verdict.seen, verdict.remedy)


def _made(check: Check, world: World) -> Verdict:
    """The verdict of the check; what went wrong in making it is one, too."""
    try:
        return check.look(world)
    except ClientError as error:
        return _of_refusal(error)
    except BotoCoreError as error:
        return problem(str(error), "see that region, credentials and AWS_ENDPOINT_URL lead to where the stack is")
    except SensorIngestError as error:
        seen, _, remedy = str(error).partition(". ")
        return problem(seen, remedy)
    except (httpx.HTTPError, PrefectException) as error:
        said = str(error) or type(error).__name__
        return problem(f"the Prefect API did not answer as it should: {said}", "see the log of the Prefect server")
    except (ValueError, RuntimeError, KeyError) as error:
        return problem(f"{type(error).__name__}: {error}", "set right what the text names, then run this again")


def _of_refusal(error: ClientError) -> Verdict:
    said = error.response["Error"]
    if said["Code"] in REFUSALS:
        return problem(
            f"AccessDenied: AWS refused {error.operation_name}",
            f"grant the permission for {error.operation_name} to these credentials; what runs need is in the policies "
            "of deployments/aws/stack.yaml, so `aws cloudformation deploy` again if somebody has changed them",
        )
    return problem(f"{error.operation_name}: {said['Code']} {said.get('Message', '')}", "see docs/operations.md")
