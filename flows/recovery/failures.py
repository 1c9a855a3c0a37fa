"""What an error means: whether the step is tried again, and whether the file is to blame.

The errors of this project say it in their class. What other libraries raise is judged here, in one place.
"""

import errno
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from httpx import HTTPError
from prefect.exceptions import PrefectException

from blocks.domain.errors import SensorIngestError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

_OF_THE_SURROUNDINGS: Final = (BotoCoreError, ClientError, PrefectException, HTTPError, OSError)
"""Errors of AWS, Prefect or the machine, which any file would have met."""

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the machine that one huge file causes, for itself and for the files beside it."""


def is_retryable(error: object) -> bool:
    """Whether the same step may succeed a little later: all errors but those of this project that say no."""
    return error.retryable if isinstance(error, SensorIngestError) else True


def blames_file(error: BaseException) -> bool:
    """Whether a load that ended with this error counts against the file.

    An end that was asked for, such as SIGTERM to the run, does not count. A full disk does: the huge file that fills it
    is then soon tried alone.
    """
    if isinstance(error, SensorIngestError):
        return error.blames_file
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return isinstance(error, Exception) and not isinstance(error, _OF_THE_SURROUNDINGS)


def retry_condition(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    """Whether Prefect runs the task again: the `retry_condition_fn` of all tasks that can fail for a moment."""
    return is_retryable(state.result(raise_on_failure=False))
