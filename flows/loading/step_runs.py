"""The steps of a file as task runs of their own, in a run of few files; within one that files share, in a run of many.

A task run costs its process and the Prefect server some 10 ms of a core each, as much as most steps take, and thousands
are too many to look through. Retries are the same either way.
"""

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from prefect import Task
from prefect.states import Failed

from blocks.runtime import runtime

FILES_WITH_STEPS: Final = 20
"""Runs of up to so many files show each step of each file in the Prefect UI."""

P = ParamSpec("P")
R = TypeVar("R")


def as_task_run(step: Task[P, R]) -> Callable[P, R]:
    """The step as a task run of its own."""
    return step


def within_task_run(step: Task[P, R]) -> Callable[P, R]:
    """The step without a task run of its own, with the retries of its task.

    Raises:
        TypeError: the task has retries, but its `retry_delay_seconds` is not a list of so many pauses.
    """
    pauses = step.retry_delay_seconds if step.retries else []
    if not isinstance(pauses, list) or len(pauses) != (step.retries or 0):
        raise TypeError(f"{step.name}: retry_delay_seconds must be a list of {step.retries} pauses")

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        for pause in pauses:
            try:
                return step.fn(*args, **kwargs)
            except Exception as error:
                if not _is_retried(step, error):
                    raise
                runtime().log().warning("%s: %s - trying again in %g s", step.name, error, pause)
                runtime().sleep(pause)
        return step.fn(*args, **kwargs)

    return run


def _is_retried(step: Task[P, R], error: Exception) -> bool:
    condition = step.retry_condition_fn
    return condition is None or bool(condition(step, None, Failed(data=error)))  # type: ignore[arg-type] # our conditions use no run
