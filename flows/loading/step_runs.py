"""The steps of the work on a file: task runs of their own in a run of few files, parts of the file's in one of many.

A task run costs its process and the Prefect server some 30 ms of a core each, more than most steps take themselves; and
nobody looks through five task runs for each of 500 files. What is tried again, and when, is the same either way.
"""

import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from prefect import Task, get_run_logger
from prefect.states import Failed

FILES_WITH_STEPS: Final = 20
"""Up to so many files in a run, each step on each of them can be looked at in the Prefect UI."""

P = ParamSpec("P")
R = TypeVar("R")


def as_task_run(step: Task[P, R]) -> Callable[P, R]:
    """The step as a task run of its own."""
    return step


def within_task_run(step: Task[P, R]) -> Callable[P, R]:
    """The step without a task run: after the errors and the pauses of the task it is tried again in this one.

    Raises:
        TypeError: the task is to be tried again and does not list its pauses, so they would be missed here.
    """
    pauses = step.retry_delay_seconds if step.retries else []
    if not isinstance(pauses, list) or len(pauses) != (step.retries or 0):
        raise TypeError(f"{step.name}: retry_delay_seconds is to be a list of {step.retries} pauses")

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for pause in pauses:
            try:
                return step.fn(*args, **kwargs)
            except Exception as error:
                if not _is_retried(step, error):
                    raise
                get_run_logger().warning("%s: %s - trying again in %g s", step.name, error, pause)
                time.sleep(pause)
        return step.fn(*args, **kwargs)

    return run


def _is_retried(step: Task[P, R], error: Exception) -> bool:
    condition = step.retry_condition_fn
    return condition is None or bool(condition(step, None, Failed(data=error)))  # type: ignore[arg-type] # ours use no run
