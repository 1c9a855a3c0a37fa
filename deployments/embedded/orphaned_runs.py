"""Orphaned flow runs: the server shows them as alive, but the killed stack took their processes with it."""

from datetime import UTC, datetime
from typing import Any, Final

from blocks.domain.names import WORK_POOL
from deployments.embedded.description import StackDescription
from deployments.embedded.parts import Log
from deployments.embedded.services.prefect import ask

_STATES_WITH_PROCESS: Final = ("PENDING", "RUNNING", "CANCELLING")
"""Types of states in which a run has a process, or is about to get one."""


def end_orphaned_runs(stack: StackDescription, log: Log) -> None:
    """Set the state of each run of the work pool that has lost its process. Call it before the worker starts.

    At that time no run has a process: the start of the stack has ended all processes of the earlier one. Prefect 3.9.1
    would show these runs as running for ever, and each would keep its slot.

    Raises:
        OSError: the server does not respond, or responds with an error.
    """
    in_pool = {"name": {"any_": [WORK_POOL]}}
    with_process = {"state": {"type": {"any_": list(_STATES_WITH_PROCESS)}}}
    query = {"work_pools": in_pool, "flow_runs": with_process}
    resolved: set[str] = set()
    while runs := [run for run in ask(stack, "flow_runs/filter", query) if run["id"] not in resolved]:
        for run in runs:
            state = _new_state(run["state"]["type"])
            ask(stack, f"flow_runs/{run['id']}/set_state", {"state": state, "force": True})
            resolved.add(run["id"])
            log(f"run {run['name']} was {run['state']['name']} when the stack was killed; it is now {state['name']}")


def _new_state(state_type: str) -> dict[str, Any]:
    """Scheduled for a run that had not begun; a run that had begun is not repeated, as its flow decides on retries."""
    if state_type == "PENDING":
        return {
            "type": "SCHEDULED",
            "name": "Scheduled",
            "message": "The stack was killed before this run began.",
            "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
        }
    terminal = ("CANCELLED", "Cancelled") if state_type == "CANCELLING" else ("CRASHED", "Crashed")
    return {"type": terminal[0], "name": terminal[1], "message": "The stack was killed while this run had a process."}
