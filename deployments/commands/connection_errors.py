"""What to do when a service does not answer or refuses, for errors of the libraries that only say that it does."""

from collections.abc import Iterator

import httpx
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    SSOError,
    TokenRetrievalError,
)
from prefect.settings import get_current_settings

_EMBEDDED = 'For the embedded stack: `sensor-ingest up`, and here `eval "$(sensor-ingest env)"`.'


def remedy(error: BaseException) -> str | None:
    """What is wrong and what to do about it, if the error, or one that it was raised from, is one of a service."""
    texts = (_about_prefect(each) or _about_credentials(each) or _about_aws(each) for each in _with_causes(error))
    return next(filter(None, texts), None)


def _about_prefect(error: BaseException) -> str | None:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) or str(error).startswith("Failed to reach API at"):
        api = get_current_settings().api.url
        return f"No Prefect server answers at PREFECT_API_URL, {api}. Start it, or name another. {_EMBEDDED}"
    return None


def _about_credentials(error: BaseException) -> str | None:
    if isinstance(error, NoCredentialsError):
        return f"There are no AWS credentials: see `aws configure`, or set AWS_PROFILE. {_EMBEDDED}"
    if isinstance(error, SSOError | TokenRetrievalError):
        return f"The AWS sign-in is over: `aws sso login`. {error}"
    if isinstance(error, NoRegionError):
        return f"No AWS region is named: set AWS_DEFAULT_REGION. {_EMBEDDED}"
    return None


def _about_aws(error: BaseException) -> str | None:
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return f"AWS does not answer: {error} Mind AWS_ENDPOINT_URL, the region and the network. {_EMBEDDED}"
    if isinstance(error, ClientError | S3UploadFailedError):
        return f"AWS refused it: {error}. Mind the address, and what the credentials may do."
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
