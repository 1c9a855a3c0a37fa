"""Which errors no later load can change, which step is tried again, and what counts against the file."""

import errno

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from blocks.domain.errors import KeyTooLongError, ObjectMissingError, PermissionMissingError
from flows.recovery.retry_policy import blames_file, is_retryable, may_be_done, permanent_problem

STORED_WITH_A_KEY = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve "
    "the object."
)


def s3_error(code: str, message: str = "no", operation: str = "GetObject", **more: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}, **more}, operation)  # type: ignore[typeddict-item] # members of the error's shape


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (s3_error("InvalidObjectState", StorageClass="DEEP_ARCHIVE"), ["DEEP_ARCHIVE", "restore-object", "retry"]),
        (s3_error("ObjectNotInActiveTierError", operation="CopyObject"), ["an archive storage class", "retry"]),
        (s3_error("InvalidRequest", STORED_WITH_A_KEY), ["SSE-C", "Upload it again without such a key"]),
        (
            s3_error("KeyTooLongError", "Your key is too long."),
            ["GetObject", "KeyTooLongError: Your key is too long. "],
        ),
        (KeyTooLongError("processed/", 1025, 1024), ["1 byte(s) too long", "processed/", "1,025", "a shorter key"]),
    ],
)
def test_what_no_later_load_can_change_has_words_with_a_remedy_and_is_the_fault_of_the_file(
    error: Exception, words: list[str]
) -> None:
    problem = permanent_problem(error)
    assert problem is not None
    assert [] == [word for word in words if word not in problem]
    assert not is_retryable(error)
    assert blames_file(error)


@pytest.mark.parametrize(
    "error",
    [
        *(
            s3_error(code)
            for code in (
                *("400", "403", "404", "AccessDenied", "NoSuchKey", "NoSuchVersion", "PreconditionFailed", "SlowDown"),
                *("ExpiredToken", "InvalidToken", "RequestTimeout", "RequestTimeTooSkewed", "OperationAborted"),
                *(
                    "KMS.DisabledException",
                    "KMS.NotFoundException",
                    "InvalidRequest",
                    "InvalidArgument",
                    "InternalError",
                ),
            )
        ),
        EndpointConnectionError(endpoint_url="http://aws"),
        OSError(errno.EIO, "no"),
        ValueError("no"),
    ],
    ids=str,
)
def test_what_time_a_permission_or_a_token_may_end_is_not_permanent(error: Exception) -> None:
    assert permanent_problem(error) is None
    assert is_retryable(error)


def test_errors_of_this_project_say_it_in_their_class() -> None:
    assert permanent_problem(PermissionMissingError("s3:GetObject", "a", "b")) is None
    assert not is_retryable(PermissionMissingError("s3:GetObject", "a", "b"))
    assert is_retryable(ObjectMissingError("s3://landing/a.csv", 1))
    assert permanent_problem("a result, no error") is None


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "SendEmail"),  # type: ignore[typeddict-item] # what counts
        ReadTimeoutError(endpoint_url="ses"),
        ConnectionClosedError(endpoint_url="ses"),
        ResponseParserError("an answer that is no JSON"),
        KeyError("MessageId"),
    ],
    ids=repr,
)
def test_what_is_not_refused_may_be_done(error: Exception) -> None:
    assert may_be_done(error)


@pytest.mark.parametrize(
    "error",
    [
        s3_error("TooManyRequestsException"),
        EndpointConnectionError(endpoint_url="ses"),
        ConnectTimeoutError(endpoint_url="ses"),
        PermissionMissingError("ses:SendEmail", "identity", "block"),
    ],
    ids=repr,
)
def test_what_was_refused_or_not_asked_for_is_not_done(error: Exception) -> None:
    assert not may_be_done(error)
