"""Check of warm starts: whether the processes of runs are forked, if the command of the work pool asks for that."""

from typing import Final

from blocks.domain.names import WORK_POOL
from deployments.doctor.check_results import Check, CheckResult, ok, warning
from deployments.doctor.system import InspectedSystem
from deployments.warm_starts.status import socket_of, status


def warm_starts(system: InspectedSystem) -> CheckResult:
    """The warm process answers and forks. Without it runs start all the same, seconds later."""
    socket = socket_of(system.prefect.read_work_pool(WORK_POOL).base_job_template)
    if socket is None:
        return ok("not used: each run starts an interpreter of its own")
    try:
        found = status(socket)
    except OSError as error:
        remedy = "on the machine of the worker: `systemctl start sensor-ingest-warm`, or `sensor-ingest up`"
        return warning(f"no warm process answers on {socket} ({error}), so runs start seconds later", remedy)
    if found.problem:
        return warning(f"runs start seconds later: {found.problem}", "see docs/how-to/warm-starts.md")
    return ok(f"{found.forked} runs forked, {found.running} of them running")


CHECKS: Final = (Check("warm starts", warm_starts, ("work pool",)),)
