"""Whether a step, a load or a file is tried again: what an error means, and when a file is given up.

The errors of this project say it in their class. What other libraries raise is judged here, in one place.
"""

import errno
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.exceptions import ConnectionError as NotConnectedError
from httpx import HTTPError
from prefect.exceptions import PrefectException

from blocks.domain.errors import SensorIngestError
from blocks.saved_blocks import run_blocks

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

    from blocks.domain.models import LedgerEntry

_OF_THE_SURROUNDINGS: Final = (BotoCoreError, ClientError, PrefectException, HTTPError, OSError)
"""Errors of AWS, Prefect or the machine, which any file would have met."""

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the machine that one huge file causes, for itself and for the files beside it."""

FEW_FILES: Final = 3
"""So many other files that wait or are being loaded are not yet a sign that something else than the file is wrong."""

_ARCHIVED: Final = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})
"""S3's codes for an object that is to be restored first.

Source: errors of GetObject and CopyObject, Amazon S3 API reference.
"""

_NEVER_CHANGES: Final = frozenset({"EntityTooLarge", "InvalidURI", "KeyTooLongError", "MetadataTooLarge"})
"""S3's codes for what the object itself is too large or too long for.

Source: "List of error codes", Amazon S3 API reference. Left out are all 4xx codes that time, a permission or a renewed
token may end: 403, 404, 408, 409, 412, 429, `ExpiredToken`, `InvalidToken`, `RequestTimeout`, `SlowDown`, `KMS.…`, and
`InvalidArgument` and `InvalidRequest`, which stand for too many things.
"""

_CUSTOMER_KEY: Final = "server side encryption"
"""Part of the message of `InvalidRequest` for an object with a customer's key, which has no code of its own.

S3 answers: "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to
retrieve the object." The clients of this project send no such parameters, so the message means nothing else here.
"""


def permanent_problem(error: object) -> str | None:
    """What is wrong and what to do, if no later load of the same version could end otherwise; None for other errors."""
    if isinstance(error, SensorIngestError):
        return str(error) if error.permanent else None
    if not isinstance(error, ClientError):
        return None
    code, message = (str(error.response["Error"].get(name, "")) for name in ("Code", "Message"))
    if code in _ARCHIVED:
        storage_class = error.response.get("StorageClass") or "an archive storage class"
        return (
            f"S3 keeps the object in {storage_class}, where it cannot be read. Restore it (`aws s3api "
            "restore-object`) and then run `sensor-ingest retry` with its address, or upload it again."
        )
    if code == "InvalidRequest" and _CUSTOMER_KEY in message.lower():
        return (
            "The object is encrypted with a key that only its sender has (SSE-C), so it cannot be read. "
            "Upload it again without such a key: S3 then encrypts it with a key of its own."
        )
    if code in _NEVER_CHANGES:
        return f"S3 refuses {error.operation_name} for good: {code}: {message.rstrip('.')}. Upload the file anew."
    return None


def is_retryable(error: object) -> bool:
    """Whether the same step may succeed a little later: true unless the error is permanent, or its class says no."""
    if isinstance(error, SensorIngestError):
        return error.retryable
    return permanent_problem(error) is None


def may_be_done(error: object) -> bool:
    """Whether AWS may have done what it was asked for: nothing says that it was not asked, or that it refused.

    It was not asked if no connection came about; it has refused if it answered with a 4xx.
    """
    if isinstance(error, ClientError):
        status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return not isinstance(error, SensorIngestError | NotConnectedError)


def blames_file(error: BaseException) -> bool:
    """Whether a load that ended with this error counts against the file.

    An end that was asked for, such as SIGTERM to the run, does not count. A full disk does: the huge file that fills it
    is then soon tried alone. A permanent problem is one of the file.
    """
    if isinstance(error, SensorIngestError):
        return error.blames_file
    if permanent_problem(error):
        return True
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return True
    return isinstance(error, Exception) and not isinstance(error, _OF_THE_SURROUNDINGS)


def is_hopeless(entry: "LedgerEntry") -> bool:
    """Whether so many loads of the file have failed that it is not loaded again.

    A file is not to blame while many files fail alike, as after a bad deployment: then no other file that came since
    was archived, and more than a few keys wait.
    """
    ledger = run_blocks().file_ledger
    if entry.attempts <= ledger.attempts:
        return False
    if ledger.waiting_keys(FEW_FILES + 2) <= FEW_FILES + 1:
        return True
    return ledger.archived_since(entry.landed_at or entry.claimed_at, other_than=entry)


def retry_condition(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    """Whether Prefect runs the task again: the `retry_condition_fn` of all tasks that can fail for a moment."""
    return is_retryable(state.result(raise_on_failure=False))


def retry_condition_if_not_done(_task: "Task[..., Any]", _run: "TaskRun", state: "State[Any]") -> bool:
    """As `retry_condition`, for a call that would do twice what AWS may have done."""
    error = state.result(raise_on_failure=False)
    return is_retryable(error) and not may_be_done(error)
