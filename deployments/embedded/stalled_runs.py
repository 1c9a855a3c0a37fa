"""Runs whose process was killed together with everything that could have said so."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from blocks.domain.names import WORK_POOL
from deployments.embedded.health import call

_ALIVE: Final = ("PENDING", "RUNNING", "CANCELLING")
"""Types of state in which a run has a process, or is about to have one."""


def settle_dead_runs(api_url: str, say: Callable[[str], None]) -> None:
    """Give every run of the work pool that seems alive the state that it has in truth, before there is a worker.

    A stack that starts has ended all that was left of the one before, so none of them has a process. Prefect 3.9.1
    would show them as running for ever, and count them as runs that use a slot.

    Raises:
        OSError: the server does not answer, or refuses.
    """
    in_pool = {"name": {"any_": [WORK_POOL]}}
    seems_alive = {"state": {"type": {"any_": list(_ALIVE)}}}
    asked = {"work_pools": in_pool, "flow_runs": seems_alive}
    settled: set[str] = set()
    while runs := [run for run in call(f"{api_url}/flow_runs/filter", asked) if run["id"] not in settled]:
        for run in runs:
            state = _true_state(run["state"]["type"])
            call(f"{api_url}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
            settled.add(run["id"])
            say(f"run {run['name']} was {run['state']['name']} when the stack was killed; it is {state['name']} now")


def _true_state(found: str) -> dict[str, Any]:
    """What has become of it: one that had not begun can begin again; begun ones are not, their flow decides on that."""
    if found == "PENDING":
        return {
            "type": "SCHEDULED",
            "name": "Scheduled",
            "message": "The stack was killed before this run began.",
            "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
        }
    ended = ("CANCELLED", "Cancelled") if found == "CANCELLING" else ("CRASHED", "Crashed")
    return {"type": ended[0], "name": ended[1], "message": "The stack was killed while this run had a process."}
